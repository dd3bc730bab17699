"""What a fuzzer may begin with: bytes that reach far, made as the targets read them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from faults.fuzz.documents import JOB, PAGE, VERSION, as_body

_WRONG: tuple[Any, ...] = (True, 1, 1.0, "", "x", [], [5], {}, {"a": 5})
_OFFSETS = (None, -1, 0, 1, True, 5.0, "5", 2**63 - 1, 2**63, 2**64, 10**30)
_IDS = ("", "other", "job-1\n", "..", "v-1/a", "v-2", "V-1", "job-10", "a" * 129, "\ud800")
_PAUSES = (
    *("5", "0", "-1", "1e3", "0005", "9" * 10, "9" * 11, "\t7 ", "5 0", "\xb2", "nan"),
    *(
        "Sun, 06 Nov 1994 08:50:37 GMT",
        "Sunday, 06-Nov-94 08:50:37 GMT",
        "Sun Nov  6 08:50:37 1994",
    ),
    *(
        "Sun, 06 Nov 1994 8:50:037 GMT",
        "Sun, 06 Nov 0099 08:50:37 GMT",
        "Sun, 06 Nov 1994 08:50:37",
    ),
    *(
        "Sun, 06 Nov 1994 08:50:60 GMT",
        "Sun, 31 Feb 1995 08:50:37 GMT",
        "Day, 06 Nov 1994 08:50:37",
    ),
)

STEPS = tuple(
    bytes([*begin, *range(place, place + 24)]) for begin in ((), (1,)) for place in (0, 7, 90)
)
JSON: Sequence[bytes] = (
    *map(as_body, (JOB, VERSION, PAGE)),
    *(b"NaN", b"[-Infinity]", b"[1, 1.0, -0.0, true, null]", b"1e999", b"18446744073709551616"),
    *(b'"\\ud800"', b'"\xff"', b"[" * 201 + b"]" * 201, b"1" * 4301, b"\xef\xbb\xbf{}"),
    *(b'{"id": 1, "\\u0069d": 2}', b'{"id": "a", "id": "b"}', b'{"a": {"id": 1, "id": 2}}'),
)


def answers() -> Iterator[bytes]:
    """For lookups: which request, a body as it is, status 200, and the body."""
    for number in range(5):
        good: dict[str, Any] = {"id": "job-1", "status": "error"}
        document = JOB
        if number > 1:
            good, document = {"id": "v-1", "build_status": "error"}, VERSION
        bodies = [good | {"id": one} for one in _IDS]
        if number in {0, 2}:
            fields = [*document, "split", "minimum_replicas", "stream_output", "new"]
            bodies += [good | {name: value} for name in fields for value in _WRONG]
        for body in bodies:
            yield bytes([number, 1, 0]) + json.dumps(body).encode()
        for written in JSON:
            yield bytes([number, 1, 0]) + written
        for steps in STEPS:
            yield bytes([number, 0, 0]) + steps


def pages() -> Iterator[bytes]:
    """For lists: a body as it is, or steps of how to make one."""
    for offset in _OFFSETS:
        yield b"\x01" + as_body({"data": [{"id": "a", "status": 5}], "next_offset": offset})
    for body in JSON:
        yield b"\x01" + body
    for steps in STEPS:
        yield b"\x00" + steps


def errors(lengths: Sequence[int], places: Sequence[int]) -> Iterator[bytes]:
    """For errors: a status, which key of what length, and the key in each spelling and place.

    Args:
        lengths: How long each key is.
        places: In how many places each body has the key.
    """
    for key, length in enumerate(lengths):
        odd = [bytes([6, *[form] * length, 0]) for form in (1, 3, 4, 5)]
        for spelling in (*(bytes([number, 0]) for number in range(6)), *odd):
            for holder, times in enumerate(places):
                yield bytes([0, 0, holder % 2, key, 0, 0, 0, holder]) + spelling * times
    long = "\x1b[2J\n" + "a" * 3000
    for status in range(17):
        for body in (
            {"error_id": long},
            {"detail": [{"loc": [long], "msg": long}]},
            {"detail": long},
        ):
            yield bytes([0, 0, status, 0, 0, 0, 0, len(places)]) + as_body(body)
        for name in range(6):  # the key in a header
            yield bytes([0, 0, status, 0, 0, 1, name, 0, 0, 0])
    inputs = {f"{long}{number}": {"type": 5} for number in range(9)}
    for request in range(3):
        misfit = {"id": "job-1", "status": "a", "inputs": inputs}
        yield bytes([0, 0, 0, 0, request, 0, 0, len(places)]) + as_body(misfit)


def pauses() -> Iterator[bytes]:
    """For headers: without a date or with one, and the text of one of them."""
    for value in _PAUSES:
        written = value.encode("latin-1")
        yield bytes([0, 1, 0, len(written)]) + written
        yield bytes([1, 0, len(written)]) + written + bytes([1, 2, 9, 0, 0])
    for form in range(3):
        yield bytes([1, 2, form, 3, 2, 2, 9, form])
