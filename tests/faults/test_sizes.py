"""Fault class G: bodies that are large, compressed, or both, and what they may cost."""

import gzip
import json
import resource
import tracemalloc
import zlib

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import (
    JOB,
    Action,
    Script,
    job_json,
    respond,
    respond_chunked,
    serve,
    serve_once,
)
from sieve_async import (
    DecodeError,
    Limits,
    ResponseTooLargeError,
)

pytestmark = pytest.mark.looptime

GOOD = json.dumps(job_json()).encode()


MEGABYTE = 1024 * 1024


def with_data(data: bytes) -> bytes:
    """A finished job with these bytes as the data of its output."""
    return GOOD.replace(b'"done"', data)


SMALL = Limits(max_response_bytes=1000)


EXACT = GOOD + b" " * (1000 - len(GOOD))


@pytest.mark.parametrize(
    "script",
    [
        respond(EXACT),
        respond_chunked(EXACT),
        respond(gzip.compress(EXACT), headers=[("Content-Encoding", "gzip")]),
    ],
)
async def test_just_small_enough(script: Script) -> None:
    """A body of just the limit is read."""
    async with serve_once(script, limits=SMALL) as (_, client):
        assert (await client.get_job(JOB)).succeeded


OVER = EXACT + b" "


@pytest.mark.parametrize(
    "script",
    [
        respond(OVER),
        respond(OVER[:10], Action.SILENCE, length=1001),
        respond_chunked(OVER),
        respond(gzip.compress(OVER), headers=[("Content-Encoding", "gzip")]),
    ],
)
async def test_just_too_large(script: Script) -> None:
    """A body of one byte more is not, however it comes; and it is not asked for again."""
    async with serve(script, respond(), limits=SMALL) as (wire, client):
        error = await error_of(client.get_job(JOB))
        await client.get_job(JOB)

        assert type(error) is ResponseTooLargeError
        assert (error.status, error.attempts) == (200, 1)
        assert len(wire.requests) == 2


@pytest.mark.parametrize("length", [True, False])
async def test_seventeen_megabytes(length: bool) -> None:  # noqa: FBT001 - it is what is tried
    """By default a body may have 16 MiB, announced or not."""
    body = with_data(b'"%b"' % (b"x" * 17 * MEGABYTE))
    async with serve(respond(body) if length else respond_chunked(body)) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, ResponseTooLargeError)
        assert len(wire.requests) == 1


async def test_fifteen_megabytes() -> None:
    """A body below the limit is no failure."""
    async with serve(respond(with_data(b'"%b"' % (b"x" * 15 * MEGABYTE)))) as (_, client):
        assert (await client.get_job(JOB)).succeeded


def bomb(megabytes: int) -> bytes:
    """So many megabytes of zeros, compressed a thousand times smaller."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = packer.compress(b"0" * MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b"0" * MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (megabytes - 1)


@pytest.mark.parametrize("status", [200, 500])
async def test_gzip_bomb(status: int) -> None:
    """A gigabyte in a megabyte is not unpacked."""
    script = respond(bomb(1024), status=status, headers=[("Content-Encoding", "gzip")])
    async with serve_once(script) as (_, client):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await error_of(client.get_job(JOB))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

        assert grown < 100 * 1024


def packed(body: bytes, window: int) -> bytes:
    """Compress a body: 31 is gzip, 15 is zlib, -15 is deflate without a wrapper."""
    packer = zlib.compressobj(wbits=window)
    return packer.compress(body) + packer.flush()


COMPRESSED: dict[str, tuple[str, bytes]] = {
    "gzip": ("gzip", packed(GOOD, 31)),
    "capitals": ("GZIP", packed(GOOD, 31)),
    "gzip without its end": ("gzip", packed(GOOD, 31)[:-8]),
    "deflate with a wrapper": ("deflate", packed(GOOD, 15)),
    "deflate without": ("deflate", packed(GOOD, -15)),
    "identity": ("identity", GOOD),
    "nothing": ("", GOOD),
}


@pytest.mark.parametrize(("coding", "body"), COMPRESSED.values(), ids=COMPRESSED)
async def test_compressed(coding: str, body: bytes) -> None:
    """What was asked for is understood: gzip and deflate, in the spellings that servers use."""
    async with serve_once(respond(body, headers=[("Content-Encoding", coding)])) as (wire, client):
        assert (await client.get_job(JOB)).succeeded
        assert wire.requests[0].header("Accept-Encoding") == "gzip, deflate"


WRONGLY_COMPRESSED: dict[str, tuple[str, bytes]] = {
    "brotli": ("br", GOOD),
    "zstd": ("zstd", GOOD),
    "compress": ("compress", GOOD),
    "unknown": ("rot13", GOOD),
    "twice": ("gzip, gzip", packed(packed(GOOD, 31), 31)),
    "not gzip": ("gzip", GOOD),
    "cut gzip": ("gzip", packed(GOOD, 31)[:20]),
    "empty gzip": ("gzip", b""),
    "not deflate": ("deflate", b"\xff" * 50),
}


@pytest.mark.parametrize(("coding", "body"), WRONGLY_COMPRESSED.values(), ids=WRONGLY_COMPRESSED)
async def test_wrongly_compressed(coding: str, body: bytes) -> None:
    """A complete answer in a coding that was not asked for, or broken, cannot be used."""
    async with serve(respond(body, headers=[("Content-Encoding", coding)])) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, DecodeError)
        assert error.status == 200
        assert len(wire.requests) == 3


@pytest.mark.parametrize("part", [b"0,", b"[],", b'{"a":0},', b'"",'])
async def test_millions_of_parts(part: bytes) -> None:
    """A body that would fill the memory when parsed is too large, though its bytes are few."""
    data = b"[" + part * 2_100_000 + b"0]"
    async with serve(respond(with_data(data))) as (wire, client):
        tracemalloc.start()
        try:
            error = await error_of(client.get_job(JOB))
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert isinstance(error, ResponseTooLargeError)
        assert len(wire.requests) == 1
        assert most < 100 * MEGABYTE


async def test_nearly_a_million_parts() -> None:
    """A large but honest answer is parsed."""
    async with serve(respond(with_data(b"[" + b"0," * 999_000 + b"0]"))) as (_, client):
        assert (await client.get_job(JOB)).succeeded
