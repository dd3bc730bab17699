"""JSON documents to values and back: nothing coerced, nothing lost; times aware and in UTC."""

import copy
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path as FilePath
from types import UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sieve_async import (
    EnvironmentVariable,
    Function,
    FunctionVersion,
    InputOutput,
    Job,
    JobStatus,
    Restart,
    Webhook,
    WorkerCounts,
    converter,
)
from sieve_async.converter import FieldError, copy_json, structure
from sieve_async.decode import parse_model
from sieve_async.messages import Request, Response

ID, WORD, TEXT, TIME = "a string", "a word", "a string or null", "a time"
INTEGER, COUNT, BOOLEAN, ANYTHING = "an integer", "an integer (0)", "a boolean", "anything"
FALSE, TEXTS, OBJECTS = "a boolean (false)", "an array of strings", "an array of objects"
MAPPING, MODEL, LOOSE = "an object of objects", "an object or null", "left as it came"
OBJECT, ZERO = "an object of anything", "an integer or null (0)"


def _fields(names: dict[str, str]) -> dict[str, str]:
    """The kind of each field, given the names of each kind."""
    return {name: kind for kind, joined in names.items() for name in joined.split()}


DOCUMENTED: dict[type, dict[str, str]] = {
    Job: _fields(
        {
            ID: "id",
            TEXT: "function_id organization_id error visibility run_id",
            MODEL: "function",
            WORD: "status",
            TIME: "created_at started_at completed_at",
            MAPPING: "inputs",
            OBJECTS: "outputs restarts",
            LOOSE: "children",
        }
    ),
    FunctionVersion: _fields(
        {
            ID: "id",
            WORD: "build_status",
            TIME: "queued_at built_at ready_at",
            TEXT: "compute_type cuda_version",
            TEXTS: "python_packages system_packages function_dependencies",
            BOOLEAN: "gpu",
            INTEGER: "split",
            OBJECTS: "inputs outputs",
            LOOSE: "environment_variables",
            COUNT: "minimum_replicas",
            ZERO: "maximum_replicas",
            MODEL: "current_workers",
            FALSE: "stream_output",
        }
    ),
    Function: _fields(
        {
            TEXT: "name owner_name visibility title code_url description cover_image_url readme "
            "function_type",
            TEXTS: "tags examples",
            MODEL: "latest_version",
            INTEGER: "featured_key",
            OBJECTS: "webhooks",
            BOOLEAN: "restart_on_error",
        }
    ),
    InputOutput: _fields(
        {
            TEXT: "type name description run_id",
            ANYTHING: "data",
            OBJECT: "schema",
            BOOLEAN: "is_optional",
        }
    ),
    Restart: _fields({TIME: "timestamp", TEXT: "reason type run_id"}),
    Webhook: _fields({TEXT: "type url"}),
    WorkerCounts: _fields({INTEGER: "starting setup active idle awaiting_resources"}),
    EnvironmentVariable: _fields({TEXT: "name description default"}),
}


def assert_types(value: Any) -> None:
    """Every field of an attrs object, and of those below it, is of its declared type."""
    for field in attrs.fields(type(value)):
        held = getattr(value, field.name)
        assert fits(held, field.type), f"{type(value).__name__}.{field.name} is {held!r}"


def fits(value: Any, declared: Any) -> bool:
    """Whether a value is of a type; exactly, for a boolean is no integer here."""
    origin, arguments = get_origin(declared), get_args(declared)
    if declared is Any:
        return True
    if origin in {Union, UnionType}:
        return any(fits(value, option) for option in arguments)
    if origin is not None:
        return _fits_collection(value, origin, arguments)
    if attrs.has(declared) and type(value) is declared:
        assert_types(value)
    return type(value) is declared and (declared is not datetime or value.tzinfo is UTC)


def _fits_collection(value: Any, origin: type, arguments: tuple[Any, ...]) -> bool:
    if origin is tuple:
        return type(value) is tuple and all(fits(each, arguments[0]) for each in value)
    assert origin is Mapping
    return type(value) is dict and all(
        type(key) is str and fits(each, arguments[1]) for key, each in value.items()
    )


