"""What is left when a round of churn has come to rest, and whether that grows."""

import statistics
from collections.abc import Iterator, Sequence

import attrs

from benchmarks.ledger import Ledger


@attrs.frozen
class Rest:
    """What there was when all errands of a round had ended.

    Attributes:
        minutes: Since the beginning.
        waits: How many had begun by then.
        memory: Resident bytes.
        objects: How many objects the collector of garbage knows.
        tasks: How many tasks there were, but for the one that counts.
        descriptors: How many files were open, pooled connections included.
    """

    minutes: float
    waits: int
    memory: int
    objects: int
    tasks: int
    descriptors: int


@attrs.frozen
class Bounds:
    """What a soak must not exceed.

    Attributes:
        per_minute: Bytes of memory a minute.
        per_thousand: Bytes of memory for a thousand waits.
        objects: Objects for a thousand waits.
        descriptors: Files that may be open between rounds: those of the pool.
        warm_up: The share of the rounds that does not count for slopes.
        fewest: Rounds from which on there are slopes at all.
    """

    per_minute: float
    per_thousand: float
    objects: float
    descriptors: int
    warm_up: float = 0.4
    fewest: int = 8


def slope(pairs: Sequence[tuple[float, float]]) -> float:
    """How much the second grows for each one of the first, by least squares."""
    firsts, seconds = zip(*pairs, strict=True)
    return statistics.linear_regression(firsts, seconds).slope


def slopes(rests: Sequence[Rest], bounds: Bounds) -> tuple[float, float, float] | None:
    """Bytes a minute, bytes and objects for a thousand waits; None after too few rounds."""
    if len(rests) < bounds.fewest:
        return None
    counted = rests[int(len(rests) * bounds.warm_up) :]
    return (
        slope([(rest.minutes, rest.memory) for rest in counted]),
        slope([(rest.waits / 1000, rest.memory) for rest in counted]),
        slope([(rest.waits / 1000, rest.objects) for rest in counted]),
    )


def broken(
    rests: Sequence[Rest], first: Rest, last: Rest, ledger: Ledger, bounds: Bounds
) -> list[str]:
    """One line for each bound that broke.

    Args:
        rests: One for each round.
        first: How it was before there was any client.
        last: How it is when all clients are closed.
        ledger: What became of the waits.
        bounds: The bounds.
    """
    return [
        *_miscounted(ledger),
        *_left_behind(rests, first, last, bounds),
        *_growing(rests, bounds),
    ]


def _miscounted(ledger: Ledger) -> Iterator[str]:
    for name in ("lost", "duplicated", "wrong"):
        if count := getattr(ledger, name):
            yield f"{count} {name}"
    unsettled = ledger.waits - ledger.ended - ledger.stopped - ledger.lost - ledger.wrong
    if unsettled:
        yield f"{unsettled} waits more than became of them"


def _left_behind(rests: Sequence[Rest], first: Rest, last: Rest, bounds: Bounds) -> Iterator[str]:
    if most := max(rest.tasks for rest in (*rests, last)):
        yield f"{most} tasks that outlive what they are for"
    most = max(rest.descriptors for rest in rests) - first.descriptors
    if most > bounds.descriptors:
        yield f"{most} descriptors between rounds, of {bounds.descriptors} at the most"
    if last.descriptors > first.descriptors:
        yield f"{last.descriptors - first.descriptors} descriptors left open"


def _growing(rests: Sequence[Rest], bounds: Bounds) -> Iterator[str]:
    limits = (bounds.per_minute, bounds.per_thousand, bounds.objects)
    names = ("bytes a minute", "bytes for a thousand waits", "objects for a thousand waits")
    for name, value, limit in zip(names, slopes(rests, bounds) or (), limits, strict=False):
        if value > limit:
            yield f"{value:.0f} {name}, of {limit:.0f} at the most"
