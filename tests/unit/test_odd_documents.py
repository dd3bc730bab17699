"""Documents that the API does not describe, through lookups and every kind of wait."""

import copy
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from helpers.raw_server import JOB, respond, serve
from helpers.value_types import assert_types
from sieve_async import Job, SieveClient, converter

Wait: TypeAlias = Callable[[SieveClient], Awaitable[Job]]

DONE: dict[str, Any] = {
    "id": JOB,
    "status": "finished",
    "outputs": [{"type": "str", "data": "the result"}],
}
DEEP: Any = "bottom"
for _ in range(150):
    DEEP = [DEEP]
VERSION: dict[str, Any] = {"id": "v", "build_status": "ready"}

# What is odd about a finished job; its result is there all the same.
ODD: dict[str, dict[str, Any]] = {
    "bare inputs": {
        "inputs": {"text": "hi", "n": 1, "no": None, "list": [1], "file": {"url": "u"}}
    },
    "inputs in an array": {"inputs": [{"name": "a", "data": 1}, {"name": "b"}]},
    "inputs in an array without names": {"inputs": [1, {"data": 2}]},
    "inputs that are a text": {"inputs": "text"},
    "inputs of wrong types": {"inputs": {"a": {"type": 5, "data": 1}, "b": {"schema": "x"}}},
    "function as a name": {"function": "sieve/dubbing"},
    "function as a list": {"function": ["sieve", "dubbing"]},
    "function of wrong types": {"function": {"name": 5, "tags": "a", "featured_key": "1"}},
    "function without version id": {"function": {"name": "f", "latest_version": {"gpu": True}}},
    "gpu as a word": {"function": {"latest_version": VERSION | {"gpu": "T4"}}},
    "split as a float": {"function": {"latest_version": VERSION | {"split": 1.0}}},
    "replicas as null": {"function": {"latest_version": VERSION | {"minimum_replicas": None}}},
    "workers as a number": {"function": {"latest_version": VERSION | {"current_workers": 3}}},
    "variables as an object": {
        "function": {"latest_version": VERSION | {"environment_variables": {"A": "b"}}}
    },
    "packages with null": {"function": {"latest_version": VERSION | {"python_packages": [None]}}},
    "inputs of a version as an object": {
        "function": {"latest_version": VERSION | {"inputs": {"a": {"type": "str"}}}}
    },
    "restarts as a number": {"restarts": 2},
    "restarts with a text": {"restarts": ["OOM"]},
    "a restart with a number as time": {"restarts": [{"timestamp": 1702604519, "type": "OOM"}]},
    "error as an object": {"error": {"code": 7, "message": "no"}},
    "error as a list": {"error": ["no"]},
    "error as false": {"error": False},
    "times as numbers": {"created_at": 1700000000, "started_at": 1700000000.5},
    "times with a space": {"created_at": "2024-12-15 01:41:59", "started_at": "2024-12-15 01:42"},
    "times that are none": {"created_at": "", "started_at": "yesterday", "completed_at": "0"},
    "times that do not exist": {"created_at": "2024-02-30T00:00:00", "started_at": {}},
    "visibility as a boolean": {"visibility": True},
    "run as a number": {"run_id": 5},
    "children as a list": {"children": [{"id": "c"}]},
    "children as a text": {"children": "none"},
    "organisation as an object": {"organization_id": {"id": "o"}},
    "function id as a number": {"function_id": 1234567},
    "an unknown key": {"a_key_of_tomorrow": {"x": [1, None]}},
    "a key called extra": {"extra": {"x": 1}},
    "a key called self": {"self": 1, "cls": 2, "": 3},
    "huge integers": {"organization_id": 10**30},
    "deep nesting": {"new": DEEP},
    "everything null": dict.fromkeys(
        ["function", "inputs", "error", "children", "restarts", "run_id", "created_at"]
    ),
    "everything a number": dict.fromkeys(
        ["function", "inputs", "error", "children", "run_id", "created_at", "visibility"], 7
    ),
    "everything an array": {
        name: [[]]
        for name in ("function", "error", "children", "run_id", "created_at", "visibility")
    },
    "everything an object": {
        name: {"a": 1}
        for name in ("function", "error", "restarts", "run_id", "created_at", "visibility")
    },
}
# Outputs that are not described, and the data that come of them.
ODD_OUTPUTS: list[tuple[Any, tuple[Any, ...]]] = [
    ("text", ("text",)),
    (5, (5,)),
    (False, (False,)),
    ({"data": 1}, (1,)),
    ({"url": "https://h/a.mp4"}, ({"url": "https://h/a.mp4"},)),
    ([1, "a", None, 1.5], (1, "a", None, 1.5)),
    ([[1, [2]], []], ((1, [2]), ())),
    ([{"data": 1, "type": 5, "schema": [], "is_optional": "no"}], (1,)),
    ([{"name": 5, "data": {"a": 1}}, {"unknown": 1}], ({"a": 1}, {"unknown": 1})),
    ([float("inf"), -float("inf")], (float("inf"), -float("inf"))),
]


async def lookup(client: SieveClient) -> Job:
    """A single lookup."""
    return await client.get_job(JOB)


async def wait(client: SieveClient) -> Job:
    """A wait that polls."""
    return await client.wait_for_job(JOB)


async def long_wait(client: SieveClient) -> Job:
    """A wait whose polls are held."""
    return await client.wait_for_job(JOB, strategy="long_poll")


async def watch(client: SieveClient) -> Job:
    """A watch of many jobs."""
    (outcome,) = await client.wait_for_jobs([JOB])
    return outcome.result()


WAYS: list[Wait] = [lookup, wait, long_wait, watch]


@pytest.fixture(autouse=True)
def nothing_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with no field reported."""
    monkeypatch.setattr(converter, "_reported", set())


@pytest.mark.looptime
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
async def test_odd_documents(way: Wait, fields: dict[str, Any]) -> None:
    """Whatever else a finished job says, its result is delivered, and nothing is lost."""
    document = DONE | fields
    async with serve(respond(document)) as (server, client):
        job = await way(client)

    assert len(server.requests) == 1
    assert job.succeeded
    assert job.data == ("the result",)
    assert_types(job)
    written = job.to_dict()
    assert Job.from_dict(json.loads(json.dumps(written))) == job
    assert written.keys() - {"outputs"} <= document.keys()
    for name, value in fields.items():
        if value is not None and name not in {"inputs", "created_at", "started_at", "function"}:
            assert written[name] == value or name == "organization_id"


@pytest.mark.looptime
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("outputs", "data"), ODD_OUTPUTS, ids=range(len(ODD_OUTPUTS)))
async def test_odd_outputs(way: Wait, outputs: Any, data: tuple[Any, ...]) -> None:
    """Whatever stands in the outputs is the data of one."""
    async with serve(respond(DONE | {"outputs": copy.deepcopy(outputs)})) as (_, client):
        job = await way(client)

    assert job.data == data
    assert_types(job)
