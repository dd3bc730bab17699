"""Fault class F: what a ``Retry-After`` asks for, and who is held back by it."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from helpers.leak_checks import KEY, error_of
from helpers.raw_server import JOB, Action, Script, job_json, respond, serve, serve_once
from helpers.retry_after_values import FORMS, NAMES
from sieve_async import (
    APIError,
    Limits,
    RateLimitError,
    RetryPolicy,
    Timeout,
    WaitTimeoutError,
)

pytestmark = pytest.mark.looptime


def held(status: int, *headers: tuple[str, str]) -> Script:
    """The script of an answer that asks for a pause."""
    return respond({"detail": "slowly"}, status=status, headers=headers)


@pytest.mark.parametrize(("headers", "seconds"), FORMS, ids=NAMES)
async def test_value(headers: list[tuple[str, str]], seconds: float | None) -> None:
    """A value counts if the RFC allows it and it lies ahead; anything else asks for nothing."""
    async with serve_once(held(503, *headers)) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, APIError)
        assert (error.status, error.retry_after) == (503, seconds)
        assert len(wire.requests) == 1


@pytest.mark.parametrize(("headers", "seconds"), FORMS, ids=NAMES)
async def test_pause(headers: list[tuple[str, str]], seconds: float | None) -> None:
    """A call waits at least as long as it was asked to, and raises when that is too long."""
    async with serve(held(429, *headers), respond()) as (wire, client):
        if seconds is not None and seconds > 120:
            error = await error_of(client.get_job(JOB))

            assert isinstance(error, RateLimitError)
            assert (error.retry_after, error.attempts, len(wire.requests)) == (seconds, 1, 1)
        else:
            await client.get_job(JOB)

            assert len(wire.requests) == 2
            assert (seconds or 0.4999) - 1e-6 <= wire.gaps[0] <= 1.5 * (seconds or 1) + 1


@pytest.mark.parametrize("status", [408, 429, 503])
async def test_largest_pause_of_a_call(status: int) -> None:
    """A pause of just ``max_retry_after`` is waited for."""
    retry = RetryPolicy(max_retry_after=7)
    async with serve(held(status, ("Retry-After", "7")), respond(), retry=retry) as (wire, client):
        await client.get_job(JOB)

        assert 7 <= wire.gaps[0] <= 10


async def test_date_without_a_date() -> None:
    """Without a Date header the wall clock is what there is."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    async with serve_once(held(503, ("Retry-After", later))) as (_, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, APIError)
        assert error.retry_after is not None
        assert 80 <= error.retry_after <= 90


@pytest.mark.parametrize("status", [400, 404, 500, 502, 504])
async def test_not_honoured(status: int) -> None:
    """Only 408, 429 and 503 hold anything back."""
    async with serve_once(held(status, ("Retry-After", "60")), respond()) as (wire, client):
        await error_of(client.get_job(JOB))
        await client.get_job(JOB)

        assert wire.gaps[0] < 0.1


@pytest.mark.parametrize("status", [408, 429, 503])
async def test_everybody_is_held_back(status: int) -> None:
    """What one call is told holds back all, and then they leave spread out, none before."""
    async with serve_once(held(status, ("Retry-After", "20")), respond()) as (wire, client):
        await error_of(client.get_job(JOB))
        await asyncio.gather(*(client.get_job(JOB) for _ in range(40)))

        waited = [seen.at - wire.requests[0].at for seen in wire.requests[1:]]
        assert min(waited) >= 20 - 1e-6
        assert max(waited) <= 20 + 1 + 1.5 * 5
        assert len({round(at, 1) for at in waited}) >= 20


async def test_those_in_flight_are_held_back() -> None:
    """Calls that were queued when the pause was asked for wait for its end, too."""
    scripts: list[Script] = [[1.0, *held(429, ("Retry-After", "10"))], respond()]
    async with serve(*scripts, limits=Limits(max_connections=1)) as (wire, client):
        jobs = await asyncio.gather(*(client.get_job(JOB) for _ in range(5)))

        assert all(one.succeeded for one in jobs)
        assert len(wire.requests) == 6
        assert wire.gaps[0] >= 11 - 1e-6