Document: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str | int, ...]

STEADY = settings(derandomize=True, deadline=None, max_examples=100)
NEW: Document = {"id": "j", "status": "finished"}
VERSION: Document = {
    "id": "v-1",
    "build_status": "ready",
    "current_workers": {"idle": 1},
    "inputs": [{"type": "str"}],
    "outputs": [{"type": "str"}, {"type": "int"}],
    "environment_variables": [{"name": "A"}],
}
JOB: Document = {
    "id": "job-1",
    "status": "finished",
    "function": {"latest_version": VERSION, "webhooks": [{"url": "a"}, {"url": "b"}]},
    "inputs": {"file": {"type": "str"}},
    "outputs": [{"type": "str"}, [{"type": "str"}, {"type": "int"}]],
    "restarts": [{"reason": "OOM"}, {"reason": "OOM"}],
}
# Which model stands where in the document of a job.
PLACES: list[tuple[type, Path]] = [
    (Job, ()),
    (Function, ("function",)),
    (FunctionVersion, ("function", "latest_version")),
    (WorkerCounts, ("function", "latest_version", "current_workers")),
    (EnvironmentVariable, ("function", "latest_version", "environment_variables", 0)),
    (InputOutput, ("function", "latest_version", "outputs", 1)),
    (Webhook, ("function", "webhooks", 1)),
    (InputOutput, ("inputs", "file")),
    (InputOutput, ("outputs", 0)),
    (InputOutput, ("outputs", 1, 1)),
    (Restart, ("restarts", 1)),
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 10**25, 0.0, 1.5, -2e300, "", "2024-12-15", "true", "1"),
    *([], [None], [5], ["a", 1], [[[]]], {}, {"a": {"b": [1]}}, {"a": 5}, {"id": 5}),
]


