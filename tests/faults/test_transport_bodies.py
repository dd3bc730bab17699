"""Bodies: codings, limits, and error responses whose body is broken."""

import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from faults.transport_ways import all_ways, failure, send, sending
from helpers.http_helpers import now
from helpers.leak_checks import error_of
from helpers.raw_server import RawServer, Step
from sieve_async import DecodeError, Limits, ResponseTooLargeError
from sieve_async.transport import Transport

pytestmark = [pytest.mark.looptime, all_ways]

GOOD = json.dumps({"id": "job-1", "status": "finished"}).encode()
HALF = len(GOOD) // 2
SMALL = Limits(max_response_bytes=1000)


def packed(body: bytes, window: int = 31) -> bytes:
    """Compress a body: 31 is gzip, 15 is zlib, -15 is deflate without a wrapper."""
    packer = zlib.compressobj(wbits=window)
    return packer.compress(body) + packer.flush()


def response(body: bytes, coding: str | None = "gzip", status: int = 200) -> bytes:
    """A complete response."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [] if coding is None else [f"Content-Encoding: {coding}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def responding(
    way: str, *pieces: bytes, limits: Limits | None = None, delay: float = 0.0
) -> AsyncIterator[Transport]:
    """A transport whose server answers each request with these pieces."""
    script: list[Step] = [step for piece in pieces for step in (piece, delay)]
    async with RawServer(script) as server, sending(way, server.url, limits=limits) as transport:
        yield transport


READABLE: dict[str, tuple[str | None, bytes]] = {
    "plain": (None, GOOD),
    "identity": ("identity", GOOD),
    "capitals": ("GZip", packed(GOOD)),
    "old name": ("x-gzip", packed(GOOD)),
    "zlib": ("deflate", packed(GOOD, 15)),
    "bare deflate": ("deflate", packed(GOOD, -15)),
    "two members": ("gzip", packed(GOOD[:HALF]) + packed(GOOD[HALF:])),
    "an empty member first": ("gzip", packed(b"") + packed(GOOD)),
    "an empty member between": ("gzip", packed(GOOD[:HALF]) + packed(b"") + packed(GOOD[HALF:])),
    "a zero byte behind it": ("gzip", packed(GOOD) + b"\0"),
    "without its checksum": ("gzip", packed(GOOD)[:-8]),
}


@pytest.mark.parametrize(("coding", "body"), READABLE.values(), ids=READABLE)
async def test_readable(way: str, coding: str | None, body: bytes) -> None:
    """Supported codings are read, in however many pieces; the connection is kept."""
    whole = response(body, coding)
    for size in (len(whole), 1):
        parts = [whole[at : at + size] for at in range(0, len(whole), size)]
        async with responding(way, *parts, delay=0.01) as transport:
            for _ in range(2):
                assert (await send(transport)).body == GOOD


BROKEN: dict[str, tuple[str, bytes]] = {
    "no gzip": ("gzip", GOOD),
    "a bit flipped": ("gzip", packed(GOOD)[:14] + b"\xff" + packed(GOOD)[15:]),
    "wrong checksum": ("gzip", packed(GOOD)[:-8] + b"\0" * 8),
    "garbage behind it": ("gzip", packed(GOOD) + b"garbage"),
    "no deflate": ("deflate", b"\xff" * 50),
    "brotli": ("br", GOOD),
    "unknown": ("rot13", GOOD),
    "twice": ("gzip, gzip", packed(packed(GOOD))),
    "not ASCII": ("gz\xefp", GOOD),
}


@pytest.mark.parametrize(("coding", "body"), BROKEN.values(), ids=BROKEN)
async def test_unreadable(way: str, coding: str, body: bytes) -> None:
    """A good response that cannot be decompressed is a DecodeError with its status."""
    async with responding(way, response(body, coding)) as transport:
        error = await error_of(send(transport))
    assert type(error) is DecodeError
    assert error.status == 200
    assert "body" in error.reason


ERRORS = BROKEN | {
    "cut deflate": ("deflate", packed(GOOD, 15)[:-6]),
    "cut gzip": ("gzip", packed(GOOD)[:12]),
    "nothing": ("gzip", b""),
}


@pytest.mark.parametrize(("coding", "body"), ERRORS.values(), ids=ERRORS)
async def test_status_counts_when_the_body_is_broken(way: str, coding: str, body: bytes) -> None:
    """An error response counts, whatever can be read of its body."""
    head, _, _ = response(body, coding, 404).partition(b"\r\n\r\n")
    for delay in (0.0, 0.1):
        async with responding(way, head + b"\r\n\r\n", body, delay=delay) as transport:
            for _ in range(2):
                assert (await send(transport)).status == 404


@pytest.mark.parametrize("coding", [None, "gzip"])
async def test_beginning_of_an_error_body(way: str, coding: str | None) -> None:
    """At most 64 KiB of an error body are read; the rest is not waited for."""
    head = b"HTTP/1.1 500 No\r\nContent-Length: 99999999\r\n"
    head += b"" if coding is None else b"Content-Encoding: gzip\r\n"
    for text in (b"x" * 65536, b"x" * 1_000_000):
        body = text if coding is None else packed(text)
        async with responding(way, head + b"\r\n", body) as one:
            for _ in range(2):  # the connection is not used again
                received = await send(one)
                assert (received.status, received.body) == (500, b"x" * 65536)


@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
async def test_limit(way: str, coding: str | None) -> None:
    """The limit counts after decompression; a body of exactly the limit is read."""
    for size in (1000, 1001):
        body = b"x" * size
        content = body if coding is None else packed(body, 31 if coding == "gzip" else 15)
        async with responding(way, response(content, coding), limits=SMALL) as transport:
            if size == 1000:
                assert (await send(transport)).body == body
                continue
            error = await error_of(send(transport))
        assert type(error) is ResponseTooLargeError
        assert (error.status, "1000 bytes" in error.reason) == (200, True)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
GZIP = CHUNKED + b"Content-Encoding: gzip\r\n\r\n"


async def test_limit_before_reading(way: str) -> None:
    """The announced length counts, and so do bytes that decompress to nothing."""
    empty = packed(b"")
    chunks = b"%x\r\n%b\r\n" % (len(empty), empty) * 100
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    for pieces in ((large,), (GZIP, chunks, b"0\r\n\r\n")):
        async with responding(way, *pieces, limits=SMALL) as transport:
            assert isinstance(await error_of(send(transport)), ResponseTooLargeError)


@pytest.mark.parametrize("frame", [b"zz\r\n", b"1\r\nxx\r\n"], ids=["bad size", "too long"])
@pytest.mark.parametrize("head", [CHUNKED + b"\r\n", GZIP], ids=["plain", "gzip"])
async def test_broken_chunk_after_the_headers(way: str, frame: bytes, head: bytes) -> None:
    """A malformed chunk ends the request at once, not at its deadline."""
    async with responding(way, head, frame, delay=0.1) as transport:
        started = now()
        assert (await failure(transport)).sent
        assert now() - started < 1


async def test_chunked_gzip(way: str) -> None:
    """Chunks and compression together."""
    body = packed(GOOD)
    chunks = b"".join(b"1\r\n%b\r\n" % body[at : at + 1] for at in range(len(body)))
    async with responding(way, GZIP, chunks + b"0\r\n\r\n") as transport:
        for _ in range(2):
            assert (await send(transport)).body == GOOD
