"""The documents of the API: both seeds and both newer shapes, field by field."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import documented_fields as fields
from helpers.value_types import assert_types
from sieve_async import (
    BuildStatus,
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
from sieve_async.decode import parse_model
from sieve_async.messages import Model, Request, Response

STEADY = settings(derandomize=True, deadline=None, max_examples=150)
DOCUMENTS = Path(__file__).parents[1] / "documents"
SEED_TIME = datetime(2023, 11, 7, 5, 31, 56, tzinfo=UTC)
TIME = datetime(2024, 12, 15, 1, 41, 59, 195000, tzinfo=UTC)
TEXT = "<string>"
SEED_PUT = InputOutput(TEXT, TEXT, TEXT, TEXT, {})
JOB_ID = "0b8f6f1e-5b8c-4f55-9d0e-2f6a3f9f7a11"


def decode(name: str, model: type[Model]) -> Model:
    """Decode a document of the API."""
    body = (DOCUMENTS / f"{name}.json").read_bytes()
    asked = Request("GET", "/v2", model, expected_id=json.loads(body)["id"])
    return parse_model(asked, Response(200, (), body, str))


SEED_VERSION = FunctionVersion(
    TEXT,
    BuildStatus(TEXT),
    SEED_TIME,
    SEED_TIME,
    SEED_TIME,
    TEXT,
    (TEXT,),
    (TEXT,),
    TEXT,
    gpu=True,
    split=123,
    minimum_replicas=123,
    maximum_replicas=123,
    inputs=(SEED_PUT,),
    outputs=(SEED_PUT,),
    current_workers=WorkerCounts(123, 123, 123, 123, 123),
    environment_variables=(EnvironmentVariable(TEXT, TEXT, TEXT),),
    stream_output=True,
    function_dependencies=(TEXT,),
)
SEED_JOB = Job(
    TEXT,
    JobStatus(TEXT),
    TEXT,
    function=Function(
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        (TEXT,),
        TEXT,
        (TEXT,),
        TEXT,
        SEED_VERSION,
        123,
        "function",
        (Webhook("job.start", TEXT),),
    ),
    created_at=SEED_TIME,
    started_at=SEED_TIME,
    completed_at=SEED_TIME,
    outputs=(SEED_PUT,),
    error=TEXT,
    visibility=TEXT,
    run_id=TEXT,
)
SEPARATE_VERSION = attrs.evolve(
    SEED_VERSION,
    queued_at=TIME,
    built_at=TIME,
    ready_at=TIME,
    minimum_replicas=0,
    inputs=(attrs.evolve(SEED_PUT, run_id=TEXT),),
    outputs=(attrs.evolve(SEED_PUT, run_id=TEXT),),
)
NEWER_JOB = Job(
    JOB_ID,
    JobStatus.FINISHED,
    "3ad9c1e",
    "6f0c2a52-8e0b-4d8e-9a8e-0c5d1e6f7a22",
    Function("dubbing", "sieve"),
    TIME,
    datetime(2024, 12, 15, 1, 42, 4, tzinfo=UTC),
    datetime(2024, 12, 15, 1, 44, 4, 500000, tzinfo=UTC),
    inputs={
        "source_file": InputOutput(
            "sieve.File",
            data={
                "url": "https://storage.example.com/in.mp4?X-Goog-Signature=abc",
                "_path": None,
            },
        ),
        "target_languages": InputOutput("list", data=["spanish", "german"]),
        "speed": InputOutput("float", data=1.5),
        "nothing": InputOutput("None", is_optional=True),
    },
    outputs=(
        InputOutput(
            "sieve.File",
            "spanish",
            {"url": "https://storage.example.com/1.mp4", "_path": None},
            None,
            {"type": "object"},
            f"{JOB_ID}-9d2c",
            is_optional=False,
            extra={"length": 12},
        ),
        (
            InputOutput(
                "dict",
                data={
                    "parts": [
                        {
                            "url": "https://storage.example.com/2.mp4",
                            "thumbnail": {"url": "https://storage.example.com/3.png"},
                        },
                        "text",
                    ]
                },
            ),
            InputOutput("str", data="done"),
        ),
        InputOutput(),
    ),
    error=None,
    visibility="private",
    run_id=f"{JOB_ID}-9d2c",
    children={"sieve/transcribe": [{"id": "c1", "status": "finished"}]},
    restarts=(
        Restart(
            datetime(2024, 12, 15, 1, 43, 0, 1, tzinfo=UTC),
            "Worker was preempted",
            "preemption",
            f"{JOB_ID}-1a2b",
        ),
    ),
    extra={"cost": {"dollars": 0.25}},
)
NEWER_VERSION = FunctionVersion(
    "3ad9c1e0-1111-4222-8333-444455556666",
    BuildStatus.DEPLOYING,
    TIME,
    datetime(2024, 12, 15, 1, 50, tzinfo=UTC),
    None,
    "A100-20GB",
    ("torch==2.3.0",),
    gpu=True,
    split=2,
    minimum_replicas=0,
    maximum_replicas=None,
    inputs=(
        InputOutput(
            "str",
            "language",
            "gASVCwAAAAAAAACMB3NwYW5pc2iULg==",
            "Where to",
            is_optional=True,
        ),
    ),
    current_workers=WorkerCounts(1, None, 0, 0, 3, extra={"draining": 4}),
    environment_variables=(EnvironmentVariable("HF_TOKEN", extra={"secret": True}),),
    stream_output=None,
    function_dependencies=("sieve/transcribe",),
    extra={"region": "us-central1"},
)


@pytest.mark.parametrize(("name", "expected"), [("job", SEED_JOB), ("newer_job", NEWER_JOB)])
def test_jobs(name: str, expected: Job) -> None:
    """Every field of the documented and of the newer shape of a job comes out as it is."""
    job = decode(name, Job)

    assert job == expected
    assert type(job.outputs[0]) is InputOutput


@pytest.mark.parametrize(
    ("name", "expected"), [("version", SEPARATE_VERSION), ("newer_version", NEWER_VERSION)]
)
def test_versions(name: str, expected: FunctionVersion) -> None:
    """Every field of the documented and of a real version comes out as it is."""
    assert decode(name, FunctionVersion) == expected


def test_files_of_the_newer_job() -> None:
    """The files of a decoded job are the objects with a URL, in the order of its outputs."""
    files = decode("newer_job", Job).files

    assert [file.name for file in files] == ["1.mp4", "2.mp4", "3.png"]


NESTED = {
    (Job, "function"): Function,
    (Job, "inputs"): InputOutput,
    (Job, "outputs"): InputOutput,
    (Job, "restarts"): Restart,
    (Function, "latest_version"): FunctionVersion,
    (Function, "webhooks"): Webhook,
    (FunctionVersion, "inputs"): InputOutput,
    (FunctionVersion, "outputs"): InputOutput,
    (FunctionVersion, "current_workers"): WorkerCounts,
    (FunctionVersion, "environment_variables"): EnvironmentVariable,
}


def normal(document: Any, model: type, *, is_list: bool = False) -> Any:
    """A document as ``to_dict`` spells it: no fields at their defaults, times in UTC.

    Null where a field has another default stands for that default, as ``""`` does for no error.
    """
    if is_list:
        return [normal(each, model, is_list=isinstance(each, list)) for each in document]
    fields = attrs.fields_dict(model)
    written = {}
    for name, value in document.items():
        if name in fields and value in DEFAULTS.get((model, name), [None, []]):
            continue
        written[name] = normal_field(value, model, name)
    return written


def normal_field(value: Any, model: type, name: str) -> Any:
    """One field of a document as ``to_dict`` spells it."""
    if (model, name) == (Job, "inputs"):
        return {key: normal(each, InputOutput) for key, each in value.items()}
    if (model, name) in NESTED:
        return normal(value, NESTED[model, name], is_list=isinstance(value, list))
    return in_utc(value) if name.endswith("_at") or name == "timestamp" else value


DEFAULTS: dict[tuple[type, str], list[Any]] = {
    (Job, "error"): [None, ""],
    (Job, "inputs"): [None, {}],
    (Job, "children"): [None, {}],
    (FunctionVersion, "minimum_replicas"): [0],
    (FunctionVersion, "maximum_replicas"): [0],
    (FunctionVersion, "stream_output"): [False],
    (InputOutput, "data"): [None],
    (InputOutput, "schema"): [None],
}


def in_utc(text: str) -> str:
    """A time as ``to_dict`` spells it."""
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("job", Job),
        ("newer_job", Job),
        ("version", FunctionVersion),
        ("newer_version", FunctionVersion),
    ],
)
def test_documents_are_written_unchanged(name: str, model: type[Any]) -> None:
    """A document comes out of ``to_dict`` as it was, but for times and fields at their defaults."""
    document = json.loads((DOCUMENTS / f"{name}.json").read_bytes())

    assert model.from_dict(document).to_dict() == normal(document, model)


TEXTS = st.text(max_size=5)
ANYTHING = st.none() | st.booleans() | st.integers() | TEXTS | st.lists(TEXTS, max_size=2)
PLAIN = st.dictionaries(st.sampled_from(["url", "_path", "a"]), ANYTHING, max_size=2)
START = datetime(2000, 1, 1)  # noqa: DTZ001 - hypothesis wants it naive
TIMES = (st.datetimes() | st.datetimes(START, timezones=st.just(UTC))).map(datetime.isoformat)


def documents(model: type, **required: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Documents that the API's description allows; any key but the required ones may lack."""
    kinds: dict[str, st.SearchStrategy[Any]] = {
        fields.ID: TEXTS,
        fields.WORD: TEXTS,
        fields.TEXT: st.none() | TEXTS,
        fields.TIME: st.none() | TIMES,
        fields.INTEGER: st.integers(-(2**63), 2**63),
        fields.COUNT: st.integers(0, 5),
        fields.ZERO: st.none() | st.integers(0, 5),
        fields.BOOLEAN: st.booleans(),
        fields.FALSE: st.none() | st.booleans(),
        fields.ANYTHING: ANYTHING | PLAIN,
        fields.OBJECT: st.none() | PLAIN,
        fields.TEXTS: st.lists(TEXTS, max_size=3),
    }
    nullable = {WorkerCounts}
    optional = {
        name: st.none() | kinds[kind] if model in nullable else kinds[kind]
        for name, kind in fields.DOCUMENTED[model].items()
        if kind in kinds and name not in required
    }
    return st.fixed_dictionaries(required, optional=optional | {"new": ANYTHING})


