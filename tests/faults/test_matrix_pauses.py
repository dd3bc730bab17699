"""Fault class F: every form of ``Retry-After``, at every status, in every kind of call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from helpers.asserts import assert_idle
from helpers.http_helpers import now
from helpers.raw_server import (
    JOB,
    RawRequest,
    Script,
    ScriptedServer,
    finished_job,
    respond,
    version_json,
)
from helpers.retry_after_values import FORMS
from sieve_async import APIError, RateLimitError, SieveClient

pytestmark = pytest.mark.looptime

Way: TypeAlias = Callable[[SieveClient], Awaitable[object]]
Headers: TypeAlias = list[tuple[str, str]]

IDS = [JOB, "job-2", "job-3"]
BYSTANDER = "bystander"
LONGEST = 3600.0
EARLY = 1e-6  # what a loop's clock may be off


def many(strategy: Any) -> Way:
    """Watch many jobs."""
    return lambda client: client.wait_for_jobs(IDS, strategy=strategy)


async def stream(client: SieveClient) -> int:
    """Take all outputs."""
    async with client.stream_outputs(JOB) as outputs:
        return len([output async for output in outputs])


CALLS: dict[str, Way] = {
    "get_job": lambda client: client.get_job(JOB),
    "get_version": lambda client: client.get_version("o", "f"),
}
WAITS: dict[str, Way] = {
    "wait_for_job": lambda client: client.wait_for_job(JOB),
    "wait_for_job, long_poll": lambda client: client.wait_for_job(JOB, strategy="long_poll"),
    "wait_until_ready": lambda client: client.wait_until_ready("o", "f"),
    "stream_outputs": stream,
    "wait_for_jobs": many("poll"),
    "wait_for_jobs, long_poll": many("long_poll"),
    "wait_for_jobs, sweep": many("list"),
}


def holding(status: int, headers: Headers) -> ScriptedServer:
    """A server that asks for a pause once, and then has good news for all."""

    def reply(asked: RawRequest) -> Script:
        if len(stage.requests) == 1:
            return respond({"detail": "slowly"}, status=status, headers=headers)
        if asked.is_list:
            return respond({"data": [], "next_offset": -1})
        return respond(version_json()) if asked.job_id == "v2" else finished_job(asked.job_id)

    stage = ScriptedServer(reply)
    return stage


async def look(client: SieveClient) -> object:
    """Look up another job meanwhile; an error is a result, too."""
    await asyncio.sleep(0.02)
    try:
        return await client.get_job(BYSTANDER)
    except APIError as error:
        return error


@pytest.mark.parametrize("status", [408, 429, 503])
@pytest.mark.parametrize("way", WAITS)
async def test_waits(way: str, status: int) -> None:
    """A wait goes on after the pause, never before, and nor does anybody else."""
    for headers, seconds in FORMS:
        if way.startswith("wait_for_jobs") and (seconds or 0) > 10:
            continue  # a watch looks often whether the pause is over: hours of it take long
        async with holding(status, headers) as stage, stage.client() as client:
            started = now()
            bystander = asyncio.create_task(look(client))

            assert await WAITS[way](client)

            first, *later = (asked for asked in stage.requests)
            pause = min(seconds or 0.0, LONGEST)
            assert all(asked.at - first.at >= pause - EARLY for asked in later), headers
            assert now() - started <= 1.5 * pause + 20, headers
            check_bystander(await bystander, seconds)
            assert_idle(client)


def check_bystander(seen: object, seconds: float | None) -> None:
    """Who cannot wait for so long is told for how long it should have waited."""
    if seconds is None or seconds <= 120:
        assert not isinstance(seen, APIError)
    else:
        assert isinstance(seen, APIError)
        assert seen.retry_after == pytest.approx(min(seconds, LONGEST), abs=1)
        assert seen.attempts == 0


@pytest.mark.parametrize("status", [408, 429, 503])
@pytest.mark.parametrize("way", CALLS)
async def test_calls(way: str, status: int) -> None:
    """A call waits up to two minutes, and otherwise says at once for how long it would have to."""
    for headers, seconds in FORMS:
        async with holding(status, headers) as stage, stage.client() as client:
            started = now()
            bystander = asyncio.create_task(look(client))
            error: APIError | None = None
            try:
                await CALLS[way](client)
            except APIError as caught:
                error = caught

            first, *later = (asked for asked in stage.requests)
            if seconds is None or seconds <= 120:
                assert error is None
                assert all(asked.at - first.at >= (seconds or 0) - EARLY for asked in later)
                assert later
            else:
                assert error is not None
                assert (error.retry_after, error.attempts, later) == (seconds, 1, [])
                assert isinstance(error, RateLimitError) is (status == 429)
                assert now() - started < 0.1
            check_bystander(await bystander, seconds)
            assert_idle(client)


@pytest.mark.parametrize("status", [500, 502, 504, 520])
@pytest.mark.parametrize("way", CALLS | WAITS)
async def test_other_statuses(way: str, status: int) -> None:
    """On an answer that is not about a pause the header is ignored, whatever its form."""
    for headers, _ in FORMS[::6]:
        async with holding(status, headers) as stage, stage.client() as client:
            started = now()

            assert await (CALLS | WAITS)[way](client)

            assert now() - started <= 20
            assert len(stage.requests) >= 2