async def test_longer_pause_wins() -> None:
    """A second answer may lengthen the pause, and never shortens it."""
    scripts: list[Script] = [
        held(429, ("Retry-After", "30")),
        [1.0, *held(503, ("Retry-After", "5"))],
        respond(),
    ]
    async with serve_once(*scripts) as (wire, client):
        await asyncio.gather(error_of(client.get_job(JOB)), error_of(client.get_job(JOB)))
        await client.get_job(JOB)

        assert wire.requests[2].at - wire.requests[0].at >= 30 - 1e-6


async def test_call_during_a_long_pause() -> None:
    """A call that would have to wait too long raises what the server said, and sends nothing."""
    async with serve(held(429, ("Retry-After", "600"))) as (wire, client):
        await error_of(client.get_job(JOB))
        await asyncio.sleep(100)
        error = await error_of(client.get_version("o", "f"))

        assert isinstance(error, RateLimitError)
        assert error.retry_after is not None
        assert 499 <= error.retry_after <= 501
        assert (error.attempts, len(wire.requests)) == (0, 1)
        assert error.path == "/v2/functions/o/f/versions/latest"


async def test_other_client_is_not_held_back() -> None:
    """A pause belongs to one client."""
    async with serve_once(held(429, ("Retry-After", "60")), respond()) as (wire, client):
        await error_of(client.get_job(JOB))
        async with wire.client() as other:
            await other.get_job(JOB)

        assert wire.gaps[0] < 0.1


@pytest.mark.parametrize("status", [408, 429, 503])
@pytest.mark.parametrize(
    ("value", "least", "most"),
    [("5", 5, 9), ("121", 121, 180), ("3600", 3600, 4600), ("86400", 3600, 4600), ("nan", 0, 3)],
)
async def test_wait(value: str, least: float, most: float, status: int) -> None:
    """A wait waits for as long as it is asked to, an hour at most."""
    waiting = respond(job_json(status="processing"))
    async with serve(waiting, held(status, ("Retry-After", value)), respond()) as (wire, client):
        ended = await client.wait_for_job(JOB)

        assert ended.succeeded
        assert len(wire.requests) == 3
        assert least - 1e-6 <= wire.gaps[1] <= most


async def test_wait_that_begins_in_a_pause() -> None:
    """A wait has the patience that a call has not."""
    async with serve_once(held(429, ("Retry-After", "600")), respond()) as (wire, client):
        await error_of(client.get_job(JOB))
        ended = await client.wait_for_job(JOB)

        assert ended.succeeded
        assert 600 - 1e-6 <= wire.gaps[0] <= 800


async def test_deadline_in_a_pause() -> None:
    """A pause is no reason to miss the deadline."""
    async with serve(held(429, ("Retry-After", "600"))) as (wire, client):
        error = await error_of(client.wait_for_job(JOB, timeout=10))

        assert isinstance(error, WaitTimeoutError)
        assert 10 - 1e-6 <= error.elapsed <= 10.1
        assert len(wire.requests) == 1
        assert isinstance(error.last_error, RateLimitError)
        assert KEY not in str(error)


async def test_hundred_waits_in_a_pause() -> None:
    """Waits that were held back are all answered, and none polls before the end of the pause."""
    async with serve(held(503, ("Retry-After", "60")), respond()) as (wire, client):
        first = asyncio.create_task(client.wait_for_job(JOB))
        await asyncio.sleep(1)
        ended = await asyncio.gather(first, *(client.wait_for_job(JOB) for _ in range(99)))

        assert all(one.succeeded for one in ended)
        assert len(wire.requests) == 101
        assert min(seen.at - wire.requests[0].at for seen in wire.requests[1:]) >= 60 - 1e-6
        assert max(seen.at - wire.requests[0].at for seen in wire.requests) <= 60 * 1.5


async def test_pause_without_an_end_of_the_probe() -> None:
    """The request that goes first after a pause may fall silent: the others follow all the same."""
    scripts: list[Script] = [held(429, ("Retry-After", "5")), [Action.SILENCE], respond()]
    async with serve_once(*scripts, timeout=Timeout(request=30)) as (_, client):
        loop = asyncio.get_running_loop()
        await error_of(client.get_job(JOB))
        started = loop.time()
        probe = asyncio.create_task(error_of(client.get_job(JOB)))
        await asyncio.gather(*(client.get_job(JOB) for _ in range(10)))

        assert loop.time() - started <= 15
        await probe
