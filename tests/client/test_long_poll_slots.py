"""The slots that held requests take, and give back when they are cut short by the caller."""

import asyncio
from collections.abc import Sequence

import pytest

from helpers.http_helpers import now
from sieve_async import ClientClosedError, Job, JobOutcome, Limits, SieveClient
from sieve_async.testing import FakeSieve, LoggedRequest


def most_held(sieve: FakeSieve) -> int:
    """How many requests were held at once, at the most."""
    held = [entry for entry in sieve.requests if entry.path.endswith("/await")]
    return max((_others(held, entry.at) for entry in held), default=0)


def _others(held: Sequence[LoggedRequest], at: float) -> int:
    return sum(entry.at <= at < entry.at + entry.took for entry in held)


async def until_held(sieve: FakeSieve, number: int = 1) -> None:
    """Let time pass until so many requests are with the server: a rate may be between them."""
    while sieve.in_flight < number:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


@pytest.mark.looptime
async def test_leaving_the_block(sieve: FakeSieve) -> None:
    """Leaving the block of many frees all slots, and asks nothing more."""
    ids = [sieve.add_job(processing=3600) for _ in range(50)]
    limits = Limits(max_connections=8)

    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        async with client.as_completed(ids, strategy="long_poll"):
            await asyncio.sleep(20)
        assert (client.stats.in_flight, client.stats.waits) == (0, 0)
        asked = sieve.requests.total
        await asyncio.sleep(100)

    assert sieve.requests.total == asked


@pytest.mark.looptime
async def test_closing(sieve: FakeSieve, client: SieveClient) -> None:
    """Closing the client ends what is held with ``ClientClosedError``, at once."""
    for job_id in ("single", "one", "two"):
        sieve.add_job(job_id, processing=3600)

    async def gather() -> list[JobOutcome]:
        return await client.wait_for_jobs(["one", "two"], strategy="long_poll")

    single = asyncio.create_task(client.wait_for_job("single", strategy="long_poll"))
    many = asyncio.create_task(gather())
    await until_held(sieve, 3)
    closed_at = now()
    await client.close()

    with pytest.raises(ClientClosedError):
        await single
    assert [type(outcome.error) for outcome in await many] == [ClientClosedError] * 2
    assert now() == pytest.approx(closed_at, abs=0.01)


@pytest.mark.looptime
@pytest.mark.parametrize("slots", [1, 2, 3, 4])
@pytest.mark.parametrize("single", [True, False])
async def test_half_of_the_slots(sieve: FakeSieve, slots: int, *, single: bool) -> None:
    """Held requests take at most half of the slots; the rest is polled, and lookups go on."""
    ids = [sieve.add_job(processing=50 + 10 * n) for n in range(10)]
    sieve.add_job("other", processing=3600)

    async def wait(client: SieveClient) -> list[Job]:
        if single:
            waits = (client.wait_for_job(job_id, strategy="long_poll") for job_id in ids)
            return await asyncio.gather(*waits)
        outcomes = await client.wait_for_jobs(ids, strategy="long_poll")
        return [outcome.result() for outcome in outcomes]

    limits = Limits(max_connections=slots)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        waiting = asyncio.create_task(wait(client))
        took = []
        while not waiting.done():
            await asyncio.sleep(7)
            asked_at = now()
            await client.get_job("other")
            took.append(now() - asked_at)
        jobs = await waiting

    assert [job.id for job in jobs] == ids
    assert all(job.succeeded for job in jobs)
    assert most_held(sieve) == slots // 2
    assert sieve.max_in_flight <= slots
    assert max(took) < 0.5
    assert now() <= 140 * 1.1 + 1


@pytest.mark.looptime
async def test_half_of_the_slots_for_all_calls(sieve: FakeSieve) -> None:
    """Single waits and watches of many share the half of the slots that may be held."""
    ids = [sieve.add_job(processing=100) for _ in range(12)]

    limits = Limits(max_connections=6)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        waits = (client.wait_for_job(job_id, strategy="long_poll") for job_id in ids[6:])
        outcomes, jobs = await asyncio.gather(
            client.wait_for_jobs(ids[:6], strategy="long_poll"), asyncio.gather(*waits)
        )

    assert all(outcome.ok for outcome in outcomes)
    assert all(job.succeeded for job in jobs)
    assert most_held(sieve) == 3
