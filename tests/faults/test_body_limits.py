"""``Limits.max_response_bytes``, content codings, and the cost of hostile bodies."""

import asyncio
import gzip
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from helpers import measure_cost
from helpers.leak_checks import error_of
from helpers.raw_server import (
    JOB,
    Action,
    Script,
    ScriptedServer,
    Step,
    job_json,
    respond,
    respond_chunked,
    serve,
    serve_once,
)
from sieve_async import DecodeError, Limits, ResponseTooLargeError

GOOD = json.dumps(job_json()).encode()
MEBIBYTE = 2**20
LARGEST = 16 * MEBIBYTE
SMALL = Limits(max_response_bytes=1000)
EXACT = GOOD.ljust(1000)
GZIP = [("Content-Encoding", "gzip")]


@pytest.mark.looptime
@pytest.mark.parametrize(
    "script",
    [respond(EXACT), respond_chunked(EXACT), respond(gzip.compress(EXACT), headers=GZIP)],
    ids=["length", "chunks", "gzip"],
)
async def test_body_of_the_maximum_size(script: Script) -> None:
    """A body of exactly the limit is accepted."""
    async with serve_once(script, limits=SMALL) as (_, client):
        assert (await client.get_job(JOB)).succeeded


OVER = EXACT + b" "


@pytest.mark.looptime
@pytest.mark.parametrize(
    "script",
    [
        respond(OVER),
        respond(OVER[:10], Action.SILENCE, length=1001),
        respond_chunked(OVER),
        respond(gzip.compress(OVER), headers=GZIP),
    ],
    ids=["length", "announced length", "chunks", "gzip"],
)
async def test_body_of_one_byte_more(script: Script) -> None:
    """A larger body is ResponseTooLargeError, without a retry."""
    async with serve(script, respond(), limits=SMALL) as (server, client):
        error = await error_of(client.get_job(JOB))
        await client.get_job(JOB)

        assert type(error) is ResponseTooLargeError
        assert (error.status, error.attempts) == (200, 1)
        assert len(server.requests) == 2


@pytest.mark.looptime
@pytest.mark.parametrize("respond_with", [respond, respond_chunked])
async def test_default_limit(respond_with: Callable[[bytes], Script]) -> None:
    """By default a body may have 16 MiB."""
    for mebibytes in (15, 17):
        text = b'"%b"' % (b"x" * mebibytes * MEBIBYTE)
        async with serve(respond_with(GOOD.replace(b'"done"', text))) as (server, client):
            if mebibytes < 16:
                assert (await client.get_job(JOB)).succeeded
            else:
                assert isinstance(await error_of(client.get_job(JOB)), ResponseTooLargeError)
            assert len(server.requests) == 1


def packed(body: bytes, window: int) -> bytes:
    """Compress a body: 31 is gzip, 15 is zlib, -15 is deflate without a wrapper."""
    packer = zlib.compressobj(wbits=window)
    return packer.compress(body) + packer.flush()


COMPRESSED: dict[str, tuple[str, bytes]] = {
    "gzip": ("gzip", packed(GOOD, 31)),
    "capitals": ("GZIP", packed(GOOD, 31)),
    "gzip without its trailer": ("gzip", packed(GOOD, 31)[:-8]),
    "deflate with a wrapper": ("deflate", packed(GOOD, 15)),
    "deflate without a wrapper": ("deflate", packed(GOOD, -15)),
    "identity": ("identity", GOOD),
    "empty": ("", GOOD),
}


@pytest.mark.looptime
@pytest.mark.parametrize(("coding", "body"), COMPRESSED.values(), ids=COMPRESSED)
async def test_content_coding(coding: str, body: bytes) -> None:
    """Gzip and deflate are understood, in the forms that servers use."""
    headers = [("Content-Encoding", coding)]
    async with serve_once(respond(body, headers=headers)) as (server, client):
        assert (await client.get_job(JOB)).succeeded
        assert server.requests[0].header("Accept-Encoding") == "gzip, deflate"


UNUSABLE: dict[str, tuple[str, bytes]] = {
    "brotli": ("br", GOOD),
    "zstd": ("zstd", GOOD),
    "compress": ("compress", GOOD),
    "x-deflate": ("x-deflate", packed(GOOD, 31)),
    "unknown": ("rot13", GOOD),
    "twice": ("gzip, gzip", packed(packed(GOOD, 31), 31)),
    "not gzip": ("gzip", GOOD),
    "truncated gzip": ("gzip", packed(GOOD, 31)[:20]),
    "empty gzip": ("gzip", b""),
    "not deflate": ("deflate", b"\xff" * 50),
}


@pytest.mark.looptime
@pytest.mark.parametrize(("coding", "body"), UNUSABLE.values(), ids=UNUSABLE)
async def test_unusable_content_coding(coding: str, body: bytes) -> None:
    """Another coding than requested, or broken data, is a DecodeError after three attempts."""
    headers = [("Content-Encoding", coding)]
    async with serve(respond(body, headers=headers)) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, DecodeError)
        assert error.status == 200
        assert len(server.requests) == 3


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
PIECE = b"x" * 2**16


