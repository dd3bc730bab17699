"""The values: open words, times, files, and that all of them are immutable and travel."""

import copy
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from sieve_async import (
    BuildStatus,
    EnvironmentVariable,
    File,
    Function,
    FunctionVersion,
    InputOutput,
    Job,
    JobStatus,
    Output,
    Restart,
    Webhook,
    WorkerCounts,
    errors,
)

START = datetime(2024, 12, 15, 1, 41, 59, 195000, tzinfo=UTC)

JOB = Job(
    "j1",
    JobStatus("started"),
    function=Function("dubbing", "sieve", webhooks=(Webhook("job.start", "https://example.com"),)),
    created_at=START,
    inputs={"file": InputOutput(data={"url": "https://example.com"}, schema={"type": "object"})},
    outputs=(InputOutput(data=[1]), (InputOutput(data=None),)),
    restarts=(Restart(START, "gone", "preemption"),),
    extra={"new": [{"deep": 1}]},
)
VERSION = FunctionVersion(
    "v1",
    BuildStatus.READY,
    current_workers=WorkerCounts(starting=1),
    environment_variables=(EnvironmentVariable("TOKEN"),),
)
VALUES: tuple[Any, ...] = (
    *(JOB, VERSION, JOB.function, JOB.inputs["file"], JOB.restarts[0], VERSION.current_workers),
    *(VERSION.environment_variables[0], Webhook("job.start", "https://example.com")),
    File("https://example.com/a.mp4", "a.mp4", START, {"size": 1}),
)


def test_values_travel() -> None:
    """Every value comes out of pickle, copy and deepcopy equal, and equal values hash alike."""
    for value in VALUES:
        copies = [pickle.loads(pickle.dumps(value, protocol)) for protocol in (0, 2, 5)]
        for other in (*copies, copy.copy(value), copy.deepcopy(value)):
            assert (other, repr(other)) == (value, repr(value))
            assert hash(value) == hash(other)
        assert hash(value) == hash(attrs.evolve(value, extra={"a": []}))


def test_values_are_immutable() -> None:
    """No field of a value can be set or deleted, and none can be added."""
    for value in VALUES:
        for name in (attrs.fields(type(value))[0].name, "extra", "added"):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(value, name, None)
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                delattr(value, name)


def test_dict_of_a_job() -> None:
    """A dict has the API's own names, ISO times, unknown keys, and no field at its default."""
    job = Job(
        "j",
        JobStatus.FINISHED,
        created_at=START,
        inputs={"a": InputOutput(name="a", data=1), "b": InputOutput("int", data=2)},
        outputs=(InputOutput(data=None), (InputOutput(data=[1]),)),
        extra={"new": {"a": None}},
    )
    assert job.to_dict() == {
        "id": "j",
        "status": "finished",
        "created_at": "2024-12-15T01:41:59.195000+00:00",
        "inputs": {"a": 1, "b": {"type": "int", "data": 2}},
        "outputs": [{}, [{"data": [1]}]],
        "new": {"a": None},
    }
    assert type(job.to_dict()["status"]) is str


def test_dicts_that_are_none() -> None:
    """What is no dict, or lacks its id or status, is an error that says so."""
    documents: list[tuple[Any, str]] = [
        (None, "document must be the dict of a Job, not NoneType"),
        ([], "document must be the dict of a Job, not list"),
        ({}, "document must be that of a Job: id is missing"),
        ({"id": 5, "status": "a"}, "id must be a string, not an integer"),
    ]
    for document, reason in documents:
        with pytest.raises(errors.InvalidArgumentError, match=reason) as caught:
            Job.from_dict(document)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_dicts_of_python() -> None:
    """A dict may hold words of enums and tuples, as Python programs make them."""
    document = {"id": "j", "status": JobStatus.FINISHED, "outputs": ({"data": (1,)},)}
    assert Job.from_dict(document) == job_of([1])


