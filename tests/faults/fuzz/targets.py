"""All targets, each with what a fuzzer may begin with."""

from collections.abc import Callable, Mapping, Sequence

import attrs
from faults.fuzz import (
    error_answers,
    good_answers,
    identifiers,
    json_bodies,
    large_bodies,
    pages,
    pauses,
)
from faults.fuzz.documents import JOB, PAGE, VERSION, as_body


@attrs.frozen
class Target:
    """Something that takes any bytes.

    Attributes:
        run: Takes them, and raises where a promise is broken.
        seeds: Bytes that reach far into it.
        longest: More bytes than these say nothing new.
        examples: How many drawn bytes the tests try.
    """

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    longest: int = 4096
    examples: int = 150


_BODIES = tuple(map(as_body, (JOB, VERSION, PAGE)))
_JSON = (
    *_BODIES,
    *(b"[1, 1.0, -0.0, 1e999, NaN, true, null]", b"18446744073709551616", b'"\\ud800"', b'"\xff"'),
    *(b"[" * 201 + b"]" * 201, b'{"id": 1, "\\u0069d": 2}', b"\xef\xbb\xbf{}", b"1" * 4301),
)
_STEPS = tuple(
    bytes([*begin, *range(place, place + 24)]) for begin in ((), (1,)) for place in (0, 7, 90)
)

TARGETS: Mapping[str, Target] = {
    "json_bodies": Target(json_bodies.target, _JSON),
    "good_answers": Target(
        good_answers.target,
        (
            *(bytes([number, 1, 0]) + body for number in range(5) for body in _JSON),
            *(bytes([number, 0, 0, *steps]) for number in range(5) for steps in _STEPS),
        ),
    ),
    "pages": Target(
        pages.target,
        (*(b"\x01" + body for body in _JSON), *(b"\x00" + steps for steps in _STEPS)),
    ),
    "error_answers": Target(
        error_answers.target,
        (
            *_STEPS,
            *(
                bytes([status, 0, 0, 0, 0, 0, 0, 6, holder])
                for status in range(17)
                for holder in range(12)
            ),
        ),
        longest=1024,
    ),
    "pauses": Target(
        pauses.target,
        (
            *(b"\x01\x00\x20" + date for date in (b"Sun, 06 Nov 1994 08:49:37 GMT",)),
            *(bytes([0, 1, 0, len(value)]) + value for value in (b"5", b"1e3", b"9" * 10, b"-1")),
            *(bytes([1, 2, form, 3, 2, 2, 9, other]) for form in range(3) for other in range(3)),
        ),
        longest=256,
    ),
    "identifiers": Target(
        identifiers.target,
        (
            b"\x00job-1",
            b"\x00..",
            b"\x01a/b",
            b"\x02\x00",
            *(bytes([3, 2, at, at]) for at in range(29)),
        ),
        longest=256,
    ),
    "large_bodies": Target(
        large_bodies.target,
        tuple(
            bytes([number, 0, size, beginning, 0, unit, 0, end])
            for number, size, beginning, unit, end in (
                (5, 12, 7, 0, 7),
                (0, 11, 2, 0, 7),
                (0, 9, 3, 5, 6),
                (5, 9, 7, 12, 7),
                (0, 8, 6, 8, 8),
                (0, 6, 5, 2, 4),
                (0, 5, 5, 10, 0),
            )
        ),
        longest=128,
        examples=20,
    ),
}