def bomb(window: int, mebibytes: int) -> Iterator[Step]:
    """So many mebibytes, compressed to a thousandth."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    yield packer.compress(b'{"id":"')
    yield packer.compress(b"0" * MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b"0" * MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    yield from [again] * mebibytes


def encoded(coding: str, *steps: Step, status: int = 200) -> Script:
    """A response in a content coding that ends with its connection."""
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Encoding: {coding}\r\n\r\n"
    return [head.encode(), *steps, Action.CLOSE]


# The script, and the error that it causes.
HOSTILE: dict[str, tuple[str, Script]] = {
    "length": ("ResponseTooLargeError", [OK + b"Content-Length: 100000000\r\n\r\n", PIECE]),
    "no-length": ("ResponseTooLargeError", [OK + b"\r\n", *[PIECE] * 1600]),
    "chunks": ("ResponseTooLargeError", [CHUNKED, *[b"10000\r\n" + PIECE + b"\r\n"] * 1600]),
    "tiny-chunks": ("TransportError", [CHUNKED, *[b"1\r\nx\r\n" * 8000] * 20, Action.CLOSE]),
    "chunk-extension": ("TransportError", [CHUNKED + b"1;", *[PIECE] * 200, Action.CLOSE]),
    "trailers": ("TransportError", [CHUNKED + b"0\r\n", *[b"X-A: b\r\n" * 1000] * 1000]),
    "headers": ("TransportError", [OK, *[b"X-A: b\r\n" * 1000] * 1000]),
    "header": ("TransportError", [OK + b"X-A: ", *[PIECE] * 1600]),
    "status-line": ("TransportError", [b"HTTP/1.1 200 ", *[PIECE] * 1600]),
    "interim": ("ConnectError", [*[b"HTTP/1.1 102 Processing\r\n\r\n" * 1000] * 20, Action.CLOSE]),
    "error": ("ServerError", [b"HTTP/1.1 500 No\r\n\r\n", *[PIECE] * 1600]),
    "gzip": ("ResponseTooLargeError", encoded("gzip", *bomb(31, 1000))),
    "deflate": ("ResponseTooLargeError", encoded("deflate", *bomb(15, 1000))),
    "bare-deflate": ("ResponseTooLargeError", encoded("deflate", *bomb(-15, 1000))),
    "gzip-of-an-error": ("ServerError", encoded("gzip", *bomb(31, 1000), status=500)),
}
# The HTTP parser needs longer for thousands of small parts in one piece.
MANY_PARTS = {"tiny-chunks", "interim", "trailers", "headers"}


async def costs_of(
    cases: Sequence[str], script_of: Callable[[str], Script]
) -> dict[str, dict[str, Any]]:
    """The costs of each case, measured in a process of its own."""
    good = respond(b'{"id": "good", "status": "finished"}')
    async with ScriptedServer(
        lambda request: good if request.job_id == "good" else script_of(request.job_id)
    ) as server:
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            measure_cost.__file__,
            server.url,
            *(f"get {case}" for case in cases),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        stdout, _ = await program.communicate()
    costs = [json.loads(line) for line in stdout.splitlines()]
    assert [cost["case"] for cost in costs] == [f"get {case}" for case in cases]
    return dict(zip(cases, costs, strict=True))


async def test_hostile_responses() -> None:
    """A response that is too large costs little memory and does not block the loop."""
    costs = await costs_of([*HOSTILE], lambda name: HOSTILE[name][1])

    for name, (error, _) in HOSTILE.items():
        assert costs[name]["result"] == error, name
        assert costs[name]["mebibytes"] < 32, name
        assert costs[name]["milliseconds"] < (500 if name in MANY_PARTS else 100), name


def filled(part: bytes, size: int) -> bytes:
    """An array of about so many bytes."""
    return b"[" + part * (size // len(part)) + b"0]"


def with_data(data: bytes, job_id: str) -> Script:
    """A finished job with these bytes as the data of its output."""
    head = b'{"id": "%b", "status": "finished", "outputs": ' % job_id.encode()
    return respond(b'%b[{"data": %b}]}' % (head, data))


LARGE: dict[str, Callable[[], bytes]] = {
    "numbers": lambda: filled(b"0,", 4 * MEBIBYTE),
    "text": lambda: b'"%b"' % (b"x" * (LARGEST - 300)),
    "surrogates": lambda: b'"%b"' % (b"\\ud800" * 300_000),
    "long-numbers": lambda: filled(b"9" * 4000 + b",", MEBIBYTE),
    "strings": lambda: filled(b'"",', 800_000),
    "arrays": lambda: filled(b"[],", 400_000),
    "nested": lambda: filled(b"[" * 180 + b"]" * 180 + b",", 400_000),
    "objects": lambda: filled(b'{"a":0},', 800_000),
}


async def test_large_responses() -> None:
    """A large response within the limit is a result: real ones have millions of numbers."""
    costs = await costs_of([*LARGE], lambda name: with_data(LARGE[name](), name))

    for name, cost in costs.items():
        assert cost["result"] == name
        assert cost["mebibytes"] < 400, name
