"""Responses without a usable id or status."""

from typing import Any

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import JOB, job_json, respond, serve, version_json
from sieve_async import DecodeError, WaitTimeoutError

pytestmark = pytest.mark.looptime

WRONG: dict[str, Any] = {
    "absent": ...,
    "null": None,
    "integer": 5,
    "zero": 0,
    "float": 1.5,
    "true": True,
    "false": False,
    "array": ["finished"],
    "object": {"finished": 1},
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("key", ["id", "status"])
async def test_job_without_id_or_status(key: str, value: object) -> None:
    """A lookup raises DecodeError after three attempts."""
    async with serve(respond(job_json(**{key: value}))) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, DecodeError)
        assert error.reason.startswith(f"{key} ")
        assert len(server.requests) == error.attempts == 3


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("key", ["id", "build_status"])
async def test_version_without_id_or_status(key: str, value: object) -> None:
    """The same for versions."""
    async with serve(respond(version_json(**{key: value}))) as (_, client):
        error = await error_of(client.get_version("o", "f"))

        assert isinstance(error, DecodeError)
        assert error.reason.startswith(f"{key} ")


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("key", ["id", "status"])
async def test_wait_continues_without_id_or_status(key: str, value: object) -> None:
    """For a wait such a response is a failed poll."""
    bad = respond(job_json(**{key: value}))
    async with serve(bad, bad, bad, bad, respond()) as (server, client):
        job = await client.wait_for_job(JOB)

        assert job.succeeded
        assert len(server.requests) == 5


@pytest.mark.parametrize(
    "other",
    ["job-2", "JOB-1", "job-1 ", "job", "job-10", "job-1\u0000", "../job-1", "x" * 5000, ""],
)
async def test_id_of_another_job(other: str) -> None:
    """A response about another job is never a result."""
    async with serve(respond(job_json(id=other))) as (_, client):
        error = await error_of(client.get_job(JOB))
        late = await error_of(client.wait_for_job(JOB, timeout=5))

        assert isinstance(error, DecodeError)
        assert len(str(error)) < 4000
        assert isinstance(late, WaitTimeoutError)
        assert late.last is None
        assert isinstance(late.last_error, DecodeError)


@pytest.mark.parametrize(
    "word", ["started", "FINISHED", "finished ", "canceled", "none", "", "\u2603"]
)
async def test_unknown_status(word: str) -> None:
    """An unknown status is kept as sent and is not terminal."""
    unknown = respond(job_json(status=word))
    async with serve(unknown, unknown, respond()) as (server, client):
        first = await client.get_job(JOB)
        last = await client.wait_for_job(JOB)

        assert (str(first.status), first.is_terminal) == (word, False)
        assert last.succeeded
        assert len(server.requests) == 3
