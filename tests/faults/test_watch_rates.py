"""How much many jobs ask of the server, and what they leave for others, in virtual time."""

import asyncio
import itertools
import math
from collections.abc import Sequence

import pytest

from helpers.asserts import ids_of, max_per_second
from helpers.http_helpers import now
from helpers.leak_checks import KEY
from sieve_async import Limits, PollPolicy, RateLimitError, SieveClient
from sieve_async.testing import FakeSieve


def limited(sieve: FakeSieve, per_second: float | None, slots: int = 64) -> SieveClient:
    """A client with limits."""
    limits = Limits(polls_per_second=per_second, max_connections=slots)
    return SieveClient(KEY, base_url=sieve.url, limits=limits)


def gaps_of(times: Sequence[float]) -> list[float]:
    """The seconds from one request to the next."""
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@pytest.mark.looptime
@pytest.mark.parametrize(("per_second", "number"), [(100, 600), (10, 50), (2.5, 20), (0.5, 3)])
async def test_rate(sieve: FakeSieve, per_second: float, number: int) -> None:
    """Many jobs are looked at evenly spread, and never more often than allowed in any second."""
    ids = [sieve.add_job(processing=600) for _ in range(number)]
    seconds = 30 * max(1.0, 2 / per_second)

    async with limited(sieve, per_second) as client:
        await client.wait_for_jobs(ids, timeout=seconds)

    times = [entry.at for entry in sieve.requests]
    assert max_per_second(times) <= math.ceil(per_second)
    assert len(times) >= 0.9 * seconds * per_second
    assert min(gaps_of(times)) >= 0.5 / per_second
    assert max(gaps_of(times)) <= 1.6 / per_second


@pytest.mark.looptime
async def test_each_has_its_turn(sieve: FakeSieve) -> None:
    """When the rate stretches the pauses, it does so for all jobs alike."""
    ids = [sieve.add_job(processing=600) for _ in range(200)]

    async with limited(sieve, 20) as client:
        await client.wait_for_jobs(ids, timeout=100)

    looks = [sieve.requests_for(job_id) for job_id in ids]
    assert min(looks) >= 8
    assert max(looks) <= 12


@pytest.mark.looptime
async def test_two_calls_share_the_rate(sieve: FakeSieve) -> None:
    """The rate is that of the client, however many calls watch, one after another or at once."""
    batches = [[sieve.add_job(processing=600) for _ in range(50)] for _ in range(4)]

    async def later(ids: list[str], pause: float) -> None:
        await asyncio.sleep(pause)
        await client.wait_for_jobs(ids, timeout=20)

    async with limited(sieve, 20) as client:
        await asyncio.gather(*(later(ids, 7.0 * place) for place, ids in enumerate(batches)))

    times = [entry.at for entry in sieve.requests]
    assert max_per_second(times) <= 20
    assert all(sieve.requests_for(job_id) for ids in batches for job_id in ids)


@pytest.mark.looptime
async def test_no_burst_after_a_lull(sieve: FakeSieve) -> None:
    """Seconds in which nothing was asked are not made up for."""
    policy = PollPolicy(min_interval=10, max_interval=10, jitter=0)
    ids = [sieve.add_job(processing=25) for _ in range(30)]

    async with limited(sieve, 20) as client:
        outcomes = await client.wait_for_jobs(ids, polling=policy)

    assert all(outcome.ok for outcome in outcomes)
    assert max_per_second([entry.at for entry in sieve.requests]) <= 20


@pytest.mark.looptime
@pytest.mark.parametrize("slots", [1, 7, 64])
async def test_slots(sieve: FakeSieve, slots: int) -> None:
    """Without a rate, as many looks as slots are in flight, and never more."""
    ids = [sieve.add_job() for _ in range(300)]
    sieve.fault(delay=0.1)
    async with limited(sieve, None, slots) as client:
        started = now()
        outcomes = await client.wait_for_jobs(ids)

    assert all(outcome.ok for outcome in outcomes)
    assert sieve.max_in_flight == slots
    assert sieve.connections <= slots
    assert now() - started <= 0.1 * (300 / slots + 3)


@pytest.mark.looptime
async def test_few_looks_at_few_jobs(sieve: FakeSieve, client: SieveClient) -> None:
    """The rate is a bound and not a goal: ten jobs of ten minutes cost what ten waits cost."""
    ids = [sieve.add_job(processing=600) for _ in range(10)]

    await client.wait_for_jobs(ids)

    assert len(sieve.requests) <= 10 * 125


@pytest.mark.looptime
async def test_ten_thousand(sieve: FakeSieve, client: SieveClient) -> None:
    """While 10,000 jobs are watched, lookups and waits go on, and there are few tasks."""
    ids = [sieve.add_job(processing=3600) for _ in range(10_000)]
    sieve.add_job("other", processing=3)

    async with client.as_completed(ids):
        for _ in range(10):
            await asyncio.sleep(0.5)
            asked = now()
            assert (await client.get_job("other")).id == "other"
            assert now() - asked <= 0.1
        assert (await client.wait_for_job("other", timeout=1)).succeeded
        assert client.stats.waits == 10_000
        assert len(asyncio.all_tasks()) <= 2 * 64 + 10
        assert max_per_second([entry.at for entry in sieve.requests]) <= 100 + 5


@pytest.mark.looptime
async def test_lookup_beside_full_slots(sieve: FakeSieve) -> None:
    """A lookup waits its turn and not longer, though thousands of looks want the same slots."""
    ids = [sieve.add_job(processing=600) for _ in range(3000)]
    sieve.add_job("other")
    sieve.fault(delay=0.5)
    async with limited(sieve, None, slots=4) as client, client.as_completed(ids):
        await asyncio.sleep(3.1)
        for _ in range(5):
            asked = now()
            await client.get_job("other")
            assert now() - asked <= 1.1
        assert len(asyncio.all_tasks()) <= 20


@pytest.mark.looptime
@pytest.mark.parametrize("pause", [1, 5, 60])
async def test_server_asks_for_a_pause(sieve: FakeSieve, client: SieveClient, pause: int) -> None:
    """After a 429 nobody asks until its ``Retry-After`` is over, and then at the rate allowed."""
    ids = [sieve.add_job(processing=30) for _ in range(300)]

    waiting = asyncio.create_task(client.wait_for_jobs(ids))
    await asyncio.sleep(7)
    sieve.fault(times=1, status=429, retry_after=pause)
    outcomes = await waiting

    [told] = [entry.at for entry in sieve.requests if entry.status == 429]
    times = [entry.at for entry in sieve.requests]
    during = [at for at in times if told + 0.1 < at < told + pause]
    assert all(outcome.ok for outcome in outcomes)
    assert during == []
    assert max_per_second(times) <= 100


@pytest.mark.looptime
async def test_server_always_asks_for_a_pause(sieve: FakeSieve, client: SieveClient) -> None:
    """While the server has nothing but 429 to say, few requests go, and all end with the truth."""
    policy = PollPolicy(outage_timeout=300)
    ids = [f"job-{number}" for number in range(200)]
    sieve.fault(status=429, retry_after=30)

    outcomes = await client.wait_for_jobs(ids, polling=policy)

    assert ids_of(outcomes) == ids
    assert all(isinstance(outcome.error, RateLimitError) for outcome in outcomes)
    assert max_per_second([entry.at for entry in sieve.requests]) <= 100