PUTS = documents(InputOutput, type=TEXTS)
VERSIONS = documents(
    FunctionVersion,
    id=TEXTS,
    build_status=TEXTS,
    inputs=st.lists(PUTS, max_size=2),
    outputs=st.lists(PUTS, max_size=2),
    current_workers=st.none() | documents(WorkerCounts),
    environment_variables=st.lists(documents(EnvironmentVariable), max_size=2),
)
FUNCTIONS = documents(
    Function,
    latest_version=st.none() | VERSIONS,
    webhooks=st.lists(documents(Webhook), max_size=2),
)
JOBS = documents(
    Job,
    id=TEXTS,
    status=TEXTS,
    function=st.none() | FUNCTIONS,
    inputs=st.dictionaries(TEXTS, PUTS, max_size=2),
    outputs=st.none() | st.lists(PUTS | st.lists(PUTS, max_size=2), max_size=3),
    children=st.none() | st.dictionaries(TEXTS, ANYTHING, max_size=2),
    restarts=st.none() | st.lists(documents(Restart), max_size=2),
)


@STEADY
@given(JOBS)
def test_jobs_are_written_unchanged(document: dict[str, Any]) -> None:
    """Whatever job the description allows comes out as it was; nothing of it is in ``extra``."""
    job = Job.from_dict(document)

    assert job.to_dict() == normal(document, Job)
    assert job.extra.keys() <= {"new"}
    assert_types(job)


@STEADY
@given(VERSIONS)
def test_versions_are_written_unchanged(document: dict[str, Any]) -> None:
    """Whatever version the description allows comes out as it was."""
    version = FunctionVersion.from_dict(document)

    assert version.to_dict() == normal(document, FunctionVersion)
    assert version.extra.keys() <= {"new"}


@STEADY
@given(st.dictionaries(TEXTS, ANYTHING | PLAIN, max_size=4))
def test_free_form_inputs_are_written_unchanged(inputs: dict[str, Any]) -> None:
    """Inputs that are bare values come out as bare values."""
    job = Job.from_dict({"id": "j", "status": "queued", "inputs": inputs})

    assert job.to_dict().get("inputs", {}) == inputs
