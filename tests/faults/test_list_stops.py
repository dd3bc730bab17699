"""How sweeps stop: by a deadline, by the caller, by a key that is refused."""

import asyncio

import pytest

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from sieve_async import (
    AuthenticationError,
    ClientClosedError,
    JobOutcome,
    JobStatus,
    SieveClient,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve


@pytest.mark.looptime
async def test_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """At the deadline each job that runs has an outcome that holds what was seen last."""
    waiting = [sieve.add_job(queued=20, processing=3600) for _ in range(50)]
    ended = [sieve.add_job(processing=59) for _ in range(3)]

    outcomes = await client.wait_for_jobs([*waiting, *ended], strategy="list", timeout=60)

    assert 60 - 0.01 <= now() <= 60.1
    assert all(outcome.ok for outcome in outcomes[50:])
    for outcome in outcomes[:50]:
        assert isinstance(outcome.error, WaitTimeoutError)
        assert outcome.error.last is not None
        assert outcome.error.last_status == JobStatus.PROCESSING


@pytest.mark.looptime
@pytest.mark.parametrize("seconds", [0.03, 0.05, 0.1, 0.5])
async def test_short_deadlines(sieve: FakeSieve, client: SieveClient, seconds: float) -> None:
    """The first poll is immediate: what has ended is delivered, however short the time."""
    ids = [sieve.add_job() for _ in range(3)]

    outcomes = await client.wait_for_jobs(ids, strategy="list", timeout=seconds)

    assert [outcome.ok for outcome in outcomes] == [True] * 3


@pytest.mark.looptime
async def test_one_look(sieve: FakeSieve, client: SieveClient) -> None:
    """A timeout of zero is exactly one look at each."""
    ids = [sieve.add_job(processing=n % 2 * 100) for n in range(20)]

    outcomes = await client.wait_for_jobs(ids, strategy="list", timeout=0)

    assert [outcome.ok for outcome in outcomes] == [True, False] * 10
    assert {type(outcome.error) for outcome in outcomes} == {type(None), WaitTimeoutError}
    assert [sieve.requests_for(job_id) for job_id in ids] == [1] * 20


@pytest.mark.looptime
@pytest.mark.parametrize("how", ["break", "cancel", "drop"])
async def test_stopping(sieve: FakeSieve, client: SieveClient, how: str) -> None:
    """Leaving by ``break``, cancelling and dropping the iterator each stop the sweeps."""
    ids = [sieve.add_job(processing=3600) for _ in range(1200)]
    first = sieve.add_job(processing=10)

    async def watch() -> None:
        outcomes = client.as_completed([*ids, first], strategy="list")
        if how == "drop":
            await anext(outcomes)
            return
        async with outcomes:
            async for outcome in outcomes:
                assert outcome.job_id == first
                if how == "break":
                    break

    task = asyncio.create_task(watch())
    if how == "cancel":
        await asyncio.sleep(15)
        task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() == (how == "cancel")
    await asyncio.sleep(0.1)
    asked = sieve.requests.total
    await asyncio.sleep(100)

    assert sieve.requests.total == asked
    assert (client.stats.in_flight, client.stats.waits) == (0, 0)


@pytest.mark.looptime
async def test_closing(sieve: FakeSieve, client: SieveClient) -> None:
    """Closing the client ends all with ``ClientClosedError``, at once."""
    ids = [sieve.add_job(processing=3600) for _ in range(100)]

    async def gather() -> list[JobOutcome]:
        return await client.wait_for_jobs(ids, strategy="list")

    waiting = asyncio.create_task(gather())
    await asyncio.sleep(20)
    await client.close()
    outcomes = await waiting

    assert {type(outcome.error) for outcome in outcomes} == {ClientClosedError}
    assert now() == pytest.approx(20, abs=0.01)


@pytest.mark.looptime
@pytest.mark.parametrize("revoked_at", [0, 30])
async def test_refused_key(revoked_at: float) -> None:
    """A key that is refused ends all with ``AuthenticationError``, soon."""
    async with FakeSieve(api_key=KEY) as sieve, SieveClient(KEY, base_url=sieve.url) as client:
        ids = [sieve.add_job(processing=3600) for _ in range(100)]
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(client.wait_for_jobs(ids, strategy="list"))
            if revoked_at:
                await asyncio.sleep(revoked_at)
            sieve.revoke_key()

    assert {type(outcome.error) for outcome in waiting.result()} == {AuthenticationError}
    assert now() <= revoked_at + 20