def test_error_of_a_job() -> None:
    """A job without an error has None, whichever way the API says so."""
    found = [Job("j", JobStatus.FINISHED, error=text).error for text in ("", None, "boom", " ")]
    assert found == [None, None, "boom", " "]


@pytest.mark.parametrize(
    ("times", "durations"),
    [
        ((None, None, None), (None, None)),
        ((0, 5, None), (5, None)),
        ((0, 5, 12), (5, 7)),
        ((0, None, 12), (None, None)),  # cancelled while it was queued
        ((None, 5, 12), (None, 7)),
        ((5, 5, 5), (0, 0)),
    ],
)
def test_durations(times: tuple[int | None, ...], durations: tuple[int | None, ...]) -> None:
    """How long a job was queued and ran is the time between its times, None where one is not."""
    created, started, completed = (
        None if second is None else START + timedelta(seconds=second) for second in times
    )
    job = Job("j", JobStatus.QUEUED, created_at=created, started_at=started, completed_at=completed)
    found = (job.queue_duration, job.run_duration)
    assert tuple(None if each is None else each.total_seconds() for each in found) == durations


def job_of(*data: Any, status: str = "finished") -> Job:
    """A job with outputs of these data."""
    return Job("j", JobStatus(status), outputs=tuple(InputOutput(data=each) for each in data))


def test_data() -> None:
    """The data of a job are the plain values of its outputs, a nested output giving a tuple."""
    outputs: tuple[Output, ...] = (InputOutput(data={"a": 1}), (InputOutput(data=1), InputOutput()))
    assert Job("j", JobStatus.FINISHED, outputs=outputs).data == ({"a": 1}, (1, None))
    assert Job("j", JobStatus.FINISHED).data == ()


def test_ends() -> None:
    """Each of the three ends has its property; no other word has one."""
    ends = {"finished": "succeeded", "error": "failed", "cancelled": "cancelled"}
    for word in (*ends, "queued", "processing", "started", ""):
        job = Job("j", JobStatus(word))
        assert job.is_terminal is (word in ends)
        for name in ends.values():
            assert getattr(job, name) is (ends.get(word) == name)


def test_ready() -> None:
    assert [word for word in BuildStatus if FunctionVersion("v", word).is_ready] == ["ready"]


def test_hash_of_a_job() -> None:
    """Two jobs that differ hash differently, unless only their collections differ."""
    assert hash(Job("a", JobStatus.QUEUED)) != hash(Job("b", JobStatus.QUEUED))
    assert hash(Job("j", JobStatus.QUEUED)) == hash(job_of([{}], status="queued"))
    assert hash(InputOutput("a", data=[1])) == hash(InputOutput("a", data={}, schema={}))


def test_status_of_jobs() -> None:
    """``raise_for_status`` returns a job that did not fail, or raises an error that holds it."""
    for word in ("queued", "finished", "started"):
        job = Job("j", JobStatus(word))
        assert job.raise_for_status() is job
    for word, error in (("error", errors.JobFailedError), ("cancelled", errors.JobCancelledError)):
        job = Job("j", JobStatus(word))
        with pytest.raises(error) as caught:
            job.raise_for_status()
        assert vars(caught.value)["job"] is job


def test_status_of_versions() -> None:
    """``raise_for_status`` returns a version whose build did not fail."""
    for word in ("queued", "ready", "other"):
        version = FunctionVersion("v", BuildStatus(word))
        assert version.raise_for_status() is version
    version = FunctionVersion("v", BuildStatus.ERROR)
    with pytest.raises(errors.BuildFailedError) as caught:
        version.raise_for_status()
    assert caught.value.version is version


def test_plain_words() -> None:
    """A status that is given as plain text counts as one that an answer holds."""
    job = attrs.evolve(Job("a", "queued"), status="finished")
    assert job.succeeded
    assert job.is_terminal
    assert job == Job.from_dict({"id": "a", "status": "finished"})
    assert Job("a", "odd").status == JobStatus("odd")
    assert FunctionVersion("v", "ready").is_ready
