"""`PollState`: answers and times in, decisions out."""

import random

import pytest

from sieve_async import JobStatus, PollPolicy, errors
from sieve_async.polling.state import DeadlineReached, Decision, Failed, PollAt, PollState

STEADY = PollPolicy(jitter=0)
QUEUED, PROCESSING = JobStatus.QUEUED, JobStatus.PROCESSING
CONFIRMED = [400, 401, 402, 403, 404, 406, 409, 410, 422]
TRANSIENT = [408, 421, 425, 429, 500, 502, 503, 504, 520, 529]


def at(decision: Decision) -> float:
    """When to poll again."""
    assert isinstance(decision, PollAt)
    return decision.at


def answer(state: PollState, status: JobStatus, now: float, outputs: int = 0) -> Decision:
    """A good answer that took no time."""
    return state.on_response(status, outputs, sent_at=now, now=now)


def failure(
    state: PollState, error: errors.SieveError, now: float, *, was_listed: bool = False
) -> Decision:
    """A poll that failed at once."""
    return state.on_error(error, sent_at=now, now=now, was_listed=was_listed)


def test_intervals() -> None:
    """5 % of the time since the last change of status; the first answer is no change."""
    state = PollState(STEADY, 0)
    intervals = {now: at(answer(state, QUEUED, now)) - now for now in (0, 5, 20, 100, 1000)}
    assert intervals == pytest.approx({0: 0.5, 5: 0.5, 20: 1, 100: 5, 1000: 10})
    assert at(answer(state, PROCESSING, 1000)) == 1000.5
    assert at(answer(state, PROCESSING, 1100)) == 1105
    assert at(answer(PollState(STEADY, 0), QUEUED, 100)) == 105


def test_jitter() -> None:
    """Intervals are longer or shorter by the jitter, the first by twice as much."""
    random.seed(1)
    first, later = [], []
    for _ in range(500):
        state = PollState(PollPolicy(min_interval=1, jitter=0.2), 0)
        first.append(at(answer(state, QUEUED, 0)))
        later.append(at(answer(state, QUEUED, 1)) - 1)
    assert 0.6 <= min(first) < 0.65
    assert 1.35 < max(first) <= 1.4
    assert 0.8 <= min(later) < 0.82
    assert 1.18 < max(later) <= 1.2


@pytest.mark.parametrize("seen", [True, False])
def test_transient_failures(*, seen: bool) -> None:
    """They end no wait, but slow it down."""
    for status in TRANSIENT:
        state = PollState(STEADY, 0)
        if seen:
            answer(state, QUEUED, 0)
        now, delays = 1.0, []
        for _ in range(12):
            then = at(failure(state, errors.api_error_class(status)(status), now))
            delays.append(then - now)
            now = then
        assert state.failures == 12
        assert all(0.499_999 <= delay <= 60.000_001 for delay in delays)  # sums of floats
        assert delays[8] >= 30
        assert at(answer(state, PROCESSING, now)) == now + 0.5 if seen else True


@pytest.mark.parametrize("how", ["answered", "listed"])
def test_rejection_after_a_good_answer(how: str) -> None:
    """It is confirmed by two more polls, each at least 2.5 s later; a final error is not."""
    for status in CONFIRMED:
        state = PollState(STEADY, 0)
        if how == "answered":
            answer(state, QUEUED, 0)
        listed = how == "listed"
        error = errors.api_error_class(status)(status)
        second = at(failure(state, error, 10, was_listed=listed))
        third = at(failure(state, error, second, was_listed=listed))
        assert 12.5 <= second <= 15
        assert second + 2.5 <= third <= second + 5
        final = errors.ResponseTooLargeError("too large")
        assert failure(state, final, 11) == Failed(final)
        assert failure(state, error, third, was_listed=listed) == Failed(error)


def test_hints_confirm_nothing() -> None:
    """Polls that some hint makes before those 2.5 s are over do not count."""
    state = PollState(STEADY, 0)
    answer(state, QUEUED, 0)
    error = errors.NotFoundError(404)
    for now in (10.0, 10.5, 11.0, 12.4):
        then = at(failure(state, error, now))
        assert then >= 12.5
    assert state.rejections == 1
    assert isinstance(failure(state, error, 12.6), PollAt)
    assert isinstance(failure(state, error, 13), PollAt)
    assert failure(state, error, 15.2) == Failed(error)


@pytest.mark.parametrize("between", ["good", "failure", "listed"])
def test_what_lies_between_rejections(between: str) -> None:
    """A good answer starts the count anew; a transient failure and a list do not."""
    state = PollState(STEADY, 0)
    answer(state, QUEUED, 0)
    error = errors.PermissionDeniedError(403)
    failure(state, error, 10)
    failure(state, error, 13)
    if between == "good":
        answer(state, QUEUED, 16)
    elif between == "failure":
        failure(state, errors.ConnectError("refused"), 16)
    is_failed = isinstance(failure(state, error, 19, was_listed=between == "listed"), Failed)
    assert is_failed is (between != "good")


def test_outage() -> None:
    """The wait ends after so long without any valid answer, not counting time without a poll."""
    state = PollState(PollPolicy(jitter=0, outage_timeout=100), 0)
    answer(state, QUEUED, 0)
    error = errors.ConnectError("refused")
    now = 1000.0  # nothing was polled for a thousand seconds
    decision = failure(state, error, now)
    while isinstance(decision, PollAt):
        now = decision.at
        decision = failure(state, error, now)
    assert decision == Failed(error)
    assert 1090 <= now <= 1101


@pytest.mark.parametrize("took", [0.05, 0.4, 3.0])
def test_deadline_with_slow_answers(took: float) -> None:
    """A last poll begins as late as one like those before can be back in time."""
    state = PollState(PollPolicy(jitter=0, min_interval=1), 0, 60.0)
    starts = [0.0]
    while starts[-1] + took < 60:
        decision = state.on_response(QUEUED, 0, sent_at=starts[-1], now=starts[-1] + took)
        if not isinstance(decision, PollAt):
            break
        starts.append(decision.at)
    assert any(60 - max(0.25, 3 * took) <= start <= 60 - took for start in starts)
    assert all(start < 60 for start in starts)


def test_inconclusive() -> None:
    """An answer that needs another one to interpret is followed at once, until the deadline."""
    state = PollState(STEADY, 0, 10)
    assert state.on_inconclusive(9.99) == PollAt(9.99)
    assert state.on_inconclusive(10) == DeadlineReached(10)


def test_changes() -> None:
    """Another status or number of outputs is a change; failures are none."""
    state = PollState(STEADY, 0)
    seen = []
    for status, outputs in ((QUEUED, 0), (QUEUED, 0), (PROCESSING, 0), (PROCESSING, 2)):
        answer(state, status, 1, outputs)
        seen.append(state.has_changed)
    failure(state, errors.ServerError(500), 2)
    assert [*seen, state.has_changed] == [True, False, True, True, False]
