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
    seeds,
)


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


TARGETS: Mapping[str, Target] = {
    "json_bodies": Target(json_bodies.target, seeds.JSON),
    "good_answers": Target(good_answers.target, tuple(seeds.answers())),
    "pages": Target(pages.target, tuple(seeds.pages())),
    "error_answers": Target(
        error_answers.target,
        tuple(
            seeds.errors(
                [len(key) for key in error_answers.KEYS],
                [holder.count(b"%s") for holder in error_answers.HOLDERS],
            )
        ),
    ),
    "pauses": Target(pauses.target, tuple(seeds.pauses()), longest=256),
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
