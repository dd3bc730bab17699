"""The values: open words, times, files, and that all of them are immutable and travel."""

import copy
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from sieve_async import (
    BuildFailedError,
    BuildStatus,
    EnvironmentVariable,
    Function,
    FunctionVersion,
    InputOutput,
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


@pytest.mark.parametrize(
    ("word", "known_and_terminal"),
    [
        ("queued", (True, False)),
        ("processing", (True, False)),
        ("finished", (True, True)),
        ("error", (True, True)),
        ("cancelled", (True, True)),
        ("started", (False, False)),
        ("Finished", (False, False)),
        ("FINISHED ", (False, False)),
        ("ready", (False, False)),
        ("\ud800", (False, False)),
    ],
)
def test_words_of_jobs(word: str, known_and_terminal: tuple[bool, bool]) -> None:
    """The five documented words are known, three end a job, and no other word ends one."""
    status = JobStatus(word)

    assert (status.is_known, status.is_terminal) == known_and_terminal
    assert (status.value, str(status), f"{status}") == (word, word, word)


@pytest.mark.parametrize(
    ("word", "known_and_terminal"),
    [
        ("queued", (True, False)),
        ("building", (True, False)),
        ("pushing", (True, False)),
        ("deploying", (True, False)),
        ("ready", (True, True)),
        ("error", (True, True)),
        ("finished", (False, False)),
        ("READY", (False, False)),
    ],
)
def test_words_of_builds(word: str, known_and_terminal: tuple[bool, bool]) -> None:
    """The six documented words are known, two end a build, and no other word ends one."""
    status = BuildStatus(word)

    assert (status.is_known, status.is_terminal) == known_and_terminal
    assert (status.value, str(status), f"{status}") == (word, word, word)


@pytest.mark.parametrize("words", [JobStatus, BuildStatus])
@pytest.mark.parametrize("word", ["queued", "error", "started", "QUEUED", "name", "\ud800"])
def test_words_travel(words: type[JobStatus | BuildStatus], word: str) -> None:
    """A word, known or not, comes out of pickle and copy as it went in: equal, of its class."""
    status = words(word)
    copies = [pickle.loads(pickle.dumps(status, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)]

    for other in (*copies, copy.copy(status), copy.deepcopy(status)):
        assert other == status
        assert type(other) is words
        assert other.value == word
        assert other is status or not status.is_known


@pytest.mark.parametrize("words", [JobStatus, BuildStatus])
@pytest.mark.parametrize("word", ["queued", "started"])
def test_words_are_strings(words: type[JobStatus | BuildStatus], word: str) -> None:
    """A word equals and hashes as the plain string, whichever instance it is."""
    first, second = words(word), words(word)

    assert first == second == word
    assert hash(first) == hash(second) == hash(word)
    assert {first, second, word} == {word}
    assert repr(first).endswith(f"{word!r}>")


def test_unknown_words_leave_no_trace() -> None:
    """An unknown word does not become a member: what a server says cannot grow the enum."""
    assert not JobStatus("started").is_known
    assert len(JobStatus) == 5


@pytest.mark.parametrize("words", [JobStatus, BuildStatus])
@pytest.mark.parametrize("value", ["", None, 0, True, 1.5, b"queued", []])
def test_no_word(words: type[JobStatus | BuildStatus], value: Any) -> None:
    """Nothing but a string that is not empty can be a word."""
    with pytest.raises(ValueError, match="is not a valid"):
        words(value)


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


@pytest.mark.parametrize(
    ("outputs", "urls"),
    [
        ((), []),
        ((InputOutput(), InputOutput(data=[None, 1, 1.5, True, "url", {}, []])), []),
        ((InputOutput(data={"url": "a", "_path": None}),), ["a"]),
        ((InputOutput(data={"url": None}), InputOutput(data={"url": 5, "URL": "x"})), []),
        ((InputOutput(data=[{"url": "a"}, {"b": {"url": "b"}}, [{"url": "c"}]]),), ["a", "b", "c"]),
        ((InputOutput(data={"url": "a", "x": {"url": "b"}, "y": [{"url": "c"}]}),), [*"abc"]),
        ((InputOutput(data={"z": {"url": "a"}, "a": {"url": "b"}}),), ["a", "b"]),
        (
            (InputOutput(data={"url": "a"}), (InputOutput(data={"url": "b"}), InputOutput())) * 2,
            [*"abab"],
        ),
    ],
)
def test_files(outputs: tuple[Output, ...], urls: list[str]) -> None:
    """The files of a job are all objects with a URL in its outputs, nested ones too, in order."""
    job = Job("j", JobStatus.FINISHED, outputs=outputs)

    assert [file["url"] for file in job.files()] == urls


def test_files_far_down() -> None:
    """Files are found however deep they lie: no recursion limits the search."""
    data: Any = {"url": "a"}
    for _ in range(10_000):
        data = [data]
    job = Job("j", JobStatus.FINISHED, outputs=(InputOutput(data=data),))

    assert job.files() == [{"url": "a"}]


def test_ended_well() -> None:
    """Only ``finished`` is finished, and only ``ready`` is ready."""
    assert [word for word in JobStatus if Job("j", word).succeeded] == ["finished"]
    assert [word for word in BuildStatus if FunctionVersion("v", word).is_ready] == ["ready"]


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
