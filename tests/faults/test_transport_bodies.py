"""Bodies: codings, limits, and error answers whose body is broken."""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from faults.transport_ways import GET, WAYS, Connection, sending, serving
from sieve_async import DecodeError, Limits, ResponseTooLargeError, SieveError, TransportError
from sieve_async.transport import Transport

pytestmark = [pytest.mark.looptime, pytest.mark.parametrize("way", WAYS)]

GOOD = json.dumps({"id": "job-1", "status": "finished"}).encode()
MEBIBYTE = 2**20


def packed(body: bytes, window: int = 31) -> bytes:
    """Compress a body: 31 is gzip, 15 is zlib, -15 is deflate without a wrapper."""
    packer = zlib.compressobj(wbits=window)
    return packer.compress(body) + packer.flush()


def answer(body: bytes, coding: str | None = "gzip", status: int = 200) -> bytes:
    """A complete answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [] if coding is None else [f"Content-Encoding: {coding}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def answering(
    way: str,
    *pieces: bytes,
    limits: Limits | None = None,
    delay: float = 0.0,
) -> AsyncIterator[Transport]:
    """A transport whose server answers each request with these pieces."""

    async def handle(connection: Connection) -> None:
        while await connection.request():
            for piece in pieces:
                connection.writer.write(piece)
                await connection.writer.drain()
                await asyncio.sleep(delay)

    async with (
        serving(handle) as server,
        sending(way, server.url, limits=limits or Limits()) as transport,
    ):
        yield transport


async def failure(transport: Transport) -> SieveError:
    """How a request fails."""
    with pytest.raises(SieveError) as caught:
        await transport.send(GET, None)
    return caught.value


HALF = len(GOOD) // 2
READABLE: dict[str, tuple[str | None, bytes]] = {
    "plain": (None, GOOD),
    "identity": ("identity", GOOD),
    "no name": ("", GOOD),
    "gzip": ("gzip", packed(GOOD)),
    "capitals": ("GZip", packed(GOOD)),
    "old name": ("x-gzip", packed(GOOD)),
    "zlib": ("deflate", packed(GOOD, 15)),
    "bare deflate": ("deflate", packed(GOOD, -15)),
    "two members": ("gzip", packed(GOOD[:HALF]) + packed(GOOD[HALF:])),
    "forty members": ("gzip", b"".join(packed(GOOD[at : at + 1]) for at in range(len(GOOD)))),
    "an empty member first": ("gzip", packed(b"") + packed(GOOD)),
    "an empty member last": ("gzip", packed(GOOD) + packed(b"")),
    "an empty member between": ("gzip", packed(GOOD[:HALF]) + packed(b"") + packed(GOOD[HALF:])),
    "a zero byte behind it": ("gzip", packed(GOOD) + b"\0"),
    "without its checksum": ("gzip", packed(GOOD)[:-8]),
}


@pytest.mark.parametrize(("coding", "body"), READABLE.values(), ids=READABLE)
@pytest.mark.parametrize("pieces", [1, 2, 1000])
async def test_readable(way: str, coding: str | None, body: bytes, pieces: int) -> None:
    """What was asked for is read, in however many pieces it comes; the connection is kept."""
    whole = answer(body, coding)
    size = -(-len(whole) // pieces)
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]
    async with answering(way, *parts, delay=0.01) as transport:
        for _ in range(2):
            assert (await transport.send(GET, None)).body == GOOD


BROKEN: dict[str, tuple[str, bytes]] = {
    "no gzip": ("gzip", GOOD),
    "a bit flipped": ("gzip", packed(GOOD)[:14] + b"\xff" + packed(GOOD)[15:]),
    "wrong checksum": ("gzip", packed(GOOD)[:-8] + b"\0" * 8),
    "rubbish behind it": ("gzip", packed(GOOD) + b"rubbish"),
    "no deflate": ("deflate", b"\xff" * 50),
    "brotli": ("br", GOOD),
    "zstd": ("zstd", GOOD),
    "unknown": ("rot13", GOOD),
    "twice": ("gzip, gzip", packed(packed(GOOD))),
    "not ASCII": ("gz\xefp", GOOD),
}


@pytest.mark.parametrize(("coding", "body"), BROKEN.values(), ids=BROKEN)
async def test_unreadable(way: str, coding: str, body: bytes) -> None:
    """A good answer that cannot be decompressed is a bad answer, with its status."""
    async with answering(way, answer(body, coding)) as transport:
        error = await failure(transport)

    assert type(error) is DecodeError
    assert error.status == 200
    assert "body" in error.reason


ERRORS = BROKEN | {
    "cut deflate": ("deflate", packed(GOOD, 15)[:-6]),
    "cut gzip": ("gzip", packed(GOOD)[:12]),
    "nothing": ("gzip", b""),
}


@pytest.mark.parametrize(("coding", "body"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("status", [404, 503])
@pytest.mark.parametrize("delay", [0.0, 0.1])
async def test_status_counts_when_the_body_is_broken(
    way: str, coding: str, body: bytes, status: int, delay: float
) -> None:
    """An error answer counts, whatever can be read of its body."""
    head, _, _ = answer(body, coding, status).partition(b"\r\n\r\n")
    async with answering(way, head + b"\r\n\r\n", body, delay=delay) as transport:
        response = await transport.send(GET, None)
        again = await transport.send(GET, None)

    assert (response.status, again.status) == (status, status)


@pytest.mark.parametrize("coding", [None, "gzip"])
async def test_beginning_of_an_error_body(way: str, coding: str | None) -> None:
    """At most 64 KiB of an error body are read; the rest is not waited for."""
    text = b"x" * 10_000_000
    head = b"HTTP/1.1 500 No\r\nContent-Length: 99999999\r\n"
    head += b"" if coding is None else b"Content-Encoding: gzip\r\n"
    async with answering(way, head + b"\r\n", text if coding is None else packed(text)) as one:
        response = await one.send(GET, None)

    assert (response.status, response.body) == (500, b"x" * 65536)


def bomb(mebibytes: int) -> Iterable[bytes]:
    """So many mebibytes of zeros, compressed a thousand times smaller."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield packer.compress(b"0" * MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b"0" * MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    yield from [again] * (mebibytes - 1)


