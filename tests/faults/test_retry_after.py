"""``Retry-After``: how long calls and waits pause."""

import asyncio
from typing import TypeAlias

import pytest

from helpers.asserts import assert_idle
from helpers.http_helpers import now
from helpers.leak_checks import error_of
from helpers.raw_server import (
    JOB,
    RawRequest,
    Script,
    ScriptedServer,
    finished_job,
    respond,
    version_json,
)
from helpers.retry_after_values import DATE
from helpers.waits import KINDS, ends_of
from sieve_async import APIError, RateLimitError, SieveClient, SieveError

pytestmark = pytest.mark.looptime

Headers: TypeAlias = list[tuple[str, str]]

# One of each kind, and the seconds that they mean.
FORMS: list[tuple[Headers, float | None]] = [
    ([("Retry-After", "5")], 5),
    ([("Retry-After", "1.5")], 2),
    ([("Retry-After", "121")], 121),
    ([("Retry-After", "86400")], 86400),
    ([("Retry-After", "soon")], None),
    ([DATE, ("Retry-After", "Mon, 01 Jan 1990 00:00:07 GMT")], 7),
    ([("Retry-After", "3"), ("Retry-After", "8")], 8),
]
IDS = [JOB, "job-2", "job-3"]
MAX_PAUSE = 3600.0
MAX_PAUSE_OF_CALL = 120.0
EARLY = 1e-6  # precision of the loop time


def throttled(status: int, *headers: tuple[str, str]) -> Script:
    """An error response with headers."""
    return respond({"detail": "slowly"}, status=status, headers=headers)


def throttle_once(status: int, headers: Headers) -> ScriptedServer:
    """A server whose first response is the error; all others are terminal."""

    def reply(request: RawRequest) -> Script:
        if len(server.requests) == 1:
            return throttled(status, *headers)
        if request.is_list:
            return respond({"data": [], "next_offset": -1})
        return respond(version_json()) if request.job_id == "v2" else finished_job(request.job_id)

    server = ScriptedServer(reply)
    return server


@pytest.mark.parametrize("status", [408, 429, 500, 503, 520])
async def test_plain_call(status: int) -> None:
    """A plain call pauses for at most two minutes; beyond that it raises at once."""
    for headers, seconds in FORMS:
        async with throttle_once(status, headers) as server, server.client() as client:
            started = now()
            if seconds is None or seconds <= MAX_PAUSE_OF_CALL:
                await client.get_job(JOB)
                assert server.gaps[0] >= (seconds or 0) - EARLY
                assert now() - started <= (seconds or 0) + 3
            else:
                error = await error_of(client.get_job(JOB))
                assert isinstance(error, APIError)
                assert isinstance(error, RateLimitError) is (status == 429)
                assert (error.retry_after, error.attempts) == (seconds, 1)
                assert len(server.requests) == 1
                assert now() - started < 0.1
            assert_idle(client)


@pytest.mark.parametrize("kind", KINDS)
async def test_wait(kind: str) -> None:
    """A wait continues after the pause, which is at most an hour; so does every other call."""
    for headers, seconds in FORMS:
        async with throttle_once(429, headers) as server, server.client() as client:
            started = now()
            other = asyncio.create_task(lookup_in_the_pause(server, client))
            ends = await ends_of(client, kind, IDS)
            assert not [end for end in ends if isinstance(end, SieveError)]
            first, *later = server.requests
            pause = min(seconds or 0.0, MAX_PAUSE)
            assert all(request.at - first.at >= pause - EARLY for request in later), headers
            assert now() - started <= pause + 20, headers
            result = await other
            if seconds is None or seconds <= MAX_PAUSE_OF_CALL:
                assert not isinstance(result, APIError)
            else:
                assert isinstance(result, APIError)
                assert result.retry_after == pytest.approx(pause, abs=1)
            assert_idle(client)


async def lookup_in_the_pause(server: ScriptedServer, client: SieveClient) -> object:
    """Look up another job during the pause; return the error if there is one."""
    while not server.requests:  # noqa: ASYNC110 - the server has no event for this
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.02)
    try:
        return await client.get_job("other")
    except APIError as error:
        return error
