"""The rules of ``strategy="list"`` that bound its cost and its delay."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from helpers.http_helpers import now
from sieve_async import PollPolicy, SieveClient
from sieve_async.testing import FakeSieve, LoggedRequest

pytestmark = pytest.mark.looptime


def is_list(request: LoggedRequest) -> bool:
    """Whether a page of jobs was asked for."""
    return request.path == "/v2/jobs"


async def test_lists_that_cost_too_much_are_off_for_ten_minutes(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """Among thousands of other jobs two are polled; lists are tried again every ten minutes."""
    for _ in range(1000):
        sieve.add_job(processing=1e6)
    ids = [sieve.add_job(processing=1900) for _ in range(2)]
    outcomes = await client.wait_for_jobs(ids, strategy="list")
    assert all(outcome.ok for outcome in outcomes)
    rounds: list[float] = []
    for request in filter(is_list, sieve.requests):
        if not rounds or request.at - rounds[-1] > 60:
            rounds.append(request.at)
    assert 3 <= len(rounds) <= 4
    assert all(600 <= later - earlier <= 620 for earlier, later in pairwise(rounds))


@pytest.mark.parametrize(("count", "pause", "delay"), [(20, 0.02, 0.01), (100, 0.2, 0.5)])
async def test_ids_that_come_little_by_little(
    sieve: FakeSieve, client: SieveClient, count: int, pause: float, delay: float
) -> None:
    """The first round waits for the ids that are still to come, and counts those that come then."""
    sieve.fault(path="/v2/jobs", delay=delay)
    ids = [sieve.add_job(processing=60) for _ in range(400)]

    async def source() -> AsyncIterator[str]:
        for number, job_id in enumerate(ids, 1):
            yield job_id
            if number % count == 0:
                await asyncio.sleep(pause)

    outcomes = await client.wait_for_jobs(source(), strategy="list")
    assert all(outcome.ok for outcome in outcomes)
    polls = [request for request in sieve.requests if not is_list(request)]
    assert len(polls) < 4 * len(ids)  # by polls alone it is more than 20 for each job


async def test_round_that_costs_too_much_stops(sieve: FakeSieve, client: SieveClient) -> None:
    """A round stops when it has read twice the bytes of one poll of each job."""
    for _ in range(1500):
        sieve.add_job(processing=1e6)
    ids = [sieve.add_job(processing=30) for _ in range(10)]
    outcomes = await client.wait_for_jobs(ids, strategy="list")
    assert all(outcome.ok for outcome in outcomes)
    assert len([request for request in sieve.requests if is_list(request)]) <= 2


async def test_new_jobs_wait_three_seconds_for_their_first_round(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """A new job is seen after three seconds at the most, however rare the rounds are."""
    old = [sieve.add_job(processing=3000) for _ in range(20)]
    sieve.add_job("new", status="finished")

    async def ids() -> AsyncIterator[str]:
        for job_id in old:
            yield job_id
        await asyncio.sleep(130)
        yield "new"

    rare = PollPolicy(min_interval=60, max_interval=60, growth=0, jitter=0)
    async with client.as_completed(ids(), strategy="list", polling=rare) as outcomes:
        first = await anext(outcomes)
    assert first.job_id == "new"
    assert 130 <= now() <= 133.5


async def test_rounds_follow_the_poll_interval(sieve: FakeSieve) -> None:
    """A round follows the last at the mean poll interval of the listed jobs."""
    policy = PollPolicy(min_interval=7, max_interval=7, growth=0, jitter=0)
    ids = [sieve.add_job(processing=300) for _ in range(50)]
    async with SieveClient(sieve.api_key, base_url=sieve.url, polling=policy) as client:
        await client.wait_for_jobs(ids, strategy="list")
    pages = [request.at for request in sieve.requests if is_list(request)]
    gaps = [later - earlier for earlier, later in pairwise(pages) if later - earlier > 1]
    assert len(gaps) > 30
    assert all(gap == pytest.approx(7, abs=0.1) for gap in gaps)


async def test_missing_jobs_are_polled_once(sieve: FakeSieve, client: SieveClient) -> None:
    policy = PollPolicy(min_interval=20, max_interval=20, growth=0, jitter=0)
    listed, lost = ([sieve.add_job(processing=300) for _ in range(10)] for _ in range(2))
    for ids_of_rows, pages in ((listed + lost, 2), (listed, None)):
        rows = [{"id": job_id, "status": "processing"} for job_id in ids_of_rows]
        sieve.fault(path="/v2/jobs", body={"data": rows, "next_offset": -1}, times=pages)

    async def ids() -> AsyncIterator[str]:
        for job_id in (*listed, *lost):
            yield job_id
        for _ in range(30):
            await asyncio.sleep(4)
            yield sieve.add_job(status="finished")  # each begins a round

    outcomes = await client.wait_for_jobs(ids(), strategy="list", polling=policy)
    assert all(outcome.ok for outcome in outcomes)
    assert len(outcomes) == 50
    assert all(sieve.requests_for(job_id) <= 300 / 20 + 3 for job_id in lost)


async def test_round_that_fails_says_nothing(sieve: FakeSieve) -> None:
    """Jobs that a broken round does not list are not missing: they are polled when they are due."""
    policy = PollPolicy(min_interval=20, max_interval=20, growth=0, jitter=0)
    ids = [sieve.add_job(processing=300) for _ in range(20)]
    async with (
        SieveClient(sieve.api_key, base_url=sieve.url, polling=policy) as client,
        client.as_completed(ids, strategy="list"),
    ):
        await asyncio.sleep(10)
        sieve.fault(path="/v2/jobs", status=400)
        await asyncio.sleep(15)
        lists = list(filter(is_list, sieve.requests))
        assert max(request.at for request in lists) == pytest.approx(20, abs=0.5)
        assert len(lists) == len(sieve.requests)
        await asyncio.sleep(10)  # 1.5 intervals and 1 s after the list that showed them
        assert len(sieve.requests) >= len(lists) + len(ids)


async def test_offset_that_does_not_grow(sieve: FakeSieve, client: SieveClient) -> None:
    """A list whose next page is always the same one is read once."""
    ids = [sieve.add_job(processing=10) for _ in range(20)]
    sieve.fault(path="/v2/jobs", body={"data": [], "next_offset": 500})
    outcomes = await client.wait_for_jobs(ids, strategy="list")
    assert all(outcome.ok for outcome in outcomes)
    assert len([request for request in sieve.requests if is_list(request)]) <= 4
