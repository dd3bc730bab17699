"""Delay sequences, in seconds: pure, always finite, never shorter than 0.05 s.

The only module that imports ``backoff``, and of it only the wait generators: its decorators measure
elapsed time before the call and by the wall clock.
"""

import random
from collections.abc import Generator, Iterator

import backoff

# Lower bound that prevents busy-waiting.
MIN_DELAY = 0.05
_MAX_DELAY = 86_400.0
_MAX_THROTTLED_DELAY = 30.0
MAX_DELAY_AFTER_FAILED_POLL = 60.0


def transient(*, base: float, cap: float) -> Iterator[float]:
    """Delays after transient failures: full jitter below a limit that doubles from ``base``."""
    return (max(MIN_DELAY, random.uniform(0, limit)) for limit in _doubling(base, cap))


def throttled() -> Iterator[float]:
    """Delays after 429: at least half of the limit, since full jitter can collapse to nothing."""
    limits = _doubling(1.0, _MAX_THROTTLED_DELAY)
    return (max(MIN_DELAY, random.uniform(limit / 2, limit)) for limit in limits)


def jittered(delay: float, jitter: float) -> float:
    """A delay that is longer or shorter by up to this share of itself."""
    return max(MIN_DELAY, delay * random.uniform(1 - jitter, 1 + jitter))


def after_failed_polls(interval: float, failures: int) -> float:
    """The delay after polls that failed in a row: it doubles with each, then is jittered."""
    cap = max(MAX_DELAY_AFTER_FAILED_POLL, interval)
    doubled = min(interval * 2.0 ** min(failures, 32), cap)
    return max(MIN_DELAY, doubled * random.uniform(0.5, 1))


def at_least(delay: float) -> float:
    """A delay up to twice as long, never shorter."""
    return delay * random.uniform(1, 2)


def share_of(limit: float) -> float:
    """85 to 100 % of a limit, so that jobs which began together are not due together."""
    return limit * random.uniform(0.85, 1)


def _doubling(base: float, cap: float) -> Generator[float, None, None]:
    # backoff computes factor * 2**n until that reaches the cap: from nothing, or to a cap that is
    # out of reach, it would continue until no float can hold the number.
    least = 1e-9
    waits = backoff.expo(base=2, factor=max(base, least), max_value=min(cap, _MAX_DELAY))
    next(waits)  # backoff's generators need one push before their first value
    while True:
        limit = float(next(waits))
        yield limit if base >= least else 0.0
