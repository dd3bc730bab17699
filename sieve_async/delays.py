"""Sequences of pauses, in seconds: pure, always finite, and never a hot loop.

The only room that knows ``backoff``, and of it only the wait generators: its decorators measure
elapsed time before the call and by the wall clock.
"""

import random
from collections.abc import Generator, Iterator

import backoff

# Below this a pause is a hot loop in disguise.
SHORTEST = 0.05
_LONGEST = 86_400.0
_LONGEST_THROTTLED = 30.0
_LONGEST_AFTER_FAILURE = 60.0


def transient(*, base: float, cap: float) -> Iterator[float]:
    """Pauses after transient failures: full jitter below a limit that doubles from ``base``."""
    return (max(SHORTEST, random.uniform(0, limit)) for limit in _doubling(base, cap))


def throttled() -> Iterator[float]:
    """Pauses after 429: at least half of the limit, for full jitter can collapse to nothing."""
    limits = _doubling(1.0, _LONGEST_THROTTLED)
    return (max(SHORTEST, random.uniform(limit / 2, limit)) for limit in limits)


def jittered(pause: float, jitter: float) -> float:
    """A pause that is longer or shorter by up to a share of itself."""
    return max(SHORTEST, pause * random.uniform(1 - jitter, 1 + jitter))


def after_failed_polls(pause: float, failures: int) -> float:
    """The pause after polls that failed in a row: twice the last one each time, then jittered."""
    longest = max(_LONGEST_AFTER_FAILURE, pause)
    doubled = min(pause * 2.0 ** min(failures, 32), longest)
    return max(SHORTEST, doubled * random.uniform(0.5, 1))


def confirming(pause: float) -> float:
    """The pause before a poll that confirms a refusal; never less than asked for."""
    return pause * random.uniform(1, 2)


def _doubling(base: float, cap: float) -> Generator[float, None, None]:
    # It computes factor * 2**n until that reaches the cap: from nothing, or to a cap that is out of
    # reach, it would go on until no float can hold the number.
    least = 1e-9
    waits = backoff.expo(base=2, factor=max(base, least), max_value=min(cap, _LONGEST))
    next(waits)  # backoff's generators need one push before their first value
    while True:
        limit = float(next(waits))
        yield limit if base >= least else 0.0
