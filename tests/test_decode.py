"""From JSON to models: defaults, null, extra keys, and the little that a poll reads.

The tables of this file and its neighbours run again without orjson, from
``test_decode_parsing.py``.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sieve_async import (
    BuildStatus,
    DecodeError,
    EnvironmentVariable,
    Function,
    FunctionVersion,
    InputOutput,
    Job,
    JobStatus,
    Restart,
    Webhook,
    WorkerCounts,
)
from sieve_async.decode import parse_model, parse_state
from sieve_async.messages import Request, Response

JOB = Request("GET", "/v2/jobs/j", Job)
VERSION = Request("GET", "/v2/functions/o/f/versions/v", FunctionVersion)
NEW_JOB: dict[str, Any] = {"id": "j", "status": "queued"}
NEW_VERSION: dict[str, Any] = {"id": "v", "build_status": "queued"}


def answer(document: object) -> Response:
    """A good answer that holds a document."""
    return Response(200, (), json.dumps(document).encode(), str)


def job_of(fields: dict[str, Any]) -> Job:
    """Decode a job that has these fields and those it must have."""
    return parse_model(JOB, answer(NEW_JOB | fields))


def version_of(fields: dict[str, Any]) -> FunctionVersion:
    """Decode a version that has these fields and those it must have."""
    return parse_model(VERSION, answer(NEW_VERSION | fields))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (None, None),
        ({}, Function()),
        ({"name": "dubbing"}, Function("dubbing")),
        ({"name": "dubbing", "owner_name": "sieve"}, Function("dubbing", "sieve")),
    ],
)
def test_functions(function: object, expected: Function | None) -> None:
    """The function of a job may be null, or only a name and an owner."""
    assert job_of({"function": function}).function == expected


def test_defaults() -> None:
    """Only id and status must be there; whatever else an answer lacks has its default."""
    nested = {"inputs": {"a": {}}, "outputs": [{}, []], "restarts": [{}], "function": {}}

    assert job_of({}) == Job("j", JobStatus.QUEUED)
    assert version_of({}) == FunctionVersion("v", BuildStatus.QUEUED)
    assert job_of(nested) == Job(
        "j",
        JobStatus.QUEUED,
        inputs={"a": InputOutput()},
        outputs=(InputOutput(), ()),
        restarts=(Restart(),),
        function=Function(),
    )


def test_defaults_of_replicas() -> None:
    """A version that does not say how many replicas it has, has none, and no limit is no number."""
    version = version_of({})

    assert (version.minimum_replicas, version.maximum_replicas) == (0, 0)
    assert version.stream_output is False
    assert version_of({"maximum_replicas": None, "stream_output": None}) == FunctionVersion(
        "v", BuildStatus.QUEUED, maximum_replicas=None, stream_output=None
    )


@pytest.mark.parametrize("read", [parse_model, parse_state])
@pytest.mark.parametrize("missing", ["id", "status"])
def test_what_must_be_there(read: Callable[[Request[Job], Response], object], missing: str) -> None:
    """An answer without its id or status is refused, and the error names what is missing."""
    document = {"function": None} | NEW_JOB
    del document[missing]

    with pytest.raises(DecodeError) as caught:
        read(JOB, answer(document))

    assert caught.value.problems == (f"$.{missing}: is missing",)
    assert caught.value.payload == document


def test_null_collections() -> None:
    """Null where a collection is documented is an empty one."""
    job = dict.fromkeys(["inputs", "outputs", "children", "restarts"])
    function = dict.fromkeys(["tags", "examples", "webhooks"])
    lists = ["python_packages", "system_packages", "inputs", "outputs", "function_dependencies"]
    version = dict.fromkeys([*lists, "environment_variables"])

    assert job_of(job) == job_of({})
    assert job_of({"function": function}).function == Function()
    assert version_of(version) == version_of({})


@pytest.mark.parametrize(("error", "kept"), [("", None), (None, None), ("a\nb", "a\nb")])
def test_errors_of_jobs(error: str | None, kept: str | None) -> None:
    """An error that is empty or null is none; any other text is kept as it came."""
    assert job_of({"error": error}).error == kept


@pytest.mark.parametrize(
    "data", [None, True, 0, -1, 1.5, 2**64, -(2**64), "", "x", "\ud800", [], {}, [[{"a": [1]}]]]
)
def test_data_are_anything(data: object) -> None:
    """The data of an output are any JSON, and come out as they are."""
    outputs = job_of({"outputs": [{"data": data}, [{"data": data}]]}).outputs

    assert outputs == (InputOutput(data=data), (InputOutput(data=data),))
    assert isinstance(outputs[0], InputOutput)
    assert type(outputs[0].data) is type(data)


def test_extra_at_every_level() -> None:
    """Keys that we do not know are kept in ``extra``, of whichever model they came with."""
    version = NEW_VERSION | {
        "new": "version",
        "inputs": [{"new": "input"}],
        "current_workers": {"new": "workers"},
        "environment_variables": [{"new": "variable"}],
    }
    document = {
        "new": "job",
        "inputs": {"a": {"new": "input"}},
        "outputs": [{"new": "output"}, [{"new": "nested"}]],
        "restarts": [{"new": "restart"}],
        "function": {"new": "function", "webhooks": [{"new": "hook"}], "latest_version": version},
    }

    job = job_of(document)

    assert job == Job(
        "j",
        JobStatus.QUEUED,
        inputs={"a": InputOutput(extra={"new": "input"})},
        outputs=(InputOutput(extra={"new": "output"}), (InputOutput(extra={"new": "nested"}),)),
        restarts=(Restart(extra={"new": "restart"}),),
        function=Function(
            webhooks=(Webhook(extra={"new": "hook"}),),
            latest_version=FunctionVersion(
                "v",
                BuildStatus.QUEUED,
                inputs=(InputOutput(extra={"new": "input"}),),
                current_workers=WorkerCounts(extra={"new": "workers"}),
                environment_variables=(EnvironmentVariable(extra={"new": "variable"}),),
                extra={"new": "version"},
            ),
            extra={"new": "function"},
        ),
        extra={"new": "job"},
    )


@pytest.mark.parametrize("key", ["extra", "self", "model", "Id", "id ", "", "__class__", "\ud800"])
def test_names_of_extra_keys(key: str) -> None:
    """Any key but the documented ones is extra, whatever it is called and whatever it holds."""
    value = {"id": [None, {"extra": 1}]}

    assert job_of({key: value}) == Job("j", JobStatus.QUEUED, extra={key: value})


@pytest.mark.parametrize("children", [{}, {"a": None}, {"a": [{"id": 1}], "b": "x"}])
def test_children(children: dict[str, Any]) -> None:
    """The children of a job are kept as they came: what they hold is not documented."""
    assert job_of({"children": children}) == Job("j", JobStatus.QUEUED, children=children)


@pytest.mark.parametrize("children", [[], [{"id": "c"}], "text", "", 0, True, 1.5])
def test_children_of_another_kind(children: object) -> None:
    """Children that are no object are kept in ``extra``: they spoil no answer."""
    job = job_of({"children": children, "new": 1})

    assert job == Job("j", JobStatus.QUEUED, extra={"children": children, "new": 1})
    assert type(job.extra["children"]) is type(children)


@pytest.mark.parametrize(
    "variables",
    [{}, {"A": "b"}, "text", "", 0, True, [1], ["A=b"], [None], [{"name": 1}], [{}, [{}]]],
)
def test_environment_variables_of_another_kind(variables: object) -> None:
    """Environment variables that are no list of the documented objects are kept in ``extra``."""
    version = version_of({"environment_variables": variables, "new": 1})
    kept = {"environment_variables": variables, "new": 1}

    assert version == FunctionVersion("v", BuildStatus.QUEUED, extra=kept)


def test_loose_fields_excuse_no_other() -> None:
    """Next to a loose field that does not fit, every other field is checked all the same."""
    with pytest.raises(DecodeError) as caught:
        version_of({"environment_variables": 1, "gpu": "yes", "split": None})

    assert caught.value.problems == ("$.gpu: must be a boolean, not a string",)


@pytest.mark.parametrize("word", ["queued", "processing", "finished", "started", "\ud800", " "])
def test_state(word: str) -> None:
    """A poll reads id, status and the number of outputs, and the rest only when it is asked for."""
    fields = {"id": "j", "status": word, "outputs": [{}, [{}, {}]], "created_at": 5}

    seen = parse_state(JOB, answer(fields))

    assert (seen.id, seen.status, seen.outputs) == ("j", word, 2)
    assert type(seen.status) is JobStatus
    with pytest.raises(DecodeError, match=r"\$\.created_at: must be a time, not an integer"):
        seen.model()


@pytest.mark.parametrize("outputs", [None, {}, "text", 3])
def test_state_without_outputs(outputs: object) -> None:
    """Outputs that are no array count as none."""
    assert parse_state(JOB, answer(NEW_JOB | {"outputs": outputs})).outputs == 0


def test_state_of_a_version() -> None:
    """The state of a version is its build status; its model is built once."""
    seen = parse_state(VERSION, answer(NEW_VERSION))

    assert (seen.id, seen.status, seen.outputs) == ("v", BuildStatus.QUEUED, 0)
    assert type(seen.status) is BuildStatus
    assert seen.model() == version_of({})
    assert seen.model() is seen.model()
