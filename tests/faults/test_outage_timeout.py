"""``PollPolicy.outage_timeout``: time without polls is not an outage."""

import asyncio
from typing import Any

import pytest

from helpers.http_helpers import now
from sieve_async import PollPolicy, SieveClient, SieveError
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

POLICY = PollPolicy(outage_timeout=300)


@pytest.mark.parametrize("busy", [299.0, 301.0, 100_000.0])
async def test_busy_caller_of_a_stream(sieve: FakeSieve, client: SieveClient, busy: float) -> None:
    """A poll that fails after its caller was busy is one failed poll, and does not end a stream."""
    job = sieve.job(sieve.add_job(by="manual"))
    job.start()
    job.yield_output("first")
    found = []

    async for output in client.stream_outputs(job.id, polling=POLICY):
        found.append(output)
        if len(found) == 1:
            await asyncio.sleep(busy)
            job.yield_output("second")
            job.finish()
            sieve.fault(status=503, times=4)  # one poll with its retries, and one request more

    assert [getattr(output, "data", None) for output in found] == ["first", "second"]


@pytest.mark.parametrize("is_watch", [False, True], ids=["wait", "watch"])
async def test_long_poll_that_is_cut(
    sieve: FakeSieve, client: SieveClient, *, is_watch: bool
) -> None:
    """A server that was away for some seconds during a long poll is not an outage."""
    job_id = sieve.add_job(processing=1000)
    settings: dict[str, Any] = {"polling": POLICY, "strategy": "long_poll"}

    async def wait() -> str:
        if is_watch:
            (outcome,) = await client.wait_for_jobs([job_id], **settings)
            return outcome.result().status
        return (await client.wait_for_job(job_id, **settings)).status

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(500)
    await sieve.stop()
    await asyncio.sleep(10)
    await sieve.start()

    assert await waiting == "finished"
    assert now() <= 1070


async def test_outage_during_a_long_poll(sieve: FakeSieve, client: SieveClient) -> None:
    """An outage ends a wait so many seconds after the last valid response."""
    job_id = sieve.add_job(processing=1000)
    waiting = asyncio.create_task(client.wait_for_job(job_id, polling=POLICY, strategy="long_poll"))
    await asyncio.sleep(500)
    await sieve.stop()

    with pytest.raises(SieveError, match="cannot connect"):
        await waiting

    assert 200 <= now() - 500 <= 315


async def test_outage_while_the_caller_of_a_stream_is_busy(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """The outage counts from the first poll that the caller asks for."""
    job = sieve.job(sieve.add_job(by="manual"))
    job.start()
    job.yield_output("first")
    outputs = client.stream_outputs(job.id, polling=POLICY)
    await anext(outputs)
    await sieve.stop()
    await asyncio.sleep(1000)
    began = now()

    with pytest.raises(SieveError, match="cannot connect"):
        await anext(outputs)

    assert now() - began == pytest.approx(300, abs=15)


async def test_long_pause(sieve: FakeSieve, client: SieveClient) -> None:
    """After a pause that another call has caused, one failed list does not end a watch."""
    ids = [sieve.add_job(f"job-{number}", processing=3000) for number in range(20)]
    watching = asyncio.create_task(client.wait_for_jobs(ids, strategy="list"))
    await asyncio.sleep(100)
    sieve.fault(status=503, retry_after=2000, job="another", times=1)
    with pytest.raises(SieveError, match="503"):
        await client.get_job("another")
    sieve.fault(path="/v2/jobs", status=503, times=1)

    outcomes = await watching

    assert [outcome.ok for outcome in outcomes] == [True] * 20