@pytest.fixture(autouse=True)
def nothing_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with no field reported, whatever other tests read."""
    monkeypatch.setattr(converter, "_reported", set())


def job_of(**fields: Any) -> Job:
    """A finished job with these fields."""
    return structure(NEW | fields, Job)


def at(value: Any, path: Path) -> Any:
    """What stands at a place of a document or of a model."""
    for step in path:
        value = getattr(value, str(step)) if attrs.has(type(value)) else value[step]
    return value


def changed(path: Path, name: str, value: object) -> Document:
    """The document of a job with one field changed."""
    document = copy.deepcopy(JOB)
    at(document, path)[name] = value
    return document


def takes(kind: str, value: Any) -> bool:
    """Whether a field of a kind takes a value as it is."""
    by_kind: dict[str, Any] = {
        **dict.fromkeys([TEXT, ID, WORD], type(value) is str),
        **dict.fromkeys([INTEGER, COUNT, ZERO], type(value) is int),
        **dict.fromkeys([BOOLEAN, FALSE], type(value) is bool),
        **dict.fromkeys([OBJECT, MAPPING, LOOSE], type(value) is dict),
        TEXTS: type(value) is list and all(type(each) is str for each in value),
        OBJECTS: type(value) is list and not value,
        ANYTHING: True,
        TIME: False,
        MODEL: False,
    }
    return bool(by_kind[kind])


def test_all_fields_are_documented() -> None:
    """The models have the fields that the documents name, and no others but what is left over."""
    for model, fields in DOCUMENTED.items():
        assert {field.name for field in attrs.fields(model)} == {*fields, "extra"}


@pytest.mark.parametrize(("model", "path"), PLACES, ids=range(len(PLACES)))
def test_any_value_in_any_field(model: type, path: Path) -> None:
    """A value is in its field as it came, or in ``extra`` as it came and the field at its default.

    The types of all fields hold at any depth, all other fields are read, and null is None where
    that is documented, else the default; it is never kept in ``extra``.
    """
    expected = structure(JOB, Job)
    for name, kind in DOCUMENTED[model].items():
        if (path, name) in {((), "id"), ((), "status")}:
            continue
        for value in VALUES:
            if kind in {ID, WORD} and type(value) is not str:
                continue  # then the version does not fit its field
            document = changed(path, name, value)
            job = structure(document, Job)
            assert_types(job)
            assert_field(at(job, path), name, kind, value)
            assert leaves(document) - leaves(job.to_dict()) <= Counter(["0", "False", "''"])
            assert_others_equal(job, expected, path, name)


def assert_field(found: Any, name: str, kind: str, value: object) -> None:
    """A field of a model holds the value, or is at its default and the value in ``extra``."""
    if value is None:
        assert found.extra == {}
        held = getattr(found, name)
        assert held is None or held == default(type(found), name)
    elif name in found.extra:
        assert kind == LOOSE or not takes(kind, value)
        assert same(found.extra[name], value)
        assert getattr(found, name) == default(type(found), name)
    elif kind not in {MODEL, OBJECTS, MAPPING, LOOSE}:
        held = getattr(found, name)
        plain = {TEXTS: list, WORD: str}.get(kind, lambda each: each)(held)
        assert same(plain, value) or (name, value, held) == ("error", "", None)


def same(value: object, other: object) -> bool:
    """Whether two JSON values are equal, and of one type."""
    return (type(value), value) == (type(other), other)


def leaves(value: Any) -> Counter[str]:
    """What stands in a JSON value besides null, objects and arrays; times in UTC."""
    if isinstance(value, dict | list):
        below = value.values() if isinstance(value, dict) else value
        return sum(map(leaves, below), Counter())
    return Counter() if value is None else Counter([in_utc(value) or repr(value)])


def default(model: type, name: str) -> Any:
    """What a field holds when nothing fits."""
    value: Any = attrs.fields_dict(model)[name].default
    return {} if isinstance(value, attrs.Factory) else value  # type: ignore[arg-type] # a class at run time


def assert_others_equal(job: Job, expected: Job, path: Path, name: str) -> None:
    """The model at a place has all other fields as expected."""
    found, wanted = at(job, path), at(expected, path)
    for field in attrs.fields(type(found)):
        if field.name not in {name, "extra"}:
            assert getattr(found, field.name) == getattr(wanted, field.name)


def test_nested_object_without_what_it_must_have() -> None:
    """A version without id or status does not fit its field: its owner keeps it raw."""
    values: tuple[object, ...] = (5, "v", {}, {"id": "v"}, {"id": 5, "build_status": "a"})
    for value in values:
        job = job_of(function={"name": "f", "latest_version": value})
        assert job.function == Function("f", extra={"latest_version": value})


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "id is missing"),
        ({"id": "j"}, "status is missing"),
        ({"id": 5, "status": "a"}, "id must be a string, not an integer"),
        ({"id": "j", "status": None}, "status must be a string, not null"),
        ([], "must be an object, not an array"),
    ],
)
def test_what_must_be_there(document: Any, reason: str) -> None:
    """Only what is no object, or lacks its id or status, is no value."""
    with pytest.raises(FieldError, match=reason):
        structure(document, Job)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"text": "hi"}, {"text": InputOutput(name="text", data="hi")}),
        ({"a": None}, {"a": InputOutput(name="a")}),
        ({"a": [1]}, {"a": InputOutput(name="a", data=[1])}),
        ({"a": {"url": "u"}}, {"a": InputOutput(name="a", data={"url": "u"})}),
        ({"a": {"data": 1}}, {"a": InputOutput(data=1)}),
        ({"a": {}}, {"a": InputOutput()}),
        ([{"name": "a", "data": 1}], {"a": InputOutput(name="a", data=1)}),
        ([], {}),
        (None, {}),
    ],
)
def test_inputs(inputs: object, expected: object) -> None:
    """Inputs stand by name: documented objects, bare values, or an array of named inputs."""
    assert job_of(inputs=inputs) == Job("j", JobStatus.FINISHED, inputs=expected)  # type: ignore[arg-type] # as the table says


def test_inputs_without_names() -> None:
    """An array whose items have no names of their own cannot be read by name: it is kept raw."""
    same_names = [{"name": "a"}, {"name": "a"}]
    arrays: tuple[object, ...] = ([1], [{"data": 1}], same_names, [{"name": 5}], "text", 5)
    for inputs in arrays:
        assert job_of(inputs=inputs) == Job("j", JobStatus.FINISHED, extra={"inputs": inputs})


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ("text", (InputOutput(data="text"),)),
        (0, (InputOutput(data=0),)),
        ({"data": 1}, (InputOutput(data=1),)),
        ({"url": "u"}, (InputOutput(data={"url": "u"}),)),
        ([1, None], (InputOutput(data=1), InputOutput())),
        ([[1, {"type": "a"}], []], ((InputOutput(data=1), InputOutput("a")), ())),
        ([[[1]]], ((InputOutput(data=[1]),),)),
        ([{"new": 1}], (InputOutput(data={"new": 1}),)),
        ([{"data": 1, "new": 2}], (InputOutput(data=1, extra={"new": 2}),)),
        ([{"data": 1, "type": 2}], (InputOutput(data=1, extra={"type": 2}),)),
    ],
)
def test_outputs(outputs: object, expected: Any) -> None:
    """A bare value in outputs is the data of one; outputs that are no array are one output."""
    assert job_of(outputs=outputs) == Job("j", JobStatus.FINISHED, outputs=expected)


def test_outputs_of_a_version() -> None:
    document = {"id": "v", "build_status": "a", "inputs": [5], "outputs": "x"}
    version = structure(document, FunctionVersion)
    assert (version.inputs, version.outputs) == ((InputOutput(data=5),), (InputOutput(data="x"),))


def test_unknown_keys() -> None:
    """Keys that we do not know are kept at every level, also one that is called ``extra``."""
    document = copy.deepcopy(JOB)
    for _, path in PLACES:
        at(document, path)["extra"] = {"new": str(path)}
    job = structure(document, Job)
    for _, path in PLACES:
        assert at(job, path).extra == {"extra": {"new": str(path)}}
    assert_types(job)
    assert job.to_dict() == document


def test_reports(caplog: pytest.LogCaptureFixture) -> None:
    """What does not fit is logged once for each field and kind of value, without the value."""
    for restarts in (2, 3, "SECRET", "SECRET again"):
        job_of(restarts=restarts, error=["SECRET"], inputs={"a": 1}, outputs=5, new=1)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, f"{field} kept in extra: must be {kind}")
        for field, kind in (
            ("Job.error", "a string, not an array"),
            ("Job.restarts", "an array, not an integer"),
            ("Job.restarts", "an array, not a string"),
        )
    ]


def mappings(value: Any) -> Iterator[int]:
    """The identity of every mapping and list in a model."""
    if attrs.has(type(value)):
        value = [getattr(value, field.name) for field in attrs.fields(type(value))]
    elif isinstance(value, dict | list):
        yield id(value)
    for each in value.values() if isinstance(value, dict) else value:
        if attrs.has(type(each)) or isinstance(each, dict | list | tuple):
            yield from mappings(each)


def test_nothing_is_shared() -> None:
    """No mapping of a value is part of another value, or of the document that it was read from."""
    document = JOB | {"children": {"a": [{}]}, "new": {"a": []}, "outputs": [{"data": {"a": []}}]}
    values = [Job.from_dict(document), Job.from_dict(document), Job.from_dict(document)]
    written = values[0].to_dict()
    found = [*mappings(document), *mappings(written), *(i for v in values for i in mappings(v))]
    assert len(found) == len(set(found))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from(["data", "type", "name"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
KEYS = st.sampled_from([*DOCUMENTED[Job], "new", "extra"])


@STEADY
@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_any_job(fields: Document) -> None:
    """Whatever the fields hold, a job comes of it, its types hold, and it reads back equal."""
    job = structure(copy.deepcopy(fields | NEW), Job)
    assert_types(job)
    hash(job)
    assert len(repr(job)) <= 2000
    written = job.to_dict()
    assert Job.from_dict(json.loads(json.dumps(written))) == job
    assert Job.from_dict(written).to_dict() == written


def test_copies_of_deep_json() -> None:
    """JSON is copied however deep it is nested."""
    deep: Any = 1
    for _ in range(2000):
        deep = [deep]
    copied, depth = copy_json(deep), 0
    while copied != 1:
        assert copied is not deep
        (copied,), (deep,), depth = copied, deep, depth + 1
    assert depth == 2000


def in_utc(value: object) -> str | None:
    """A time as ``to_dict`` spells it; None for what is no time."""
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


@pytest.mark.parametrize(
    ("name", "model", "unknown"),
    [
        ("job", Job, set()),
        ("newer_job", Job, {"cost"}),
        ("version", FunctionVersion, set()),
        ("newer_version", FunctionVersion, {"region"}),
    ],
)
def test_documents_of_the_api(name: str, model: type[Any], unknown: set[str]) -> None:
    """A document comes out of ``to_dict`` as it was, but for times and fields at their defaults."""
    file = FilePath(__file__).parents[1] / "documents" / f"{name}.json"
    document = json.loads(file.read_bytes())
    value = model.from_dict(document)
    assert leaves(document) - leaves(value.to_dict()) <= Counter(["0", "False", "''"])
    assert model.from_dict(value.to_dict()) == value
    assert value.extra.keys() == unknown
    assert_types(value)
    if name == "newer_job":
        assert [file.name for file in value.files] == ["1.mp4", "2.mp4", "3.png"]
        assert value.outputs[1][1] == InputOutput("str", data="done")
        assert value.restarts[0].timestamp == datetime(2024, 12, 15, 1, 43, 0, 1, tzinfo=UTC)


def decoded(fields: dict[str, Any]) -> Job:
    """Decode a job that has these fields and those it must have."""
    body = json.dumps({"id": "j", "status": "queued"} | fields).encode()
    return parse_model(Request("GET", "/v2/jobs/j", Job), Response(200, (), body, str))


def test_times() -> None:
    """Both spellings of a time, with or without a fraction or an offset, become aware UTC."""
    times = {
        "2024-12-15T01:41:59.195000": "2024-12-15T01:41:59.195+00:00",
        "2024-12-15T01:41:59": "2024-12-15T01:41:59+00:00",
        "2023-11-07T05:31:56.5Z": "2023-11-07T05:31:56.5+00:00",
        "2023-11-07T05:31:56.123456789Z": "2023-11-07T05:31:56.123456+00:00",
        "2023-11-07T05:31:56+05:30": "2023-11-07T00:01:56+00:00",
        "2024-02-29T00:00:00-00:00": "2024-02-29T00:00:00+00:00",
        "2024-03-05 01:41:59+02:00": "2024-03-04T23:41:59+00:00",
        "2024-03-05T01:41": "2024-03-05T01:41:00+00:00",
        "2024-03-05T01:41:59+0100": "2024-03-05T00:41:59+00:00",
        "2024-03-05t01:41:59z": "2024-03-05T01:41:59+00:00",
    }
    for written, read in times.items():
        job = decoded({"created_at": written})
        assert job.created_at == datetime.fromisoformat(read)
        assert job.extra == {}
        assert job.created_at.tzinfo is UTC


BAD_TIMES = [
    *("", "now", "1702604519", "2024-03-05", "20240305T014159", "2024-03-05T01:41:59."),
    *("2024-02-30T00:00:00", "2024-13-01T00:00:00", "2024-03-05T24:00:00", "2024-03-05T23:60:00"),
    *("2024-03-05T23:59:60", "0000-01-01T00:00:00", "2024-03-05T01:41:59+24:00"),
    *("2024-03-05T01:41:59+00:60", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
    *("\uff12024-03-05T01:41:59", "2024-03-05T01:41:59ZZ", "-2024-03-05T01:41:59"),
    *(" 2024-03-05T01:41:59", "2024-03-05T01:41:59\n", "2024-03-05T01:Z\u0000:59.195000"),
]


def test_times_that_cannot_be_read() -> None:
    """A time that cannot be read, or does not exist, is kept in ``extra`` as it came."""
    for written in BAD_TIMES:
        job = decoded({"restarts": [{"timestamp": written}]})
        assert job.restarts == (Restart(extra={"timestamp": written}),)
