"""Delays: always finite, never shorter than 0.05 s, within the rules."""

import math
import random
from itertools import islice
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sieve_async import PollPolicy, delays

# Hypothesis seeds ``random`` anew for each example, hence the ten draws in each.
STEADY = settings(derandomize=True, deadline=None, max_examples=50)
MIN_DELAY = 0.05
SECONDS = st.floats(0, 1e9)


@STEADY
@given(base=SECONDS, cap=SECONDS)
def test_transient(base: float, cap: float) -> None:
    """A delay after a transient failure is at most min(cap, base * 2**n), and at least 0.05 s."""
    base = min(base, cap)
    for number, delay in enumerate(islice(delays.transient(base=base, cap=cap), 12)):
        assert MIN_DELAY <= delay <= max(MIN_DELAY, min(cap, base * 2**number))


def test_transient_fills_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default delays have full jitter: they are spread from next to nothing up to the limit."""
    monkeypatch.setattr(delays, "random", random.Random(1))  # a mean is within 10 % only by chance
    rows = [list(islice(delays.transient(base=0.5, cap=8.0), 8)) for _ in range(500)]
    for delays_made, limit in zip(zip(*rows, strict=True), [0.5, 1, 2, 4, 8, 8, 8, 8], strict=True):
        assert min(delays_made) < limit * 0.15
        assert max(delays_made) > limit * 0.97
        assert mean(delays_made) == pytest.approx(limit / 2, rel=0.1)


def test_throttled() -> None:
    """A delay after a 429 is at least half of its limit, which doubles from 1 s to 30 s."""
    rows = zip(*(islice(delays.throttled(), 8) for _ in range(500)), strict=True)
    for made, limit in zip(rows, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert limit * 0.5 <= min(made) < limit * 0.55
        assert limit * 0.95 < max(made) <= limit


def test_sequences_do_not_end() -> None:
    """However many retries there are, there is a delay before each, finite and not too short."""
    for base, cap in ((0.5, 8.0), (0.0, 0.0), (0.0, 8.0), (1e-308, 8.0), (1.0, 1e308)):
        made = list(islice(delays.transient(base=base, cap=cap), 3000))
        assert len(made) == 3000
        assert all(math.isfinite(delay) and delay >= MIN_DELAY for delay in made)
    assert len(list(islice(delays.throttled(), 3000))) == 3000


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
    """A poll interval is a share of the time waited, within its bounds and the jitter."""
    policy = PollPolicy(
        min_interval=min(minimum, maximum), growth=growth, max_interval=maximum, jitter=jitter
    )
    delays_made = [policy.delay(waited) for _ in range(10)]
    plain = min(max(growth * waited, policy.min_interval), policy.max_interval)
    low, high = plain * (1 - jitter), plain * (1 + jitter)
    assert max(MIN_DELAY, low) <= min(delays_made)
    assert max(delays_made) <= max(MIN_DELAY, high)


def test_after_failed_polls_of_a_second() -> None:
    """A delay of a second becomes two, four, and at last sixty."""
    for failures, limit in ((1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (99, 60)):
        made = [delays.after_failed_polls(1.0, failures) for _ in range(500)]
        assert limit / 2 <= min(made) < limit * 0.55
        assert limit * 0.95 < max(made) <= limit


@STEADY
@given(SECONDS)
def test_at_least(delay: float) -> None:
    """A delay is what was asked for, or up to twice that."""
    for _ in range(10):
        assert delay <= delays.at_least(delay) <= 2 * delay
