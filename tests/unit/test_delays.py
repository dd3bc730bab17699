"""Pauses: always finite, never a hot loop, within the rules."""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sieve_async import PollPolicy, RetryPolicy, delays

# Hypothesis seeds ``random`` anew for each example, hence the ten draws in each.
STEADY = settings(derandomize=True, deadline=None, max_examples=200)
SHORTEST = 0.05
SECONDS = st.floats(0, 1e9)


@STEADY
@given(base=SECONDS, cap=SECONDS)
def test_transient(base: float, cap: float) -> None:
    """A pause after a transient failure is at most min(cap, base * 2**n), and at least 0.05 s."""
    policy = RetryPolicy(initial_delay=min(base, cap), max_delay=cap)

    pauses = list(islice(delays.transient(base=policy.initial_delay, cap=policy.max_delay), 12))

    for number, pause in enumerate(pauses):
        assert (
            SHORTEST
            <= pause
            <= max(SHORTEST, min(policy.max_delay, policy.initial_delay * 2**number))
        )


def test_transient_fills_its_range() -> None:
    """The default pauses have full jitter: they are spread from next to nothing up to the limit."""
    rows = [list(islice(delays.transient(base=0.5, cap=8.0), 8)) for _ in range(2000)]

    for pauses, limit in zip(zip(*rows, strict=True), [0.5, 1, 2, 4, 8, 8, 8, 8], strict=True):
        assert min(pauses) < limit * 0.15
        assert max(pauses) > limit * 0.97
        assert mean(pauses) == pytest.approx(limit / 2, rel=0.1)


def test_throttled() -> None:
    """A pause after a 429 is at least half of its limit, which doubles from 1 s to 30 s."""
    rows = [list(islice(delays.throttled(), 8)) for _ in range(2000)]

    for pauses, limit in zip(zip(*rows, strict=True), [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert limit * 0.5 <= min(pauses) < limit * 0.53
        assert limit * 0.97 < max(pauses) <= limit


@pytest.mark.parametrize(
    "start",
    [
        delays.throttled,
        lambda: delays.transient(base=0.5, cap=8.0),
        lambda: delays.transient(base=0.0, cap=0.0),
        lambda: delays.transient(base=0.0, cap=8.0),
        lambda: delays.transient(base=1e-308, cap=8.0),
        lambda: delays.transient(base=1.0, cap=1e308),
    ],
    ids=range(6),
)
def test_sequences_do_not_end(start: Callable[[], Iterator[float]]) -> None:
    """However many retries there are, there is a pause before each, finite and not too short."""
    pauses = list(islice(start(), 3000))

    assert len(pauses) == 3000
    assert all(math.isfinite(pause) and pause >= SHORTEST for pause in pauses)


@STEADY
@given(
    waited=st.floats(0, 1e12),
    minimum=SECONDS,
    growth=st.floats(0, 1e6),
    maximum=SECONDS,
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_growing(
    waited: float, minimum: float, growth: float, maximum: float, jitter: float
) -> None:
    """A poll's pause is a share of the time waited, between its bounds, give or take the jitter."""
    policy = PollPolicy(
        min_interval=min(minimum, maximum), growth=growth, max_interval=maximum, jitter=jitter
    )

    pauses = [policy.pause(waited) for _ in range(10)]

    plain = min(max(growth * waited, policy.min_interval), policy.max_interval)
    low, high = plain * (1 - jitter), plain * (1 + jitter)
    assert max(SHORTEST, low) <= min(pauses)
    assert max(pauses) <= max(SHORTEST, high)


@pytest.mark.parametrize(
    ("waited", "plain"),
    [(0, 0.5), (5, 0.5), (10, 0.5), (20, 1), (100, 5), (200, 10), (3600, 10), (1e9, 10)],
)
def test_growing_by_default(waited: float, plain: float) -> None:
    """By default a pause is 5 % of the time waited, from 0.5 to 10 s, give or take a quarter."""
    pauses = [PollPolicy().pause(waited) for _ in range(2000)]

    assert plain * 0.75 <= min(pauses) < plain * 0.77
    assert plain * 1.23 < max(pauses) <= plain * 1.25


@STEADY
@given(pause=st.floats(SHORTEST, 1e9), failures=st.integers(1, 10**6))
def test_after_failed_polls(pause: float, failures: int) -> None:
    """A pause doubles with each failed poll, up to 60 s, and is then cut by up to a half."""
    limit = min(pause * 2.0 ** min(failures, 40), max(60.0, pause))

    for _ in range(10):
        assert limit / 2 <= delays.after_failed_polls(pause, failures) <= limit


@pytest.mark.parametrize(
    ("failures", "limit"), [(1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (99, 60)]
)
def test_after_failed_polls_of_a_second(failures: int, limit: float) -> None:
    """A pause of a second becomes two, four, and at last sixty."""
    pauses = [delays.after_failed_polls(1.0, failures) for _ in range(2000)]

    assert limit / 2 <= min(pauses) < limit * 0.52
    assert limit * 0.98 < max(pauses) <= limit


@STEADY
@given(SECONDS)
def test_confirming(pause: float) -> None:
    """The pause before a poll that confirms is what was asked for, or up to twice that."""
    for _ in range(10):
        assert pause <= delays.confirming(pause) <= 2 * pause
