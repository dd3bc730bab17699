"""Many watched jobs beside calls that keep all slots taken, in virtual time."""

import asyncio

import pytest

from helpers.asserts import max_per_second
from helpers.leak_checks import KEY
from sieve_async import Limits, SieveClient
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("slots", [1, 16])
@pytest.mark.parametrize("per_second", [2, 10])
async def test_no_burst_when_slots_are_freed(sieve: FakeSieve, slots: int, per_second: int) -> None:
    """Looks that could not leave while others held all slots do not leave together afterwards."""
    ids = [sieve.add_job(processing=600) for _ in range(200)]
    sieve.add_job("slow")
    sieve.fault(job="slow", delay=10)
    limits = Limits(max_connections=slots, polls_per_second=per_second)

    async with SieveClient(KEY, base_url=sieve.url, limits=limits) as client:
        slow = [asyncio.create_task(client.get_job("slow")) for _ in range(slots)]
        await asyncio.sleep(0.2)
        await client.wait_for_jobs(ids, timeout=20)
        await asyncio.gather(*slow)

    looks = [entry.at for entry in sieve.requests if not entry.path.endswith("/slow")]
    assert max_per_second(looks) <= per_second
    assert len(looks) >= 0.8 * 10 * per_second


async def test_looks_among_many_calls(sieve: FakeSieve) -> None:
    """While other calls queue for the slots without a pause, the watched jobs have their turn."""
    ids = [sieve.add_job(processing=600) for _ in range(200)]
    sieve.add_job("slow")
    sieve.fault(job="slow", delay=1)
    limits = Limits(max_connections=4, polls_per_second=10)

    async def call_again_and_again() -> None:
        while True:
            await client.get_job("slow")

    async with SieveClient(KEY, base_url=sieve.url, limits=limits) as client:
        calls = [asyncio.create_task(call_again_and_again()) for _ in range(8)]
        await client.wait_for_jobs(ids, timeout=30)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    looks = [entry.at for entry in sieve.requests if not entry.path.endswith("/slow")]
    assert max_per_second(looks) <= 10
    assert len(looks) >= 10
