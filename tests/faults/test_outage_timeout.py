"""``PollPolicy.outage_timeout``: time without polls is not an outage."""

import asyncio

import pytest

from helpers.http_helpers import now
from helpers.waits import ends_of
from sieve_async import PollPolicy, SieveClient, SieveError
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

POLICY = PollPolicy(outage_timeout=300)


async def test_busy_caller_of_a_stream(sieve: FakeSieve, client: SieveClient) -> None:
    """A failed poll after a busy time is one failed poll; the outage counts from the next one."""
    job = sieve.job(sieve.add_job(by="manual"))
    job.start()
    job.yield_output("first")
    async with client.stream_outputs(job.id, polling=POLICY) as outputs:
        await anext(outputs)
        await asyncio.sleep(100_000)
        job.yield_output("second")
        sieve.fault(status=503, times=4)  # one poll with its retries, and one request more
        await anext(outputs)
        await sieve.stop()
        await asyncio.sleep(1000)
        began = now()
        with pytest.raises(SieveError, match="cannot connect"):
            await anext(outputs)
    assert now() - began == pytest.approx(300, abs=15)


@pytest.mark.parametrize("kind", ["job, long_poll", "jobs, long_poll"])
@pytest.mark.parametrize("is_lasting", [False, True], ids=["short", "lasting"])
async def test_outage_during_a_long_poll(
    sieve: FakeSieve, client: SieveClient, kind: str, *, is_lasting: bool
) -> None:
    """An outage of some seconds is none; a longer one ends the wait after the outage timeout."""
    job_id = sieve.add_job(processing=1000)
    waiting = asyncio.create_task(ends_of(client, kind, [job_id], polling=POLICY))
    await asyncio.sleep(500)
    await sieve.stop()
    if is_lasting:
        [error] = await waiting
        assert "cannot connect" in str(error)
        assert 200 <= now() - 500 <= 315
        return
    await asyncio.sleep(10)
    await sieve.start()
    [job] = await waiting
    assert job.succeeded
    assert now() <= 1070


async def test_long_pause(sieve: FakeSieve, client: SieveClient) -> None:
    """After a pause that another call has caused, one failed list does not end a watch."""
    ids = [sieve.add_job(f"job-{number}", processing=2500) for number in range(5)]
    watching = asyncio.create_task(client.wait_for_jobs(ids, strategy="list"))
    await asyncio.sleep(100)
    sieve.fault(status=503, retry_after=2000, job="another", times=1)
    with pytest.raises(SieveError, match="503"):
        await client.get_job("another")
    sieve.fault(path="/v2/jobs", status=503, times=1)
    outcomes = await watching
    assert [outcome.ok for outcome in outcomes] == [True] * 5
