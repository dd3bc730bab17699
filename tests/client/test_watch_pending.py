"""What is still watched: for showing how a watch of many jobs gets on."""

import asyncio

import pytest

from sieve_async import JobStatus, SieveClient
from sieve_async.testing import FakeSieve


@pytest.mark.looptime
async def test_still_running(sieve: FakeSieve, client: SieveClient) -> None:
    """Each job that is watched has its last status and since when; those that ended are gone."""
    sieve.add_job("soon", processing=5)
    sieve.add_job("late", queued=60, processing=60)
    outcomes = client.as_completed(["soon", "late"])

    before = outcomes.pending()
    async with outcomes:
        await anext(outcomes)
        await asyncio.sleep(30)
        (late,) = outcomes.pending()
        await anext(outcomes)
        after = outcomes.pending()

    assert (before, after) == ([], [])
    assert (late.job_id, late.status) == ("late", JobStatus.QUEUED)
    assert late.elapsed == pytest.approx(35, abs=2)


@pytest.mark.looptime
async def test_not_seen_yet(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that was not looked at yet has no status."""
    sieve.fault(delay=5)
    sieve.add_job("a")

    async with client.as_completed(["a"]) as outcomes:
        await asyncio.sleep(1)
        running = outcomes.pending()

    assert [(job.job_id, job.status) for job in running] == [("a", None)]
