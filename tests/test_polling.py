"""The decisions of a wait, as tables: answers and times in, steps out."""

import pytest

from sieve_async import (
    AuthenticationError,
    BadRequestError,
    BuildStatus,
    ClientClosedError,
    ConnectError,
    DecodeError,
    JobStatus,
    NotFoundError,
    OutOfCreditsError,
    PermissionDeniedError,
    PollPolicy,
    RateLimitError,
    RedirectError,
    RequestTimeoutError,
    ResponseError,
    ResponseTooLargeError,
    ServerError,
    SieveError,
    TLSError,
    TransportError,
    UnprocessableEntityError,
)
from sieve_async.polling.machine import (
    AskAgain,
    Ended,
    GaveUp,
    Step,
    TimedOut,
    Verdict,
    Wait,
    verdict,
)

STEADY = PollPolicy(min_interval=1, growth=0.1, max_interval=10, jitter=0, outage_timeout=100)
EVERY_TEN = PollPolicy(min_interval=10, growth=0, max_interval=10, jitter=0)
DOWN = ConnectError("refused")
GONE = NotFoundError(404)
REVOKED = AuthenticationError(401)


def answered(wait: Wait, status: JobStatus | BuildStatus, now: float, outputs: int = 0) -> Step:
    """One good answer that took no time."""
    return wait.answered(status, outputs, asked_at=now, now=now)


def failed(wait: Wait, error: SieveError, now: float) -> Step:
    """One failed poll that took no time."""
    return wait.failed(error, asked_at=now, now=now)


@pytest.mark.parametrize(
    ("error", "before", "after"),
    [
        (ClientClosedError(), Verdict.END, Verdict.END),
        (BadRequestError(400), Verdict.END, Verdict.END),
        (BadRequestError(406), Verdict.END, Verdict.END),
        (BadRequestError(409), Verdict.END, Verdict.END),
        (OutOfCreditsError(402), Verdict.END, Verdict.END),
        (PermissionDeniedError(403), Verdict.END, Verdict.END),
        (UnprocessableEntityError(422), Verdict.END, Verdict.END),
        (ResponseTooLargeError("large"), Verdict.END, Verdict.END),
        (REVOKED, Verdict.END, Verdict.CONFIRM),
        (GONE, Verdict.END, Verdict.CONFIRM),
        (TLSError("expired"), Verdict.END, Verdict.GO_ON),
        (RedirectError("elsewhere"), Verdict.END, Verdict.GO_ON),
        (ServerError(501), Verdict.END, Verdict.GO_ON),
        (ServerError(505), Verdict.END, Verdict.GO_ON),
        (BadRequestError(408), Verdict.GO_ON, Verdict.GO_ON),
        (RateLimitError(429), Verdict.GO_ON, Verdict.GO_ON),
        (ServerError(500), Verdict.GO_ON, Verdict.GO_ON),
        (ServerError(503), Verdict.GO_ON, Verdict.GO_ON),
        (ServerError(524), Verdict.GO_ON, Verdict.GO_ON),
        (DOWN, Verdict.GO_ON, Verdict.GO_ON),
        (RequestTimeoutError("slow"), Verdict.GO_ON, Verdict.GO_ON),
        (TransportError("cut off"), Verdict.GO_ON, Verdict.GO_ON),
        (DecodeError("not JSON"), Verdict.GO_ON, Verdict.GO_ON),
        (DecodeError("other id", problems=("$.id: x",)), Verdict.GO_ON, Verdict.GO_ON),
        (ResponseError("odd"), Verdict.GO_ON, Verdict.GO_ON),
    ],
)
def test_verdicts(error: SieveError, before: Verdict, after: Verdict) -> None:
    """What a failed poll means, before and after the first good answer."""
    assert verdict(error, seen=False) is before
    assert verdict(error, seen=True) is after


def test_pauses_grow_with_the_time_waited() -> None:
    """The pause is a share of the time since the status changed, between two bounds."""
    wait = Wait(STEADY, started=0)

    steps = [answered(wait, JobStatus.QUEUED, now) for now in (0, 5, 30, 80, 500)]
    changed = answered(wait, JobStatus.PROCESSING, 600)

    assert steps == [AskAgain(1), AskAgain(6), AskAgain(33), AskAgain(88), AskAgain(510)]
    assert changed == AskAgain(601)


@pytest.mark.parametrize(
    "status",
    [
        JobStatus.FINISHED,
        JobStatus.ERROR,
        JobStatus.CANCELLED,
        BuildStatus.READY,
        BuildStatus.ERROR,
    ],
    ids=repr,
)
def test_terminal_wins(status: JobStatus | BuildStatus) -> None:
    """A terminal answer ends the wait, also when it comes after the deadline."""
    wait = Wait(STEADY, started=0, deadline=10)

    assert answered(wait, status, 11) == Ended()


def test_unknown_words_are_polled_on() -> None:
    """A status that we do not know is not the end."""
    wait = Wait(STEADY, started=0)

    assert answered(wait, JobStatus("started"), 0) == AskAgain(1)


def test_news() -> None:
    """News is a status or number of outputs that the answer before did not show."""
    wait = Wait(STEADY, started=0)
    answers = [
        (JobStatus.QUEUED, 0, True),
        (JobStatus.QUEUED, 0, False),
        (JobStatus.PROCESSING, 0, True),
        (JobStatus.PROCESSING, 1, True),
        (JobStatus.PROCESSING, 1, False),
        (JobStatus.PROCESSING, 0, True),
        (JobStatus.FINISHED, 0, True),
    ]

    for now, (status, outputs, is_news) in enumerate(answers):
        answered(wait, status, now, outputs)
        assert wait.is_news is is_news


