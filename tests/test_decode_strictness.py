"""From JSON to models: nothing is ever turned into anything else.

Every field of every model is tried with values of every kind. The oracle below says from the
declared type alone what may come out; whatever else must be a problem that names the field.
"""

import copy
import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, TypeAlias, get_args, get_origin

import attrs
import pytest

from helpers.sample_documents import DOCUMENT, Document
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
from sieve_async.decode import parse_model
from sieve_async.messages import Request, Response

Path: TypeAlias = tuple[str | int, ...]

# Where each model stands in it, and how an error writes that.
PLACES: tuple[tuple[type, Path, str], ...] = (
    (Job, (), "$"),
    (Function, ("function",), "$.function"),
    (FunctionVersion, ("function", "latest_version"), "$.function.latest_version"),
    (InputOutput, ("inputs", "the file"), "$.inputs['the file']"),
    (InputOutput, ("outputs", 0), "$.outputs[0]"),
    (InputOutput, ("outputs", 1, 1), "$.outputs[1][1]"),
    (Restart, ("restarts", 0), "$.restarts[0]"),
    (
        WorkerCounts,
        ("function", "latest_version", "current_workers"),
        "$.function.latest_version.current_workers",
    ),
    (Webhook, ("function", "webhooks", 0), "$.function.webhooks[0]"),
)
LOOSE = {(Job, "children"), (FunctionVersion, "environment_variables")}  # see test_decode.py
FIELDS = [
    pytest.param(path, field, f"{place}.{field.name}", id=f"{place}.{field.name}")
    for model, path, place in PLACES
    for field in attrs.fields(model)
    if field.name != "extra" and (model, field.name) not in LOOSE
]

OBJECT = {"a": {"b": [1]}}
WRONG = [None, True, 0, 1, -1, 1.5, "", "SECRET", [], {}, OBJECT, [[{"type": [1]}]]]
# What may come out of what, by the declared type; all else must be refused.
FITTING: dict[Any, list[tuple[object, object]]] = {
    Any: [(value, value) for value in WRONG],
    str: [("", ""), ("SECRET", "SECRET")],
    int: [(0, 0), (1, 1), (-1, -1)],
    bool: [(True, True)],
    JobStatus: [("SECRET", JobStatus("SECRET"))],
    BuildStatus: [("SECRET", BuildStatus("SECRET"))],
    datetime: [],
    Function: [({}, Function()), (OBJECT, Function(extra=OBJECT))],
    FunctionVersion: [],
    WorkerCounts: [({}, WorkerCounts()), (OBJECT, WorkerCounts(extra=OBJECT))],
    Mapping[str, Any]: [({}, {}), (OBJECT, OBJECT)],
    Mapping[str, InputOutput]: [({}, {}), (OBJECT, {"a": InputOutput(extra={"b": [1]})})],
}


def expected(field: "attrs.Attribute[Any]", value: object) -> list[object]:
    """What must come out of a field, in a list; an empty one when it must be refused."""
    options = get_args(field.type) if get_origin(field.type) is UnionType else (field.type,)
    declared = next(option for option in options if option is not NoneType)
    if value is None:
        must_be_there = field.default is attrs.NOTHING
        empty: object = {} if get_origin(declared) is Mapping else field.default
        empty = () if get_origin(declared) is tuple else empty
        return [] if must_be_there else [None if NoneType in options else empty]
    if field.name == "error" and value == "":
        return [None]
    if get_origin(declared) is tuple:
        return [()] if value == [] else []
    return [out for into, out in FITTING[declared] if into == value and type(into) is type(value)]


def decode(document: Document) -> Job | DecodeError:
    """Decode an answer to a request for just this id, whatever it is."""
    expected_id = document["id"] if isinstance(document["id"], str) else None
    request = Request("GET", "/v2/jobs/j", Job, expected_id=expected_id)
    try:
        return parse_model(request, Response(200, (), json.dumps(document).encode(), str))
    except DecodeError as error:
        return error


