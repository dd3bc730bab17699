"""Watching many jobs by reading lists of those that run, against a real server in virtual time."""

import asyncio

import pytest

from helpers.asserts import max_per_second
from helpers.http_helpers import now
from sieve_async import InvalidArgumentError, JobOutcome, Limits, NotFoundError, SieveClient
from sieve_async.testing import FakeSieve

LIST = "/v2/jobs"


def data_of(outcome: JobOutcome) -> list[object]:
    """What the outputs of a finished job hold."""
    return [getattr(output, "data", None) for output in outcome.result().outputs]


@pytest.mark.looptime
async def test_ended_before(sieve: FakeSieve, client: SieveClient) -> None:
    """Jobs that ended before the start are delivered soon, whichever way they ended."""
    ends = {"good": "finished", "bad": "error", "gone": "cancelled"}
    for job_id, end in ends.items():
        sieve.add_job(job_id, status=end, outputs=["x"])  # type: ignore[arg-type] # three of them
    ids = [*ends, *(sieve.add_job(outputs=[n]) for n in range(97))]

    outcomes = await client.wait_for_jobs(ids, strategy="list")

    assert [outcome.job_id for outcome in outcomes] == ids
    assert [str(outcome.job and outcome.job.status) for outcome in outcomes[:3]] == [*ends.values()]
    assert all(outcome.ok for outcome in outcomes[3:])
    assert sieve.requests.total <= 110
    assert now() <= 3


@pytest.mark.looptime
@pytest.mark.parametrize("number", [0, 1, 2, 3])
async def test_few(sieve: FakeSieve, client: SieveClient, number: int) -> None:
    """A few jobs are watched no worse than by polls."""
    ids = [sieve.add_job(processing=100) for _ in range(number)]

    outcomes = await client.wait_for_jobs(ids, strategy="list")

    assert [outcome.ok for outcome in outcomes] == [True] * number
    assert now() <= 115
    assert sieve.requests.total <= 80 * number


@pytest.mark.looptime
async def test_not_found_and_unusable(sieve: FakeSieve, client: SieveClient) -> None:
    """What is wrong with one job is its own outcome, and disturbs no other."""
    ids = [sieve.add_job(processing=20) for _ in range(10)]

    outcomes = await client.wait_for_jobs([*ids, "missing", "a/b", ids[0]], strategy="list")

    assert all(outcome.ok for outcome in (*outcomes[:10], outcomes[-1]))
    assert isinstance(outcomes[10].error, NotFoundError)
    assert isinstance(outcomes[11].error, InvalidArgumentError)
    assert sieve.requests_for("missing") == 1


@pytest.mark.looptime
async def test_vanishing(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that vanishes is not found in the end, once that was confirmed; the others go on."""
    ids = [sieve.add_job(processing=200) for _ in range(10)]

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(client.wait_for_jobs(ids, strategy="list"))
        await asyncio.sleep(50)
        sieve.remove_job(ids[4])
    outcomes = waiting.result()

    assert isinstance(outcomes.pop(4).error, NotFoundError)
    assert all(outcome.ok for outcome in outcomes)
    assert 3 <= sieve.requests_for(ids[4]) <= 6


@pytest.mark.looptime
async def test_needles_in_a_haystack(sieve: FakeSieve, client: SieveClient) -> None:
    """A few watched jobs among thousands that run do not have all pages read each time."""
    old = [sieve.add_job(processing=300) for _ in range(5)]
    for _ in range(6000):
        sieve.add_job(processing=3600)

    outcomes = await client.wait_for_jobs(old, strategy="list")

    assert all(outcome.ok for outcome in outcomes)
    assert sieve.requests.by_path[LIST] <= 60
    assert sieve.requests.total <= 5 * 110 * 1.5


@pytest.mark.looptime
async def test_jobs_end_while_pages_are_read(sieve: FakeSieve) -> None:
    """Pages that shift while they are read cost requests, never a wrong or a lost outcome."""
    processing = {f"j{n}": 1 + (n * 7919) % 977 / 9 for n in range(3000)}
    for job_id, seconds in processing.items():
        sieve.add_job(job_id, queued=seconds / 3, processing=seconds, outputs=[job_id])
    ends: dict[str, float] = {}

    limits = Limits(polls_per_second=40)
    async with (
        SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client,
        client.as_completed(processing, strategy="list") as outcomes,
    ):
        async for outcome in outcomes:
            assert outcome.job_id not in ends
            assert data_of(outcome) == [outcome.job_id]
            ends[outcome.job_id] = now()

    assert ends.keys() == processing.keys()
    assert all(at >= processing[job_id] for job_id, at in ends.items())
    assert sieve.requests.total <= 3000 * 1.5
    assert max_per_second([entry.at for entry in sieve.requests]) <= 40


@pytest.mark.looptime
async def test_rate_counts_pages(sieve: FakeSieve) -> None:
    """``polls_per_second`` binds pages and looks together, and lets the watch get on."""
    ids = [sieve.add_job(processing=10 + n / 50) for n in range(2000)]

    limits = Limits(polls_per_second=10)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        outcomes = await client.wait_for_jobs(ids, strategy="list")

    assert all(outcome.ok for outcome in outcomes)
    assert max_per_second([entry.at for entry in sieve.requests]) <= 10
    assert now() <= 2000 / 10 * 1.5 + 20
