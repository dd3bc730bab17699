"""What is kept of watched jobs, what is logged of them, and how many requests may be held."""

import json
import logging

import pytest

from helpers.asserts import warnings_of
from scene import Scene
from sieve_async import (
    ClientClosedError,
    ConnectError,
    Job,
    JobStatus,
    NotFoundError,
    ResponseError,
    ServerError,
    SieveError,
    TLSError,
)
from sieve_async.decode import parse_state
from sieve_async.endpoints import get_job
from sieve_async.messages import Request, Response
from sieve_async.polling import LongPolls
from sieve_async.polling.long_polls import means_cut_off
from sieve_async.watching.evidence import Evidence
from sieve_async.watching.troubles import Troubles
from sieve_async.watching.watch import Watch


def show(watch: Watch, status: str = "processing", size: int = 0) -> None:
    """Let a watch have seen an answer of about this size."""
    request: Request[Job] = get_job(watch.job_id)
    body = json.dumps({"id": watch.job_id, "status": status, "note": "x" * size}).encode()
    watch.seen = parse_state(request, Response(200, (), body, str))
    watch.wait.answered(watch.seen.status, 0, asked_at=0.0, now=0.0)


def test_evidence_up_to_a_bound() -> None:
    """Answers are kept while there is room; of what comes after, only the status is known."""
    scene, evidence = Scene(), Evidence(room=10_000)
    small, large, last = (scene.watch(job_id) for job_id in ("small", "large", "last"))
    for watch, size in ((small, 1000), (large, 9000), (last, 1000)):
        show(watch, size=size)
        watch.wait.last_error = ConnectError("before the answer")
        evidence.keep(watch)

    for watch, is_whole in ((small, True), (large, False), (last, True)):
        job, problem = watch.last()
        assert job is not None
        assert (job.status, problem) == (JobStatus.PROCESSING, None)
        assert (watch.seen is not None) == (watch.wait.last_error is not None) == is_whole
    assert 0 <= evidence.room <= 10_000 - 2 * 3000


def test_evidence_is_released() -> None:
    """Room comes back when a job is kept anew or let go, and no more of it than was taken."""
    scene, evidence = Scene(), Evidence(room=10_000)
    watch, unseen = scene.watch("a"), scene.watch("unseen")
    for size in (10, 5000, 5000, 100):
        show(watch, size=size)
        evidence.keep(watch)
        assert evidence.room == 10_000 - watch.kept
        assert watch.kept > size
    evidence.keep(unseen)
    for each in (watch, watch, unseen):
        evidence.release(each)

    assert evidence.room == 10_000


def test_evidence_of_a_failure() -> None:
    """While looks fail, the last error is kept though there is no room for the answer."""
    watch, evidence = Scene().watch("a"), Evidence(room=0)
    show(watch)
    watch.wait.failed(ConnectError("down"), asked_at=0.0, now=0.0)

    evidence.keep(watch)

    assert watch.seen is None
    assert isinstance(watch.wait.last_error, ConnectError)


def test_troubles_are_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Of all failures of a minute there is one line, which says how many there were before."""
    now = 0.0
    troubles = Troubles(lambda: now)
    for number in range(200):
        now = float(number)
        troubles.note_failure(ServerError(500))

    assert [line.partition(",")[0] for line in warnings_of(caplog)] == [
        f"polls fail ({number})" for number in (1, 60, 60, 60)
    ]


def test_troubles_with_words(caplog: pytest.LogCaptureFixture) -> None:
    """Each unknown word is told once, and of very many only some."""
    caplog.set_level(logging.WARNING)
    scene, troubles = Scene(), Troubles(lambda: 0.0)
    for number in range(300):
        watch = scene.watch(f"{number}")
        show(watch, f"word-{number // 2}")
        troubles.note(watch)
    known = scene.watch("known")
    show(known)
    troubles.note(known)

    assert len(warnings_of(caplog)) == 100


@pytest.mark.parametrize(("slots", "most"), [(1, 0), (2, 1), (7, 3)])
def test_long_polls_take_half(slots: int, most: int) -> None:
    """Held requests take at most half of the slots, and each gives its own back."""
    long_polls = LongPolls(slots)
    for _ in range(2):
        assert [long_polls.take() for _ in range(slots)] == [True] * most + [False] * (slots - most)
        for _ in range(most):
            long_polls.give_back()

    assert long_polls.in_flight == 0


@pytest.mark.parametrize("has_worked", [False, True])
def test_long_polls_are_given_up(
    has_worked: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An endpoint that is missing is given up for good, and told once; one that worked, later."""
    long_polls = LongPolls(4)
    if has_worked:
        long_polls.note_worked()
    long_polls.note_missing()
    long_polls.note_missing()

    assert long_polls.take() == has_worked
    assert len(warnings_of(caplog)) == (0 if has_worked else 1)
    long_polls.note_missing()
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize(
    ("error", "is_cut_off"),
    [
        (ConnectError("reset"), True),
        (ResponseError("half of it"), True),
        (ServerError(502), True),
        (ServerError(504), True),
        (TLSError("not the one it says it is"), False),
        (ServerError(501), False),
        (ServerError(505), False),
        (NotFoundError(404), False),
        (ClientClosedError(), False),
    ],
    ids=repr,
)
def test_long_polls_that_are_cut_off(error: SieveError, is_cut_off: bool) -> None:  # noqa: FBT001
    """A held request was cut off by a proxy or on the way, and not by a refusal."""
    assert means_cut_off(error) == is_cut_off
