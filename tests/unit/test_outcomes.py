"""Outcomes: one word for every end, an exception of their own, and JSON that reads back equal."""

import copy
import json
import pickle
import traceback
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from sieve_async import (
    BuildStatus,
    FunctionVersion,
    InputOutput,
    Job,
    JobOutcome,
    JobStatus,
    errors,
)

DONE = Job("j", JobStatus.FINISHED, outputs=(InputOutput(data={"a": [1]}),))
FAILED = Job("j", JobStatus.ERROR, error="boom")
CANCELLED = Job("j", JobStatus.CANCELLED)
RUNNING = Job("j", JobStatus.PROCESSING)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

ERRORS: list[tuple[errors.SieveError, bool]] = [
    (errors.InvalidArgumentError("job_id must be ..."), True),
    (errors.NotFoundError(404, "Job not found."), True),
    (errors.PermissionDeniedError(403), True),
    (errors.UnprocessableEntityError(422, "no", problems=("a: no",)), True),
    *((errors.BadRequestError(status), True) for status in (400, 406, 409, 410)),
    *((errors.BadRequestError(status), False) for status in (408, 421, 425)),
    (errors.AuthenticationError(401), False),
    (errors.OutOfCreditsError(402), False),
    (errors.RateLimitError(429, retry_after=5.0), False),
    (errors.ServerError(500, error_id="e"), False),
    (errors.ServerError(501), False),
    (errors.WaitTimeoutError("j", RUNNING, 3, 5.5, errors.NotFoundError(404)), False),
    (errors.ClientClosedError(), False),
    (errors.ConnectError("refused", "GET", "/v2/jobs/j", 3, 1.5, sent=False), False),
    (errors.DecodeError("the body is not JSON", "GET", "/v2/jobs/j", 200, "<html>"), False),
    (errors.SieveError("anything"), False),
]


def test_outcomes_with_a_job() -> None:
    """The status is that of the job; only a finished one is ok."""
    for job, *expected in (
        (DONE, "finished", True, True),
        (FAILED, "error", False, True),
        (CANCELLED, "cancelled", False, True),
        (RUNNING, "processing", False, False),
        (None, "unknown", False, False),
    ):
        outcome = JobOutcome("j", job)
        assert [outcome.status, outcome.ok, outcome.is_final] == expected


def test_outcomes_with_an_error() -> None:
    """The status is the class of the error; it is final when it says something about the job."""
    for error, is_final in ERRORS:
        outcome = JobOutcome("j", None, error)
        assert (outcome.status, outcome.ok) == (type(error).__name__, False)
        assert outcome.is_final is is_final
        with pytest.raises(type(error)) as caught:
            outcome.result()
        assert caught.value is outcome.error


def test_results() -> None:
    """The result is the finished job; any other end raises."""
    assert JobOutcome("j", DONE).result() is DONE
    with pytest.raises(errors.JobFailedError, match="job j failed: boom"):
        JobOutcome("j", FAILED).result()
    with pytest.raises(errors.JobCancelledError):
        JobOutcome("j", CANCELLED).result()
    with pytest.raises(
        errors.SieveError, match=r"job j: its end was not seen \(status: processing\)"
    ):
        JobOutcome("j", RUNNING).result()
    with pytest.raises(errors.SieveError, match="its end was not seen"):
        JobOutcome("j").result()


def test_errors_of_their_own() -> None:
    """Raising the error of one outcome, however often, leaves no trace in that of another."""
    shared = errors.AuthenticationError(401)
    outcomes = [JobOutcome(f"{number}", None, shared) for number in range(50)]
    lengths = set()
    for outcome in outcomes * 2:
        with pytest.raises(errors.AuthenticationError) as caught:
            outcome.result()
        lengths.add(len(traceback.format_exception(caught.value)))
    assert len(lengths) == 1
    assert len({id(outcome.error) for outcome in outcomes}) == 50


HARD_ERRORS: list[errors.SieveError] = [
    *(error for error, _ in ERRORS if type(error) is not errors.SieveError),
    errors.JobFailedError(FAILED),
    errors.BuildFailedError(FunctionVersion("v", BuildStatus.ERROR)),
    errors.WaitTimeoutError("o/f:v", FunctionVersion("v", BuildStatus.QUEUED), 1, 0.5),
    errors.WaitTimeoutError("j", None, 1, 0.5),
    # Keys of the other kind of document say nothing.
    errors.WaitTimeoutError("j", attrs.evolve(DONE, extra={"build_status": "ready"}), 1, 0.5),
    errors.JobFailedError(attrs.evolve(FAILED, extra={"build_status": "error"})),
    errors.JobRestartedError("j", "j-2"),
    errors.AmbiguousPushError("o/f", {"a": [1]}, NOON, accepted=True, reason="cut off"),
]


def test_outcomes_as_dicts() -> None:
    """An outcome is written as JSON and read back equal, with its error; it pickles and copies."""
    for error in HARD_ERRORS:
        outcome = JobOutcome("j", None, error, 3, 1.5)
        read = JobOutcome.from_dict(json.loads(json.dumps(outcome.to_dict())))
        for other in (read, pickle.loads(pickle.dumps(outcome)), copy.deepcopy(outcome)):
            assert other == outcome
            assert hash(other) == hash(outcome)
            assert (type(other.error), str(other.error)) == (type(error), str(error))
        assert read != attrs.evolve(outcome, error=errors.NotFoundError(404, "another"))


def test_dict_of_an_outcome() -> None:
    """The dict of an outcome says how it ended, and holds the document of the job."""
    outcome = JobOutcome("j", DONE, polls=2, elapsed=0.5)
    assert outcome.to_dict() == {
        "job_id": "j",
        "ok": True,
        "status": "finished",
        "job": {"id": "j", "status": "finished", "outputs": [{"data": {"a": [1]}}]},
        "error": None,
        "polls": 2,
        "elapsed": 0.5,
    }
    assert JobOutcome.from_dict(outcome.to_dict()) == outcome
    assert JobOutcome.from_dict({"job_id": "j", "elapsed": 1}) == JobOutcome("j", elapsed=1.0)


def test_dict_with_an_unknown_error() -> None:
    """The error of another version of the package is read as a plain one with its text."""
    for name in ("NewError", "Mapping", "attrs", "SieveError", None):
        outcome = JobOutcome.from_dict({"job_id": "j", "error": {"type": name, "message": "text"}})
        assert type(outcome.error) is errors.SieveError
        assert str(outcome.error) == "text"


def test_dicts_that_are_none() -> None:
    """What is no dict of an outcome is an error that says so."""
    documents: list[Any] = [
        *(None, [], "x", {}, {"job": None}, {"job_id": "j", "job": 5}, {"job_id": "j", "job": {}}),
        *({"job_id": "j", "error": 5}, {"job_id": "j", "error": {"type": "JobFailedError"}}),
        {"job_id": "j", "error": {"type": "JobFailedError", "job": {"id": 5}}},
        *({"job_id": 5}, {"job_id": None}, {"job_id": "j", "polls": "1"}),
        *({"job_id": "j", "polls": True}, {"job_id": "j", "elapsed": "1"}),
    ]
    for document in documents:
        with pytest.raises(errors.InvalidArgumentError, match="that of a JobOutcome") as caught:
            JobOutcome.from_dict(document)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
