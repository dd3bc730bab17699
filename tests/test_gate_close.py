"""Who is in a queue when the client is closed."""

import asyncio

import pytest

from helpers.http_helpers import now
from helpers.raw_server import Action, serve
from sieve_async import ClientClosedError, Limits, RateLimitError
from sieve_async.gate import Gate

pytestmark = pytest.mark.looptime


async def test_calls_that_queue() -> None:
    """Calls that wait for a slot end at once when the client is closed, and are never sent."""
    async with serve([Action.SILENCE], limits=Limits(max_connections=1)) as (wire, client):
        calls = [asyncio.create_task(client.get_job(f"job{place}")) for place in range(5)]
        await asyncio.sleep(1)

        await client.close()
        ends = await asyncio.gather(*calls, return_exceptions=True)

        assert [type(end) for end in ends] == [ClientClosedError] * 5
        assert now() < 1.1
        assert len(wire.requests) == 1


async def test_those_who_wait_for_the_end_of_a_pause() -> None:
    """Whoever waits until the server's pause is over ends at once, too, with all slots free."""
    one = Gate(slots=5, steady_rate=None, clock=now)
    one.hold(100, RateLimitError(429, retry_after=100))
    waiting = [asyncio.create_task(one.enter()) for _ in range(5)]
    await asyncio.sleep(1)

    one.close()
    ends = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(end) for end in ends] == [ClientClosedError] * 5
    assert (one.in_flight, one.queued) == (0, 0)
    assert now() == 1


async def test_sleepers_are_forgotten() -> None:
    """Who has slept is not remembered: a client may sleep millions of times."""
    one = Gate(slots=5, steady_rate=None, clock=now)

    await asyncio.gather(*(one.sleep_until(now() + place) for place in range(10)))

    assert one._sleepers == set()
