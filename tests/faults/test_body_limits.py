"""The default limit of a body, and the cost of hostile and of large bodies."""

import asyncio
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
)
from sieve_async import ResponseTooLargeError

GOOD = json.dumps(job_json()).encode()
MEBIBYTE = 2**20
LARGEST = 16 * MEBIBYTE


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
    "chunks": ("ResponseTooLargeError", [CHUNKED, *[b"10000\r\n" + PIECE + b"\r\n"] * 1600]),
    "tiny-chunks": ("TransportError", [CHUNKED, *[b"1\r\nx\r\n" * 8000] * 20, Action.CLOSE]),
    "trailers": ("TransportError", [CHUNKED + b"0\r\n", *[b"X-A: b\r\n" * 1000] * 1000]),
    "headers": ("TransportError", [OK, *[b"X-A: b\r\n" * 1000] * 1000]),
    "status-line": ("TransportError", [b"HTTP/1.1 200 ", *[PIECE] * 1600]),
    "error": ("ServerError", [b"HTTP/1.1 500 No\r\n\r\n", *[PIECE] * 1600]),
    "gzip": ("ResponseTooLargeError", encoded("gzip", *bomb(31, 1000))),
    "bare-deflate": ("ResponseTooLargeError", encoded("deflate", *bomb(-15, 1000))),
    "gzip-of-an-error": ("ServerError", encoded("gzip", *bomb(31, 1000), status=500)),
}
# The HTTP parser needs longer for thousands of small parts in one piece.
MANY_PARTS = {"tiny-chunks", "trailers", "headers"}


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
    "nested": lambda: filled(b"[" * 180 + b"]" * 180 + b",", 400_000),
    "objects": lambda: filled(b'{"a":0},', 800_000),
}


async def test_large_responses() -> None:
    """A large response within the limit is a result: real ones have millions of numbers."""
    costs = await costs_of([*LARGE], lambda name: with_data(LARGE[name](), name))
    for name, cost in costs.items():
        assert cost["result"] == name
        assert cost["mebibytes"] < 400, name
