"""Fault classes J and L: time in which nobody asked is no outage."""

import asyncio
from typing import Any

import pytest

from helpers.http_helpers import now
from sieve_async import PollPolicy, SieveClient, SieveError
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

IMPATIENT = PollPolicy(outage_timeout=300)


@pytest.mark.parametrize("busy", [299.0, 301.0, 100_000.0])
async def test_busy_with_an_output(sieve: FakeSieve, client: SieveClient, busy: float) -> None:
    """A look that fails after its caller was busy for long is one failed look, and ends nothing."""
    job = sieve.job(sieve.add_job(by="manual"))
    job.start()
    job.yield_output("first")
    found = []

    async for output in client.stream_outputs(job.id, polling=IMPATIENT):
        found.append(output)
        if len(found) == 1:
            await asyncio.sleep(busy)
            job.yield_output("second")
            job.finish()
            sieve.fault(status=503, times=4)  # the look and its retries, and one more

    assert [getattr(output, "data", None) for output in found] == ["first", "second"]


@pytest.mark.parametrize("watches", [False, True], ids=["one", "many"])
async def test_held_for_long(sieve: FakeSieve, client: SieveClient, *, watches: bool) -> None:
    """Nor is it an outage when a request was held for long, is cut, and the next look fails."""
    job_id = sieve.add_job(processing=1000)
    how: dict[str, Any] = {"polling": IMPATIENT, "strategy": "long_poll"}

    async def wait() -> str:
        if watches:
            (outcome,) = await client.wait_for_jobs([job_id], **how)
            return outcome.result().status
        return (await client.wait_for_job(job_id, **how)).status

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(500)
    await sieve.stop()
    await asyncio.sleep(10)
    await sieve.start()

    assert await waiting == "finished"
    assert now() <= 1070


async def test_outage_that_begins_in_the_gap(sieve: FakeSieve, client: SieveClient) -> None:
    """An outage ends a wait all the same, as long after it was noticed as is put up with."""
    job_id = sieve.add_job(processing=1000, outputs=["first"], streams=True, status="error")
    job = sieve.job(sieve.add_job(by="manual"))
    job.start()
    job.yield_output("first")
    outputs = client.stream_outputs(job.id, polling=IMPATIENT)
    await anext(outputs)
    waiting = asyncio.create_task(
        client.wait_for_job(job_id, polling=IMPATIENT, strategy="long_poll")
    )
    await asyncio.sleep(500)
    await sieve.stop()

    with pytest.raises(SieveError, match="cannot connect"):
        await waiting
    took = now() - 500
    asked_at = now()
    with pytest.raises(SieveError, match="cannot connect"):
        await anext(outputs)

    assert took == pytest.approx(300, abs=15)
    assert now() - asked_at == pytest.approx(300, abs=15)


async def test_pause_that_another_call_was_told(sieve: FakeSieve, client: SieveClient) -> None:
    """After a long pause, which all keep, one list that fails does not end all watches."""
    ids = [sieve.add_job(f"job-{number}", processing=3000) for number in range(20)]
    watching = asyncio.create_task(client.wait_for_jobs(ids, strategy="list"))
    await asyncio.sleep(100)
    sieve.fault(status=503, retry_after=2000, job="another", times=1)
    with pytest.raises(SieveError, match="503"):
        await client.get_job("another")
    sieve.fault(path="/v2/jobs", status=503, times=1)

    outcomes = await watching

    assert [outcome.ok for outcome in outcomes] == [True] * 20
