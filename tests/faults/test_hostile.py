"""Fault class G: what bodies that mean harm may cost, measured in a process of their own."""

import asyncio
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from helpers import measure_cost
from helpers.raw_server import Action, Script, ScriptedServer, Step, respond

MEBIBYTE = 2**20
LARGEST = 16 * MEBIBYTE
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
PIECE = b"x" * 2**16


def job_with(data: bytes, job_id: str) -> bytes:
    """A finished job with these bytes as the data of its output."""
    head = b'{"id": "%b", "status": "finished", "outputs": ' % job_id.encode()
    return b'%b[{"data": %b}]}' % (head, data)


def packed(window: int, mebibytes: int, start: bytes = b'{"id":"') -> Iterator[Step]:
    """So many mebibytes, compressed a thousand times smaller: 31 is gzip, 15 zlib, -15 bare."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    yield packer.compress(start)
    yield packer.compress(b"0" * MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b"0" * MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    yield from [again] * mebibytes


def coded(coding: str, *steps: Step, status: int = 200) -> Script:
    """The script of an answer in a content coding, until the connection ends."""
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Encoding: {coding}\r\n\r\n"
    return [head.encode(), *steps, Action.CLOSE]


def twice() -> Iterator[Step]:
    """A bomb in a bomb."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for step in packed(31, 1000):
        assert isinstance(step, bytes)
        yield packer.compress(step)
    yield packer.flush()


def filled(part: bytes, size: int = LARGEST - 200) -> bytes:
    """An array of so many bytes."""
    return b"[" + part * (size // len(part)) + b"0]"


def keyed(number: int) -> bytes:
    """An object with so many keys, no two of them alike."""
    return b"{%b}" % b",".join(b'"%x":0' % key for key in range(number))


def sending(data: Callable[[], bytes], cut: int | None = None) -> Callable[[str], Script]:
    """The script of a job with this data, made when it is asked for; cut short from behind."""
    return lambda job_id: respond(job_with(data(), job_id)[:cut])


# What is refused while it comes, and as what.
ON_THE_WIRE: dict[str, tuple[str, Script]] = {
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
    "gzip": ("ResponseTooLargeError", coded("gzip", *packed(31, 1000))),
    "deflate": ("ResponseTooLargeError", coded("deflate", *packed(15, 1000))),
    "bare-deflate": ("ResponseTooLargeError", coded("deflate", *packed(-15, 1000))),
    "gzip-in-gzip": ("DecodeError", coded("gzip", *twice())),
    "gzip-of-an-error": ("ServerError", coded("gzip", *packed(31, 1000), status=500)),
}
BELOW = {"get tiny-chunks", "get interim", "get trailers", "get headers"}
# What is refused by its structure, before it is parsed.
BY_STRUCTURE: dict[str, Callable[[str], Script]] = {
    "arrays": sending(lambda: filled(b"[],")),
    "open-arrays": sending(lambda: b"[" * (LARGEST - 200)),
    "open-objects": sending(lambda: b'{"a":' * (LARGEST // 5 - 100)),
    "keys": sending(lambda: keyed(1_200_000)),
    "strings": sending(lambda: filled(b'"",')),
    "tokens": sending(lambda: filled(b"0,", 4_200_000)),
}
# What is parsed, and then taken or refused; some have nearly as many parts as there may be.
PARSED: dict[str, tuple[str, Callable[[str], Script]]] = {
    "a-million-numbers": ("taken", sending(lambda: filled(b"0,", 1_990_000))),
    "long-text": ("taken", sending(lambda: b'"%b"' % (b"x" * (LARGEST - 200)))),
    "long-text-cut": ("refused", sending(lambda: b'"%b"' % (b"x" * (LARGEST - 200)), -1)),
    "surrogates": ("taken", sending(lambda: b'"%b"' % (b"\\ud800" * (LARGEST // 6 - 100)))),
    "digits": ("refused", sending(lambda: b"9" * (LARGEST - 200))),
    "5000-digits": ("refused", sending(lambda: filled(b"9" * 5000 + b","))),
    "4000-digits": ("taken", sending(lambda: filled(b"9" * 4000 + b","))),
    "unlike-keys": ("taken", sending(lambda: keyed(495_000))),
    "unlike-keys-cut": ("refused", sending(lambda: keyed(495_000), -1)),
    "strings": ("taken", sending(lambda: filled(b'"",', 2_970_000))),
    "arrays": ("taken", sending(lambda: filled(b"[],", 740_000))),
    "nested": ("taken", sending(lambda: filled(b"[" * 180 + b"]" * 180 + b",", 660_000))),
    "objects": ("taken", sending(lambda: filled(b'{"a":0},', 1_580_000))),
    "outputs": (
        "taken",
        lambda job_id: respond(job_with(b"1}" + b",{}" * 248_000 + b',{"data":1', job_id)),
    ),
}


async def cost_of(
    cases: Sequence[str], scripts: Callable[[str], Script]
) -> dict[str, dict[str, Any]]:
    """What each case has cost a process that asked for it, by the name of the case."""
    good = respond(job_with(b"1", "good"))
    async with ScriptedServer(
        lambda asked: good if asked.job_id == "good" else scripts(asked.job_id)
    ) as stage:
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            measure_cost.__file__,
            stage.url,
            *cases,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        said, _ = await program.communicate()
    costs = [json.loads(line) for line in said.splitlines()]
    assert [cost["case"] for cost in costs] == list(cases)
    return {cost["case"]: cost for cost in costs}


async def test_refused_on_the_wire() -> None:
    """What is too large is refused while it comes: little memory, and the loop goes on."""
    cases = [f"get {name}" for name in ON_THE_WIRE]
    costs = await cost_of(cases, lambda name: ON_THE_WIRE[name][1])

    results = {name: costs[f"get {name}"]["result"] for name in ON_THE_WIRE}
    assert results == {name: result for name, (result, _) in ON_THE_WIRE.items()}
    for case, cost in costs.items():
        assert cost["mebibytes"] < 32, case
        # Where there are thousands of parts of HTTP in one piece, the parser below takes its time.
        assert cost["milliseconds"] < (250 if case in BELOW else 50), case


async def test_refused_by_its_structure() -> None:
    """What would fill the memory when parsed is counted and refused, before it is parsed."""
    cases = [f"{way} {name}" for name in BY_STRUCTURE for way in ("get", "wait")]
    costs = await cost_of(cases, lambda name: BY_STRUCTURE[name](name))

    for case, cost in costs.items():
        assert cost["result"] == "ResponseTooLargeError", case
        assert cost["mebibytes"] < 32, case
        assert cost["milliseconds"] < 50, case


async def test_parsed() -> None:
    """What is parsed takes a bounded multiple of its bytes, and a refusal no more than a result."""
    cases = [f"get {name}" for name in PARSED]
    costs = await cost_of(cases, lambda name: PARSED[name][1](name))

    for case, cost in costs.items():
        name = case.partition(" ")[2]
        expected = name if PARSED[name][0] == "taken" else "DecodeError"
        assert cost["result"] == expected, case
        assert cost["mebibytes"] < 100, case
