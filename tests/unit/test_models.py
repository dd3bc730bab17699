"""The values: open words, times, files, and that all of them are immutable and travel."""

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from sieve_async import (
    BuildFailedError,
    BuildStatus,
    EnvironmentVariable,
    File,
    Function,
    FunctionVersion,
    InputOutput,
    InvalidArgumentError,
    Job,
    JobCancelledError,
    JobFailedError,
    JobStatus,
    Output,
    Restart,
    Webhook,
    WorkerCounts,
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
    JOB,
    VERSION,
    JOB.function,
    JOB.inputs["file"],
    JOB.restarts[0],
    VERSION.current_workers,
    VERSION.environment_variables[0],
    Webhook("job.start", "https://example.com"),
    File("https://example.com/a.mp4", "a.mp4", START, {"size": 1}),
)
KINDS = [type(value).__name__ for value in VALUES]

# sieve-api.md, section 1: the API's own names, all of them.
FIELDS: dict[type, str] = {
    Job: "id function_id organization_id function status created_at started_at completed_at inputs "
    "outputs error visibility run_id children restarts",
    InputOutput: "type name data description schema run_id is_optional",
    Restart: "timestamp reason type run_id",
    Function: "name owner_name visibility title code_url description tags cover_image_url examples "
    "readme latest_version featured_key function_type webhooks restart_on_error",
    FunctionVersion: "id build_status queued_at built_at ready_at compute_type python_packages "
    "system_packages gpu split inputs outputs environment_variables function_dependencies "
    "cuda_version minimum_replicas maximum_replicas current_workers stream_output",
    EnvironmentVariable: "name description default",
    WorkerCounts: "starting setup active idle awaiting_resources",
    Webhook: "type url",
}


@pytest.mark.parametrize("model", FIELDS)
def test_names_of_the_fields(model: type) -> None:
    """A model has the fields of the API by their own names, and ``extra``."""
    assert attrs.fields_dict(model).keys() == {*FIELDS[model].split(), "extra"}


@pytest.mark.parametrize("value", VALUES, ids=KINDS)
def test_values_travel(value: Any) -> None:
    """Every value comes out of pickle, copy and deepcopy equal to what went in."""
    copies = [pickle.loads(pickle.dumps(value, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)]

    for other in (*copies, copy.copy(value), copy.deepcopy(value)):
        assert (other, repr(other)) == (value, repr(value))


@pytest.mark.parametrize("value", VALUES, ids=KINDS)
def test_values_are_immutable(value: Any) -> None:
    """No field of a value can be set or deleted, and none can be added."""
    for name in (*(field.name for field in attrs.fields(type(value))), "added"):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, name, None)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(value, name)


@pytest.mark.parametrize("value", [JOB, VERSION], ids=["job", "version"])
def test_dicts(value: Any) -> None:
    """A value is written as JSON and read back equal."""
    written = value.to_dict()

    assert type(value).from_dict(written) == value
    assert type(value).from_dict(json.loads(json.dumps(written))) == value


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


@pytest.mark.parametrize(
    "value",
    [
        InputOutput(name="a", data=1),
        InputOutput(name="a"),
        InputOutput(name="b", data=1),
        InputOutput(data=1),
        InputOutput(),
        InputOutput(name="a", data={"type": "x"}),
        InputOutput(name="a", data={}),
        InputOutput(name="a", data={"x": 1}),
        InputOutput(name="a", extra={"x": 1}),
        InputOutput(extra={"x": 1}),
        InputOutput("str", "a", 1),
        InputOutput(name="a", schema={}),
    ],
)
def test_inputs_and_outputs_in_dicts(value: InputOutput) -> None:
    """An input or output is read back equal, whatever it resembles."""
    job = Job("j", JobStatus.FINISHED, inputs={"a": value}, outputs=(value, (value,)))

    assert Job.from_dict(job.to_dict()) == job


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, "document must be the dict of a Job, not NoneType"),
        ([], "document must be the dict of a Job, not list"),
        ({}, "document must be that of a Job: id is missing"),
        ({"id": 5, "status": "a"}, "id must be a string, not an integer"),
    ],
)
def test_dicts_that_are_none(document: Any, reason: str) -> None:
    """What is no dict, or lacks its id or status, is an error that says so."""
    with pytest.raises(InvalidArgumentError, match=reason) as caught:
        Job.from_dict(document)

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_dicts_of_python() -> None:
    """A dict may hold words of enums and tuples, as Python programs make them."""
    document = {"id": "j", "status": JobStatus.FINISHED, "outputs": ({"data": (1,)},)}

    assert Job.from_dict(document) == job_of([1])


