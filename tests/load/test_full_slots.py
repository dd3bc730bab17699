"""Watched jobs beside plain calls that occupy all slots."""

import asyncio

import pytest

from helpers.asserts import max_per_second
from helpers.leak_checks import KEY
from sieve_async import Limits, SieveClient
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("slots", [1, 16])
@pytest.mark.parametrize("per_second", [2, 10])
async def test_no_burst_when_slots_are_released(
    sieve: FakeSieve, slots: int, per_second: int
) -> None:
    """Polls that could not leave while plain calls held all slots do not leave together later."""
    ids = [sieve.add_job(processing=600) for _ in range(200)]
    sieve.add_job("slow")
    sieve.fault(job="slow", delay=10)
    limits = Limits(max_connections=slots, polls_per_second=per_second)

    async with SieveClient(KEY, base_url=sieve.url, limits=limits) as client:
        slow = [asyncio.create_task(client.get_job("slow")) for _ in range(slots)]
        await asyncio.sleep(0.2)
        await client.wait_for_jobs(ids, timeout=20)
        await asyncio.gather(*slow)

    polls = [entry.at for entry in sieve.requests if not entry.path.endswith("/slow")]
    assert max_per_second(polls) <= per_second
    assert len(polls) >= 0.8 * 10 * per_second


async def test_polls_and_plain_calls_take_turns(sieve: FakeSieve) -> None:
    """While plain calls queue for slots all the time, watched jobs are polled."""
    ids = [sieve.add_job(processing=600) for _ in range(200)]
    sieve.add_job("slow")
    sieve.fault(job="slow", delay=1)
    limits = Limits(max_connections=4, polls_per_second=10)

    async def call_repeatedly() -> None:
        while True:
            await client.get_job("slow")

    async with SieveClient(KEY, base_url=sieve.url, limits=limits) as client:
        calls = [asyncio.create_task(call_repeatedly()) for _ in range(8)]
        await client.wait_for_jobs(ids, timeout=30)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    polls = [entry.at for entry in sieve.requests if not entry.path.endswith("/slow")]
    assert max_per_second(polls) <= 10
    assert len(polls) >= 10
