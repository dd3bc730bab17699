"""Almost valid JSON documents: good ones, changed as the bytes of a fuzzer decide."""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import attrs

Document: TypeAlias = dict[str, Any]
Option = TypeVar("Option")

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
ERROR: Document = {"detail": [{"loc": ["query", "offset"], "msg": "invalid"}], "error_id": "e-1"}
EVENT: Document = {"type": "job.complete", "body": {"job_id": "job-1", "outputs": [_VALUE]}}

_TEXTS = ("", "job-1", "v-1", "..", "\ud800", "\x1b[2J", "a" * 400, "é", "null", "0", "finished")
_TIMES = (
    "2024-02-30T01:41:59Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2024-12-15T01:41:59.123456789",
    "2024-12-15 01:41:59",
    "20241215T014159Z",
)
_NUMBERS = (0, 1, -1, 2**63, 2**64, 10**30, 1.0, -0.0, 1.5, 1e300, 5e-324)
_KEYS = tuple({*JOB, *VERSION, *_VALUE, *JOB["function"], *PAGE, "extra", "idle", "", "self"})
_KINDS: tuple[Any, ...] = (None, True, _NUMBERS, _TEXTS, _TIMES, [], {}, _VALUE, VERSION, JOB)
_LITERALS = (b"NaN", b"-Infinity", b"1e999", b"01", b"'a'", b"1" * 4301, b"\xff", b"", b"\x00")


@attrs.define
class Choices:
    """Reads bytes as decisions; when they are used up, each decision is the first option."""

    data: bytes
    _position: int = attrs.field(default=0, init=False)

    def number(self, below: int) -> int:
        """A number from zero up to the bound, which is excluded and at most 65,536."""
        size = 1 if below <= 256 else 2
        piece = self.data[self._position : self._position + size]
        self._position += size
        return int.from_bytes(piece) % below

    def option(self, options: Sequence[Option]) -> Option:
        """One of several."""
        return options[self.number(len(options))]

    def rest(self) -> bytes:
        """The remaining bytes."""
        rest = self.data[self._position :]
        self._position = len(self.data)
        return rest


def body(choices: Choices, base: Document) -> bytes:
    """Arbitrary bytes, or the bytes of a document with a few changes."""
    if choices.option((False, False, False, True)):
        return choices.rest()
    document = copy.deepcopy(base)
    for _ in range(choices.number(5)):
        _change(choices, document)
    written = json.dumps(document, ensure_ascii=choices.option((True, False))).encode(
        "utf-8", "surrogatepass"
    )
    for _ in range(choices.number(3)):
        written = _break(choices, written)
    return written


def _change(choices: Choices, document: Document) -> None:
    places = list(_places(document))
    if not places:
        return
    holder, key = choices.option(places)
    match choices.number(4):
        case 0 if isinstance(holder, dict):
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[choices.option(_KEYS)] = _value(choices)
        case _:
            holder[key] = _value(choices)


def _value(choices: Choices) -> Any:
    kind = choices.option(_KINDS)
    if isinstance(kind, tuple):
        return choices.option(kind)
    return copy.deepcopy(kind)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


def _break(choices: Choices, written: bytes) -> bytes:
    """Make a change that no document can express."""
    at = choices.number(len(written) + 1)
    match choices.number(4):
        case 0:
            return written[:at]
        case 1:
            return b'{"id":%s,' % json.dumps(_value(choices)).encode() + written[1:]
        case 2:
            depth = choices.option((1, 100, 100_000))  # pickle fails at some hundred
            return written[:-1] + b',"deep":' + b"[" * depth + b"]" * depth + b"}"
        case _:
            return written[:at] + choices.option(_LITERALS) + written[at:]