@pytest.mark.parametrize(
    ("error", "kept"), [("", None), (None, None), ("boom", "boom"), (" ", " ")]
)
def test_error_of_a_job(error: str | None, kept: str | None) -> None:
    """A job without an error has None, whichever way the API says so."""
    assert Job("j", JobStatus.FINISHED, error=error).error == kept


@pytest.mark.parametrize(
    ("times", "queue_duration", "run_duration"),
    [
        ((None, None, None), None, None),
        ((0, None, None), None, None),
        ((0, 5, None), 5, None),
        ((0, 5, 12), 5, 7),
        ((0, None, 12), None, None),  # cancelled while it was queued
        ((None, 5, 12), None, 7),
        ((5, 5, 5), 0, 0),
    ],
)
def test_durations(
    times: tuple[int | None, ...], queue_duration: int | None, run_duration: int | None
) -> None:
    """How long a job was queued and ran is the time between its times, None where one is not."""
    created, started, completed = (
        None if second is None else START + timedelta(seconds=second) for second in times
    )

    job = Job("j", JobStatus.QUEUED, created_at=created, started_at=started, completed_at=completed)

    assert job.queue_duration == (
        None if queue_duration is None else timedelta(seconds=queue_duration)
    )
    assert job.run_duration == (None if run_duration is None else timedelta(seconds=run_duration))


def job_of(*data: Any, status: str = "finished") -> Job:
    """A job with outputs of these data."""
    return Job("j", JobStatus(status), outputs=tuple(InputOutput(data=each) for each in data))


def test_data() -> None:
    """The data of a job are the plain values of its outputs, a nested output giving a tuple."""
    outputs: tuple[Output, ...] = (InputOutput(data={"a": 1}), (InputOutput(data=1), InputOutput()))

    assert Job("j", JobStatus.FINISHED, outputs=outputs).data == ({"a": 1}, (1, None))
    assert Job("j", JobStatus.FINISHED).data == ()


@pytest.mark.parametrize(
    ("word", "properties"),
    [
        ("finished", ["is_terminal", "succeeded"]),
        ("error", ["is_terminal", "failed"]),
        ("cancelled", ["is_terminal", "cancelled"]),
        ("queued", []),
        ("processing", []),
        ("started", []),
        ("", []),
    ],
)
def test_ends(word: str, properties: list[str]) -> None:
    """Each of the three ends has its property; no other word has one."""
    job = Job("j", JobStatus(word))

    found = [
        name
        for name in ("is_terminal", "succeeded", "failed", "cancelled")
        if getattr(job, name) is True
    ]
    assert found == properties


def test_ready() -> None:
    """Only ``ready`` is ready."""
    assert [word for word in BuildStatus if FunctionVersion("v", word).is_ready] == ["ready"]


@pytest.mark.parametrize("value", VALUES, ids=KINDS)
def test_hashes(value: Any) -> None:
    """Values hash, equal ones alike; what collections hold does not count."""
    assert hash(value) == hash(copy.deepcopy(value)) == hash(attrs.evolve(value, extra={"a": []}))
    assert {value, copy.deepcopy(value)} == {value}


def test_hash_of_a_job() -> None:
    """Two jobs that differ hash differently, unless only their collections differ."""
    assert hash(Job("a", JobStatus.QUEUED)) != hash(Job("b", JobStatus.QUEUED))
    assert hash(Job("j", JobStatus.QUEUED)) == hash(job_of([{}], status="queued"))
    assert hash(InputOutput("a", data=[1])) == hash(InputOutput("a", data={}, schema={}))


@pytest.mark.parametrize("word", ["queued", "processing", "finished", "started"])
def test_job_without_failure(word: str) -> None:
    """A job that did not fail is returned by ``raise_for_status``, ended or not."""
    job = Job("j", JobStatus(word))

    assert job.raise_for_status() is job


def test_failed_job() -> None:
    """A job that failed raises an error that holds it."""
    job = Job("j", JobStatus.ERROR)

    with pytest.raises(JobFailedError) as caught:
        job.raise_for_status()

    assert caught.value.job is job


def test_cancelled_job() -> None:
    """A job that was cancelled raises an error that holds it."""
    job = Job("j", JobStatus.CANCELLED)

    with pytest.raises(JobCancelledError) as caught:
        job.raise_for_status()

    assert caught.value.job is job


@pytest.mark.parametrize("word", ["queued", "building", "pushing", "deploying", "ready", "other"])
def test_version_without_failure(word: str) -> None:
    """A version whose build did not fail is returned by ``raise_for_status``."""
    version = FunctionVersion("v", BuildStatus(word))

    assert version.raise_for_status() is version


def test_version_with_failure() -> None:
    """A version whose build failed raises an error that holds it."""
    version = FunctionVersion("v", BuildStatus.ERROR)

    with pytest.raises(BuildFailedError) as caught:
        version.raise_for_status()

    assert caught.value.version is version
