"""Documents that the API does not describe, through lookups and waits."""

import json
from typing import Any

import pytest

from helpers.raw_server import ScriptedServer, respond
from helpers.value_types import assert_types
from sieve_async import Job, converter

DONE: dict[str, Any] = {"status": "finished", "outputs": [{"type": "str", "data": "the result"}]}
DEEP: Any = "bottom"
for _ in range(150):
    DEEP = [DEEP]
VERSION: dict[str, Any] = {"id": "v", "build_status": "ready"}
NAMES = ("function", "error", "children", "run_id", "created_at", "visibility")
VALUES: tuple[Any, ...] = (None, 7, [[]], {"a": 1})

# What is odd about a finished job; its result is there all the same.
ODD: list[dict[str, Any]] = [
    {"inputs": {"text": "hi", "n": 1, "no": None, "list": [1], "file": {"url": "u"}}},
    {"inputs": [{"name": "a", "data": 1}, {"name": "b"}]},
    {"inputs": [1, {"data": 2}]},
    {"inputs": {"a": {"type": 5, "data": 1}, "b": {"schema": "x"}}},
    {"function": "sieve/dubbing"},
    {"function": {"name": 5, "tags": "a", "featured_key": "1"}},
    {"function": {"name": "f", "latest_version": {"gpu": True}}},
    {"function": {"latest_version": VERSION | {"gpu": "T4", "split": 1.0, "inputs": {"a": {}}}}},
    {"restarts": 2},
    {"restarts": [{"timestamp": 1702604519, "type": "OOM"}, "OOM"]},
    {"error": {"code": 7, "message": "no"}},
    {"error": False},
    {"created_at": 1700000000, "started_at": 1700000000.5},
    {"created_at": "2024-02-30T00:00:00", "started_at": "yesterday", "completed_at": ""},
    {"children": [{"id": "c"}]},
    {"extra": {"x": 1}, "self": 1, "cls": 2, "": 3},
    {"organization_id": 10**30},
    {"new": DEEP},
    *(dict.fromkeys(NAMES, same) for same in VALUES),
]
# Outputs that are not described, and the data that come of them.
ODD_OUTPUTS: list[tuple[Any, tuple[Any, ...]]] = [
    ("text", ("text",)),
    (False, (False,)),
    ({"data": 1}, (1,)),
    ({"url": "https://h/a.mp4"}, ({"url": "https://h/a.mp4"},)),
    ([1, "a", None, 1.5], (1, "a", None, 1.5)),
    ([[1, [2]], []], ((1, [2]), ())),
    ([{"data": 1, "type": 5, "schema": [], "is_optional": "no"}], (1,)),
    ([{"name": 5, "data": {"a": 1}}, {"unknown": 1}], ({"a": 1}, {"unknown": 1})),
    ([float("inf"), -float("inf")], (float("inf"), -float("inf"))),
]


async def read(documents: list[dict[str, Any]]) -> list[Job]:
    """The jobs of these documents, read by lookups, by a wait and by a watch, which agree."""
    by_id = {f"j{number}": {"id": f"j{number}"} | doc for number, doc in enumerate(documents)}
    server = ScriptedServer(lambda request: respond(by_id[request.job_id]))
    async with server, server.client() as client:
        jobs = [await client.get_job(job_id) for job_id in by_id]
        waited = await client.wait_for_job("j0", strategy="long_poll")
        outcomes = await client.wait_for_jobs(by_id)
    assert len(server.requests) == 2 * len(documents) + 1
    assert waited == jobs[0]
    assert [outcome.result() for outcome in outcomes] == jobs
    return jobs


@pytest.mark.looptime
async def test_odd_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else a finished job says, its result is delivered, and nothing is lost."""
    monkeypatch.setattr(converter, "_reported", set())
    for fields, job in zip(ODD, await read([DONE | fields for fields in ODD]), strict=True):
        assert job.succeeded
        assert job.data == ("the result",)
        assert_types(job)
        written = job.to_dict()
        assert Job.from_dict(json.loads(json.dumps(written))) == job
        assert written.keys() - {"id", "outputs"} <= (DONE | fields).keys()
        for name, value in fields.items():
            if value is not None and name not in {"inputs", "function"}:
                assert written[name] == value or name == "organization_id"


@pytest.mark.looptime
async def test_odd_outputs() -> None:
    """Whatever stands in the outputs is the data of one."""
    jobs = await read([DONE | {"outputs": outputs} for outputs, _ in ODD_OUTPUTS])
    assert [job.data for job in jobs] == [data for _, data in ODD_OUTPUTS]
    for job in jobs:
        assert_types(job)
