"""Fault class H: fields that are absent, null, or of another type."""

from typing import Any

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import JOB, job_json, respond, serve, serve_once, version_json
from sieve_async import (
    DecodeError,
    WaitTimeoutError,
)

pytestmark = pytest.mark.looptime

WRONG: dict[str, Any] = {
    "absent": ...,
    "null": None,
    "int": 5,
    "zero": 0,
    "float": 1.5,
    "true": True,
    "false": False,
    "list": ["finished"],
    "object": {"finished": 1},
    "empty": "",
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("key", ["id", "status"])
async def test_job_without(key: str, value: object) -> None:
    """A job without a right id and status is none; nothing is turned into anything else."""
    async with serve(respond(job_json(**{key: value}))) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert type(error) is DecodeError
        assert [problem.split(":")[0] for problem in error.problems] == [f"$.{key}"]
        assert len(wire.requests) == 1


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("key", ["id", "build_status"])
async def test_version_without(key: str, value: object) -> None:
    """A version without a right id and build_status is none."""
    async with serve(respond(version_json(**{key: value}))) as (wire, client):
        error = await error_of(client.get_version("o", "f"))

        assert type(error) is DecodeError
        assert [problem.split(":")[0] for problem in error.problems] == [f"$.{key}"]
        assert len(wire.requests) == 1


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("key", ["id", "status"])
async def test_wait_for_a_job_without(key: str, value: object) -> None:
    """A poll without a right id and status decides nothing."""
    async with serve(respond(job_json(**{key: value})), respond()) as (wire, client):
        ended = await client.wait_for_job(JOB)

        assert ended.succeeded
        assert len(wire.requests) == 2


OTHER = "job-2", "JOB-1", "job-1 ", "job", "job-10", "job-1\u0000", "../job-1", "x" * 5000


@pytest.mark.parametrize("other", OTHER)
async def test_another_job(other: str) -> None:
    """An answer about another job is a bad answer, and never a result."""
    async with serve(respond(job_json(id=other))) as (_, client):
        error = await error_of(client.get_job(JOB))
        late = await error_of(client.wait_for_job(JOB, timeout=5))

        assert isinstance(error, DecodeError)
        assert error.problems[0].startswith("$.id")
        assert len(str(error)) < 500
        assert isinstance(late, WaitTimeoutError)
        assert late.last is None
        assert isinstance(late.last_error, DecodeError)


@pytest.mark.parametrize("word", ["started", "FINISHED", "finished ", "canceled", "none", "\u2603"])
async def test_unknown_status(word: str) -> None:
    """A word that we do not know is kept as it came, and polled on."""
    async with serve(respond(job_json(status=word)), respond(job_json(status=word)), respond()) as (
        wire,
        client,
    ):
        seen = await client.get_job(JOB)
        ended = await client.wait_for_job(JOB)

        assert (str(seen.status), seen.status.is_terminal) == (word, False)
        assert ended.succeeded
        assert len(wire.requests) == 3


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"created_at": 5}, "$.created_at"),
    ({"created_at": "yesterday"}, "$.created_at"),
    ({"created_at": "2024-13-45T00:00:00"}, "$.created_at"),
    ({"created_at": "20241215T014159"}, "$.created_at"),
    ({"outputs": "abc"}, "$.outputs"),
    ({"outputs": {"a": 1}}, "$.outputs"),
    ({"outputs": [{}, {"type": 5}]}, "$.outputs[1].type"),
    ({"outputs": [{}, [{}, {"is_optional": "false"}]]}, "$.outputs[1][1].is_optional"),
    ({"outputs": [5]}, "$.outputs[0]"),
    ({"inputs": []}, "$.inputs"),
    ({"error": ["a"]}, "$.error"),
    ({"run_id": 5}, "$.run_id"),
    ({"restarts": [{"timestamp": 1.5}]}, "$.restarts[0].timestamp"),
    ({"function": "sieve/dubbing"}, "$.function"),
]


@pytest.mark.parametrize(("changes", "path"), MISFITS)
async def test_other_fields(changes: dict[str, Any], path: str) -> None:
    """A field of another type is named with its path; a wait that ends so keeps the answer."""
    async with serve(respond(job_json(**changes))) as (wire, client):
        error = await error_of(client.get_job(JOB))
        ended = await error_of(client.wait_for_job(JOB))

        assert len(wire.requests) == 2
        for one in (error, ended):
            assert type(one) is DecodeError
            assert [problem.split(": ")[0] for problem in one.problems] == [path]
            assert one.payload == job_json(**changes)


async def test_many_misfits() -> None:
    """The problems of a large answer are told within bounds, or the telling is the next problem."""
    async with serve(respond(job_json(outputs=[{"type": 5}] * 20_000))) as (_, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, DecodeError)
        assert 1 <= len(error.problems) <= 1000
        assert error.problems[0].startswith("$.outputs[0].type: ")


async def test_null_is_empty() -> None:
    """Null where a collection is documented is an empty one, and unknown keys are kept."""
    nulls = dict.fromkeys(["inputs", "outputs", "children", "restarts", "function", "error"])
    async with serve_once(respond(job_json(**nulls, news=[1]))) as (_, client):
        seen = await client.get_job(JOB)

        assert (dict(seen.inputs), tuple(seen.outputs), seen.error) == ({}, (), None)
        assert dict(seen.extra) == {"news": [1]}