@pytest.mark.parametrize("status", [200, 500])
async def test_gzip_bomb(way: str, status: int) -> None:
    """A gigabyte in a megabyte takes little memory, and the loop turns meanwhile."""
    content = b"".join(bomb(1024))
    turns = 0
    is_done = False

    async def count_turns() -> None:
        nonlocal turns
        while not is_done:
            await asyncio.sleep(0)
            turns += 1

    async with answering(way, answer(content, status=status)) as transport:
        watching = asyncio.create_task(count_turns())
        tracemalloc.start()
        try:
            if status == 200:
                assert isinstance(await failure(transport), ResponseTooLargeError)
            else:
                assert (await transport.send(GET, None)).status == 500
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        is_done = True
        await watching

    assert most < 48 * MEBIBYTE
    assert turns > (50 if status == 200 else 0)  # 16 MiB are 64 steps


@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("size", [1000, 1001])
async def test_limit(way: str, coding: str | None, size: int) -> None:
    """The limit counts after decompression; a body of just the limit is read."""
    body = b"x" * size
    content = body if coding is None else packed(body, 31 if coding == "gzip" else 15)
    limits = Limits(max_response_bytes=1000)
    async with answering(way, answer(content, coding), limits=limits) as transport:
        if size == 1000:
            assert (await transport.send(GET, None)).body == body
            return
        error = await failure(transport)

    assert type(error) is ResponseTooLargeError
    assert error.status == 200
    assert "1000 bytes" in error.reason


async def test_length_over_the_limit_is_not_read(way: str) -> None:
    """A length over the limit is believed: the body is not waited for."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    async with answering(way, head) as transport:
        assert isinstance(await failure(transport), ResponseTooLargeError)


async def test_limit_counts_before_decompression(way: str) -> None:
    """A body that is large on the wire is too large, even if nothing comes out of it."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
    chunk = packed(b"")
    chunks = b"%x\r\n%b\r\n" % (len(chunk), chunk)
    limits = Limits(max_response_bytes=1000)
    async with answering(way, head, chunks * 100, b"0\r\n\r\n", limits=limits) as transport:
        assert isinstance(await failure(transport), ResponseTooLargeError)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
FRAMES: dict[str, bytes] = {
    "bad chunk size": b"zz\r\n",
    "chunk longer than its size": b"1\r\nxx\r\n",
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("head", [CHUNKED, CHUNKED + b"Content-Encoding: gzip\r\n"])
async def test_broken_chunk_after_the_headers(way: str, frame: bytes, head: bytes) -> None:
    """A chunk that is malformed ends the request at once, not at its deadline."""
    async with answering(way, head + b"\r\n", frame, delay=0.1) as transport:
        started = asyncio.get_running_loop().time()
        error = await failure(transport)

        assert isinstance(error, TransportError)
        assert error.sent
        assert asyncio.get_running_loop().time() - started < 1


async def test_chunked_gzip(way: str) -> None:
    """Chunks and compression together."""
    body = gzip.compress(GOOD)
    head = CHUNKED + b"Content-Encoding: gzip\r\n\r\n"
    chunks = b"".join(b"1\r\n%b\r\n" % body[at : at + 1] for at in range(len(body)))
    async with answering(way, head, chunks + b"0\r\n\r\n") as transport:
        for _ in range(2):
            assert (await transport.send(GET, None)).body == GOOD
