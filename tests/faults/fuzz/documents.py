"""Bodies that are nearly right: good documents, changed in a few places and written in odd ways."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from faults.fuzz.draws import Draws
from faults.fuzz.plain_json import Document

_VALUE: Document = {"type": "str", "name": "a", "data": {"url": "https://example.com/a?b"}}
VERSION: Document = {
    "id": "v-1",
    "build_status": "ready",
    "queued_at": "2024-03-05T01:41:59.195000",
    "python_packages": ["torch"],
    "gpu": True,
    "split": 2,
    "inputs": [_VALUE],
    "current_workers": {"idle": 1, "active": None},
    "environment_variables": [{"name": "A", "default": ""}],
}
JOB: Document = {
    "id": "job-1",
    "status": "finished",
    "created_at": "2024-03-05T01:41:59Z",
    "started_at": "2024-03-05T01:41:59.195000",
    "function": {
        "name": "demo",
        "tags": ["a"],
        "latest_version": VERSION,
        "webhooks": [{"type": "job.start"}],
    },
    "inputs": {"the file": _VALUE},
    "outputs": [_VALUE, [_VALUE, {"data": [1.5, "b"]}]],
    "error": "",
    "run_id": "job-1-r",
    "children": {"a": [1]},
    "restarts": [{"timestamp": "2024-03-05T01:41:59+02:00", "reason": "gone"}],
}
PAGE: Document = {
    "data": [{"id": "job-1", "status": "queued"}, {"id": "job-2", "status": "started"}],
    "next_offset": 500,
}
_WORDS = ("queued", "processing", "finished", "error", "cancelled", "ready", "started", "Finished")
_TEXTS = ("", "job-1", "v-1", "v", "..", "\ud800", "\x1b[2J", "a" * 400, "é", "null", "0", *_WORDS)
_TIMES = (
    "2024-03-05T01:41:59",
    "2024-02-30T01:41:59Z",
    "2024-12-15T24:00:00",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2024-12-15T01:41:59.123456789",
    "2024-12-15 01:41:59.195000",
    "2024-12-15T01:41:59,195000",
    "20241215T014159Z",
    "2024-12-15T01:41:59+24:00",
    "\uff12024-12-15T01:41:59.19500",
)
_NUMBERS = (0, 1, -1, 2**63, 2**64, -(2**64), 10**30, 10**400, 1.0, -0.0, 1.5, 1e300, 5e-324)
_KEYS = tuple({*JOB, *VERSION, *_VALUE, *JOB["function"], *PAGE, "extra", "idle", "", "self"})
_KINDS: tuple[Any, ...] = (
    None,
    True,
    False,
    _NUMBERS,
    _TEXTS,
    _TIMES,
    [],
    {},
    _VALUE,
    VERSION,
    JOB,
)
_DECIDING = ("id", "status", "build_status", "data", "next_offset")
_DEPTHS = (1, 190, 199, 200, 201, 1000, 5000)
_LITERALS = (b"NaN", b"-Infinity", b"1e999", b"01", b"'a'", b"1" * 4301, b"\xff", b"", b"\x00")


def as_body(document: Document) -> bytes:
    """A body that says what a document says."""
    return json.dumps(document).encode()


def body(draws: Draws, base: Document) -> bytes:
    """A body that says nearly what a document says."""
    document: Document = copy.deepcopy(base)
    for _ in range(draws.number(5)):
        _change(draws, document)
    written = json.dumps(
        document,
        ensure_ascii=draws.choice((True, False)),
        separators=draws.choice(((",", ":"), (" , ", "\t:\n"))),
    ).encode("utf-8", "surrogatepass")
    for _ in range(draws.number(3)):
        written = _spoil(draws, written)
    return written


def _change(draws: Draws, document: Document) -> None:
    places = list(_places(document))
    if not places:
        return
    holder, key = draws.choice(places)
    match draws.number(4):
        case 0 if isinstance(holder, dict):
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[draws.choice(_KEYS)] = _value(draws)
        case _:
            holder[key] = _value(draws)


def _value(draws: Draws) -> Any:
    kind = draws.choice(_KINDS)
    if isinstance(kind, tuple):
        return draws.choice(kind)
    return copy.deepcopy(kind)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


def _spoil(draws: Draws, written: bytes) -> bytes:
    """Do to the bytes what no document can be made to say."""
    spoil = draws.choice((_twice, _odd, _deep, _begun, _literal, _cut))
    return spoil(draws, written)


def _twice(draws: Draws, written: bytes) -> bytes:
    """A key stands there twice, perhaps spelt in two ways."""
    key = draws.choice(_DECIDING)
    spelling = draws.choice((key.encode(), _escaped(key)))
    return b'{"%s":%s,' % (spelling, json.dumps(_value(draws)).encode()) + written[1:]


def _odd(draws: Draws, written: bytes) -> bytes:
    """A key is spelt in another way."""
    key = draws.choice(_DECIDING)
    return written.replace(b'"%s"' % key.encode(), b'"%s"' % _escaped(key), 1)


def _deep(draws: Draws, written: bytes) -> bytes:
    depth = draws.choice(_DEPTHS)
    return written[:-1] + b',"deep":' + b"[" * depth + b"]" * depth + b"}"


def _begun(draws: Draws, written: bytes) -> bytes:
    return draws.choice((b"\xef\xbb\xbf", b" ", b"\x0c", b"[")) + written


def _literal(draws: Draws, written: bytes) -> bytes:
    return written[:-1] + b',"new":' + draws.choice(_LITERALS) + b"}"


def _cut(draws: Draws, written: bytes) -> bytes:
    return written[: draws.number(max(1, len(written)))]


def _escaped(key: str) -> bytes:
    return "".join(f"\\u{ord(letter):04x}" for letter in key).encode()
