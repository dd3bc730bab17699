"""Fault class H: every field of every model, absent, null and of each other kind."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import attrs
import pytest

from helpers.documented_fields import (
    ANYTHING,
    BOOLEAN,
    COUNT,
    DOCUMENTED,
    FALSE,
    ID,
    INTEGER,
    LOOSE,
    MAPPING,
    MODEL,
    OBJECT,
    OBJECTS,
    TEXT,
    TEXTS,
    TIME,
    WORD,
    ZERO,
)
from sieve_async import (
    DecodeError,
    EnvironmentVariable,
    Function,
    FunctionVersion,
    InputOutput,
    Job,
    Restart,
    Webhook,
    WorkerCounts,
)
from sieve_async.decode import parse_model, parse_state, parsing
from sieve_async.messages import Request, Response

Document: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str | int, ...]

VERSION: Document = {
    "id": "v-1",
    "build_status": "ready",
    "current_workers": {},
    "inputs": [{}],
    "outputs": [{}, {}],
}
JOB: Document = {
    "id": "job-1",
    "status": "finished",
    "function": {"latest_version": VERSION, "webhooks": [{}, {}]},
    "inputs": {"file": {}},
    "outputs": [{}, [{}, {}]],
    "restarts": [{}, {}],
}
# The whole answer, which model stands where in it, and how a problem spells that place.
PLACES: list[tuple[type[Any], Document, type, Path, str]] = [
    (Job, JOB, Job, (), "$"),
    (Job, JOB, Function, ("function",), "$.function"),
    (
        Job,
        JOB,
        FunctionVersion,
        ("function", "latest_version"),
        "$.function.latest_version",
    ),
    (Job, JOB, Webhook, ("function", "webhooks", 1), "$.function.webhooks[1]"),
    (Job, JOB, InputOutput, ("inputs", "file"), "$.inputs['file']"),
    (Job, JOB, InputOutput, ("outputs", 0), "$.outputs[0]"),
    (Job, JOB, InputOutput, ("outputs", 1, 1), "$.outputs[1][1]"),
    (Job, JOB, Restart, ("restarts", 1), "$.restarts[1]"),
    (FunctionVersion, VERSION, FunctionVersion, (), "$"),
    (FunctionVersion, VERSION, InputOutput, ("inputs", 0), "$.inputs[0]"),
    (FunctionVersion, VERSION, InputOutput, ("outputs", 1), "$.outputs[1]"),
    (FunctionVersion, VERSION, WorkerCounts, ("current_workers",), "$.current_workers"),
]
FIELDS = [
    pytest.param(*place, name, id=f"{place[0].__name__} {place[4]}.{name}")
    for place in PLACES
    for name in DOCUMENTED[place[2]]
]

ABSENT = object()
KINDS: dict[str, list[Any]] = {
    "a boolean": [True, False],
    "an integer": [0, 1, -7, 10**25],
    "a number": [0.0, 1.0, 1.5, -2e300],
    "a string": ["", "2024-12-15", "true", "1", "null"],
    "an array": [[], [None], [5], [[[]]]],
    "an object": [{}, {"a": {"b": [1]}}, {"a": 5}],
}
# What each kind of field takes as it is, besides null.
TAKES: dict[str, Callable[[Any], bool]] = {
    TEXT: lambda value: type(value) is str,
    TIME: lambda _: False,
    INTEGER: lambda value: type(value) is int,
    COUNT: lambda value: type(value) is int,
    ZERO: lambda value: type(value) is int,
    BOOLEAN: lambda value: type(value) is bool,
    FALSE: lambda value: type(value) is bool,
    ANYTHING: lambda _: True,
    OBJECT: lambda value: type(value) is dict,
    ID: lambda value: type(value) is str,
    WORD: lambda value: type(value) is str and value != "",
    TEXTS: lambda value: value == [],
    OBJECTS: lambda value: value == [],
    MAPPING: lambda value: value == {},
    MODEL: lambda _: False,
    LOOSE: lambda _: False,
}
DEFAULTS: dict[str, object] = {
    **dict.fromkeys([TEXT, TIME, INTEGER, BOOLEAN, ANYTHING, MODEL, OBJECT], None),
    COUNT: 0,
    ZERO: 0,
    FALSE: False,
    TEXTS: (),
    OBJECTS: (),
    MAPPING: {},
}
NULLS: dict[str, object] = DEFAULTS | {ZERO: None, FALSE: None}


@pytest.fixture(params=["orjson", "json"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> object:
    """Each of the two parsers."""
    if request.param == "json":
        monkeypatch.setattr(parsing, "_parse_fast", None)
    return request.param


def changed(document: Document, path: Path, name: str, value: object) -> Document:
    """The answer with one field changed."""
    document = copy.deepcopy(document)
    inner: Any = document
    for step in path:
        inner = inner[step]
    if value is ABSENT:
        inner.pop(name, None)
    else:
        inner[name] = value
    return document


def at(model: Any, path: Path) -> Any:
    """What stands there in a model."""
    for step in path:
        model = getattr(model, str(step)) if attrs.has(type(model)) else model[step]
    return model


def is_settled_elsewhere(kind: str, value: object) -> bool:
    """Whether it is the model below that judges this value, in its own row of the table."""
    return isinstance(value, dict) and (kind == MODEL or (kind == MAPPING and value != {}))


def expected(kind: str, name: str, value: object) -> list[object]:
    """What must come of a value, in a list; an empty one when it must be refused."""
    if value is ABSENT or value is None:
        table = DEFAULTS if value is ABSENT else NULLS
        return [table[kind]] if kind in table else []
    if not TAKES[kind](value):
        return []
    if name == "error" and value == "":
        return [None]
    return [() if kind in {TEXTS, OBJECTS} else value]


VALUES = [ABSENT, None, *(value for values in KINDS.values() for value in values)]


def test_all_fields_are_documented() -> None:
    """The models have the fields that the documents name, and no others but what is left over."""
    for model, fields in DOCUMENTED.items():
        assert {field.name for field in attrs.fields(model)} == {*fields, "extra"}


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(("answer", "document", "model", "path", "place", "name"), FIELDS)
def test_field(
    answer: type[Any], document: Document, model: type, path: Path, place: str, name: str
) -> None:
    """A value is kept as it came, or is a default, or is named as what does not fit."""
    kind = DOCUMENTED[model][name]
    for value in VALUES:
        if is_settled_elsewhere(kind, value) or kind == LOOSE:
            continue
        whole = changed(document, path, name, value)
        request = Request("GET", "/", answer)
        response = Response(200, (), json.dumps(whole).encode(), str)

        is_no_id = (place, name, value) == ("$", "id", "")
        if (found := expected(kind, name, value)) and not is_no_id:
            read = at(parse_model(request, response), path)
            came = getattr(read, name)
            assert came == found[0]
            assert type(came) is type(found[0]) or (kind == WORD and isinstance(came, str))
            assert name not in read.extra
        else:
            check_refused(request, response, whole, f"{place}.{name}")


def check_refused(request: Request[Any], response: Response, whole: Document, place: str) -> None:
    """Whether an answer is refused for this field alone, and polls look only at what decides."""
    with pytest.raises(DecodeError) as caught:
        parse_model(request, response)
    assert {problem[: len(place)] for problem in caught.value.problems} == {place}
    assert all(problem[len(place)] in ":[." for problem in caught.value.problems)
    assert caught.value.payload == whole
    if place in {"$.id", "$.status", "$.build_status"}:
        with pytest.raises(DecodeError):
            parse_state(request, response)
    else:
        assert parse_state(request, response).status.is_terminal


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    "value", VALUES, ids=lambda value: "absent" if value is ABSENT else repr(value)
)
def test_loose_fields(value: object) -> None:
    """What the documents leave open never makes an answer unreadable, and nothing of it is lost."""
    whole = changed(JOB, (), "children", value)
    job = parse_model(Request("GET", "/", Job), Response(200, (), json.dumps(whole).encode(), str))
    whole = changed(VERSION, (), "environment_variables", value)
    version = parse_model(
        Request("GET", "/", FunctionVersion), Response(200, (), json.dumps(whole).encode(), str)
    )

    assert job.extra.get("children", job.children or value) == value
    assert version.extra.get("environment_variables", value) == value
    assert version.environment_variables == ()
    is_nothing = value is ABSENT or value is None
    assert ("environment_variables" in version.extra) is not (is_nothing or value == [])
    assert ("children" in job.extra) is not (is_nothing or isinstance(value, dict))


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("name", DOCUMENTED[EnvironmentVariable])
def test_environment_variables(name: str) -> None:
    """An environment variable that does not fit sets the whole list aside, as it came."""
    for value in VALUES:
        variables = [{}, {} if value is ABSENT else {name: value}]
        whole = VERSION | {"environment_variables": variables}
        version = parse_model(
            Request("GET", "/", FunctionVersion), Response(200, (), json.dumps(whole).encode(), str)
        )

        if value is ABSENT or value is None or type(value) is str:
            text = value if isinstance(value, str) else None
            assert getattr(version.environment_variables[1], name) == text
        else:
            assert version.extra == {"environment_variables": variables}


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-12-15T01:41:59.195000", datetime(2024, 12, 15, 1, 41, 59, 195000, UTC)),
        ("2024-12-15T01:41:59", datetime(2024, 12, 15, 1, 41, 59, 0, UTC)),
        ("2023-11-07T05:31:56Z", datetime(2023, 11, 7, 5, 31, 56, 0, UTC)),
        ("2023-11-07T05:31:56.5+02:00", datetime(2023, 11, 7, 3, 31, 56, 500000, UTC)),
    ],
)
def test_times(text: str, moment: datetime) -> None:
    """Every documented spelling of a time is that time, in UTC, in every field that is one."""
    for answer, document, model, path, _ in PLACES:
        for name, kind in DOCUMENTED[model].items():
            if kind == TIME:
                whole = changed(document, path, name, text)
                body = json.dumps(whole).encode()
                read = parse_model(Request("GET", "/", answer), Response(200, (), body, str))
                found = getattr(at(read, path), name)
                assert (found, found.tzinfo) == (moment, UTC)