def test_failed_polls_slow_down_and_recover() -> None:
    """Failures double the pause up to a minute; a good answer goes back to the schedule."""
    wait = Wait(STEADY, started=0)
    answered(wait, JobStatus.QUEUED, 0)
    pauses = []
    for _ in range(8):
        step = failed(wait, DOWN, 0)
        assert isinstance(step, AskAgain)
        pauses.append(step.at)

    for pause, limit in zip(pauses, (2, 4, 8, 16, 32, 60, 60, 60), strict=True):
        assert limit / 2 <= pause <= limit
    assert answered(wait, JobStatus.QUEUED, 1) == AskAgain(2)


def test_last_poll_before_the_deadline() -> None:
    """The last pause is cut so that one poll lands just before the deadline, and only one."""
    wait = Wait(EVERY_TEN, started=0, deadline=100)

    early = answered(wait, JobStatus.QUEUED, 50)
    cut = answered(wait, JobStatus.QUEUED, 95)
    over = answered(wait, JobStatus.QUEUED, 99.9)

    assert early == AskAgain(60)
    assert cut == AskAgain(99.9)
    assert over == TimedOut(100)


def test_slow_polls_get_more_time_for_the_last() -> None:
    """The last poll leaves so early that one as slow as the poll before is back in time."""
    wait = Wait(EVERY_TEN, started=0, deadline=100)

    step = wait.answered(JobStatus.QUEUED, 0, asked_at=90, now=92)

    assert step == AskAgain(97)
    assert wait.answered(JobStatus.QUEUED, 0, asked_at=97, now=99) == TimedOut(100)


@pytest.mark.parametrize("step", ["answer", "failure"])
def test_no_time_left(step: str) -> None:
    """After the deadline nothing but a terminal answer or a refusal counts."""
    wait = Wait(STEADY, started=0, deadline=10)

    result = answered(wait, JobStatus.QUEUED, 10) if step == "answer" else failed(wait, DOWN, 10)

    assert result == TimedOut(10)


def test_refusal_after_the_deadline() -> None:
    """A refusal is the truth, also at the deadline."""
    wait = Wait(STEADY, started=0, deadline=10)

    assert failed(wait, GONE, 10) == GaveUp(GONE)


def test_poll_that_the_deadline_cut_off() -> None:
    """A poll that we cut off ourselves says nothing about the server; any other failure does."""
    wait = Wait(STEADY, started=0, deadline=10)
    failed(wait, DOWN, 5)
    failed(wait, RequestTimeoutError("cut off"), 10)
    assert wait.last_error is DOWN

    only_look = Wait(STEADY, started=0, deadline=0)
    slow = RequestTimeoutError("slow")
    assert failed(only_look, slow, 30) == TimedOut(0)
    assert only_look.last_error is slow


def test_unreachable() -> None:
    """Without a valid answer for ``outage_timeout`` the wait gives up, with one last look then."""
    wait = Wait(STEADY, started=0)
    answered(wait, JobStatus.QUEUED, 1000)

    failed(wait, DOWN, 1010)
    before = failed(wait, DOWN, 1099)
    last = failed(wait, DOWN, 1100)

    assert before == AskAgain(1100)
    assert last == GaveUp(DOWN)


def test_unreachable_without_limit() -> None:
    """``outage_timeout=None`` never gives up."""
    wait = Wait(PollPolicy(outage_timeout=None), started=0)

    assert isinstance(failed(wait, DOWN, 1e9), AskAgain)


def test_unreachable_from_the_start() -> None:
    """A server that never answered is waited for just as long."""
    wait = Wait(STEADY, started=0)

    assert isinstance(failed(wait, DOWN, 0), AskAgain)
    assert isinstance(failed(wait, DOWN, 50), AskAgain)
    assert failed(wait, DOWN, 101) == GaveUp(DOWN)


@pytest.mark.parametrize("took", [0, 86_400], ids=["not asked", "asleep while it asked"])
def test_gap(took: float) -> None:
    """Time in which nobody asked, or nothing ran, is no outage; what follows it may be one."""
    wait = Wait(PollPolicy(outage_timeout=1800), started=0)
    answered(wait, JobStatus.QUEUED, 0)

    first = wait.failed(DOWN, asked_at=86_400 - took, now=86_400)
    later = failed(wait, DOWN, 86_400 + 1600)
    last = failed(wait, DOWN, 86_400 + 1800)

    assert (type(first), type(later), last) == (AskAgain, AskAgain, GaveUp(DOWN))


@pytest.mark.parametrize(("error", "confirmations", "pause"), [(GONE, 2, 2.5), (REVOKED, 1, 1.0)])
def test_confirmed_refusals(error: SieveError, confirmations: int, pause: float) -> None:
    """A refusal after a good answer is confirmed first; a good answer starts the count again."""
    wait = Wait(STEADY, started=0)
    answered(wait, JobStatus.QUEUED, 0)
    for _ in range(2):
        for _ in range(confirmations):
            step = failed(wait, error, 0)
            assert isinstance(step, AskAgain)
            assert pause <= step.at <= 2 * pause
        answered(wait, JobStatus.QUEUED, 0)

    for _ in range(confirmations):
        failed(wait, error, 0)
        failed(wait, DOWN, 0)  # says neither yes nor no
    assert failed(wait, error, 0) == GaveUp(error)


def test_never_a_hot_loop() -> None:
    """No pause is shorter than 0.05 s, whatever the policy says."""
    wait = Wait(PollPolicy(min_interval=0, growth=0, max_interval=0), started=0)

    assert answered(wait, JobStatus.QUEUED, 0) == AskAgain(0.05)
    step = failed(wait, DOWN, 0)
    assert isinstance(step, AskAgain)
    assert step.at >= 0.05