def at(value: Any, path: Path) -> Any:
    """Find what stands at a path, in a document or in a model."""
    for step in path:
        value = getattr(value, str(step)) if attrs.has(type(value)) else value[step]
    return value


@pytest.mark.parametrize(("path", "field", "place"), FIELDS)
def test_every_field_with_every_kind(path: Path, field: "attrs.Attribute[Any]", place: str) -> None:
    """A value comes out as it went in, or is a problem that names its field without quoting it."""
    for value in WRONG:
        document = copy.deepcopy(DOCUMENT)
        at(document, path)[field.name] = value

        came = decode(document)

        if out := expected(field, value):
            assert not isinstance(came, DecodeError), (value, came)
            actual = getattr(at(came, path), field.name)
            assert (type(actual), actual) == (type(out[0]), out[0]), value
        else:
            assert isinstance(came, DecodeError), value
            assert came.problems
            assert all(re.match(rf"{re.escape(place)}[.:\[]", line) for line in came.problems)
            assert "SECRET" not in str(came.problems)
            assert came.payload == document


@pytest.mark.parametrize("name", ["name", "description", "default"])
def test_every_field_of_an_environment_variable(name: str) -> None:
    """An environment variable with a field of another kind sets aside the list as it came."""
    for value in WRONG:
        fields: dict[str, Any] = {name: value}
        document = copy.deepcopy(DOCUMENT)
        document["function"]["latest_version"]["environment_variables"] = [fields]

        version = at(decode(document), ("function", "latest_version"))

        if value is None or isinstance(value, str):
            assert version.environment_variables == (EnvironmentVariable(**fields),)
            assert version.extra == {}
        else:
            assert version.environment_variables == ()
            assert version.extra == {"environment_variables": [fields]}


@pytest.mark.parametrize("body", [b"[]", b"null", b"true", b"5", b'"text"', b'[{"id": "j"}]'])
def test_answers_that_are_no_object(body: bytes) -> None:
    """An answer that is no object is refused as a whole, and kept."""
    with pytest.raises(DecodeError) as caught:
        parse_model(Request("GET", "/v2/jobs/j", Job), Response(200, (), body, str))

    assert caught.value.problems == ("$: must be an object",)
    assert caught.value.payload == json.loads(body)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("outputs", 1), [{}, 5], "$.outputs[1][1]: must be an object, not an integer"),
        (("outputs", 1), [[]], "$.outputs[1][0]: must be an object, not an array"),
        (("inputs", "a"), None, "$.inputs['a']: must be an object, not null"),
        (("inputs",), [{}], "$.inputs: must be an object, not an array"),
        (("function", "tags"), ["a", 1.5], "$.function.tags[1]: must be a string, not a number"),
        (("function", "tags"), "abc", "$.function.tags: must be an array, not a string"),
        (("restarts", 0), [], "$.restarts[0]: must be an object, not an array"),
        (("status",), "", "$.status: must be a word, not an empty string"),
    ],
)
def test_problems(path: Path, value: object, problem: str) -> None:
    """A problem says where it is, what must stand there, and what kind of value came instead."""
    document = copy.deepcopy(DOCUMENT)
    at(document, path[:-1])[path[-1]] = value

    came = decode(document)

    assert isinstance(came, DecodeError)
    assert came.problems == (problem,)


def test_all_problems_at_once() -> None:
    """An error names every field that does not fit, not only the first."""
    came = decode(DOCUMENT | {"error": 1, "created_at": "soon", "outputs": [{"type": 1}, 2]})

    assert isinstance(came, DecodeError)
    assert sorted(problem.partition(":")[0] for problem in came.problems) == [
        "$.created_at",
        "$.error",
        "$.outputs[0].type",
        "$.outputs[1]",
    ]


def test_many_problems() -> None:
    """An answer that is wrong in a hundred thousand places is refused without long work."""
    started = time.process_time()

    came = decode(DOCUMENT | {"outputs": [1] * 100_000})

    assert isinstance(came, DecodeError)
    assert came.problems[0] == "$.outputs[0]: must be an object, not an integer"
    assert time.process_time() - started < 0.5
