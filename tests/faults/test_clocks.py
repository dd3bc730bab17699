"""Wall clocks that jump, pauses of an hour, dead pooled connections, and waits of a day."""

import asyncio
import gc
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.http_helpers import now
from sieve_async import Job, PollPolicy, SieveClient, WaitTimeoutError
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

DAY = 86_400.0


@pytest.fixture(params=[1e9, -1e9], ids=["forward", "back"])
def wall_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A wall clock that jumps by 30 years at each reading."""
    real, jumps = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + request.param * (next(jumps) % 2))
    yield
    assert next(jumps) > 0


@pytest.mark.usefixtures("wall_clock")
@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_local_clock_that_jumps(sieve: FakeSieve, strategy: Any) -> None:
    """No interval, deadline or retry depends on the wall clock."""
    sieve.add_job("soon", queued=20, processing=40, outputs=[1, 2], streams=True)
    sieve.add_job("late", processing=4000)
    failing = sieve.fault(status=500, probability=0.3, seed=1)
    async with SieveClient(sieve.api_key, base_url=sieve.url) as client:
        began = now()
        streaming = client.stream_outputs("soon", timeout=300)
        watching = client.as_completed(["soon", "late"], timeout=600, strategy=strategy)
        asyncio.get_running_loop().call_later(60, failing.remove)
        found = {outcome.job_id: (outcome, now() - began) async for outcome in watching}
        sieve.fault(status=500, times=2)  # the third attempt succeeds
        assert len([output async for output in streaming]) == 2
    (soon, soon_at), (late, late_at) = found["soon"], found["late"]
    assert soon.result().succeeded
    assert 60 <= soon_at <= 122  # a poll that fails is repeated after a minute at the most
    assert isinstance(late.error, WaitTimeoutError)
    assert 600 <= late_at <= 600.1


async def test_waits_of_a_day(sieve: FakeSieve, caplog: pytest.LogCaptureFixture) -> None:
    """Waits of a day need few polls and constant memory."""
    caplog.set_level(logging.INFO)  # caplog keeps a record of each request
    job_id, held = (sieve.add_job(processing=DAY, outputs=["x"]) for _ in range(2))
    slow = PollPolicy(max_interval=600)
    async with SieveClient(sieve.api_key, base_url=sieve.url, polling=slow) as client:
        waits: list[asyncio.Task[Any]] = [
            asyncio.create_task(client.wait_for_job(job_id)),
            asyncio.create_task(client.wait_for_job(held, strategy="long_poll")),
            asyncio.create_task(client.wait_for_jobs([job_id])),
            asyncio.create_task(client.wait_for_jobs([job_id], strategy="list")),
        ]
        await asyncio.sleep(DAY / 8)
        before = object_count(sieve)
        await asyncio.sleep(DAY * 3 / 4)
        after = object_count(sieve)
        results = await asyncio.gather(*waits)
    assert {type(each) for each in results[:2]} == {Job}
    assert now() <= DAY + 751
    assert after - before <= 500  # after 1,400 polls
    assert sieve.requests_for(held) <= DAY / 60  # a long poll lasts at most a minute
    # Three waits, each at the shortest intervals that the jitter allows: 27 polls 0.375 s apart,
    # 193 with intervals of 3.75 % of the time since the start, and 166 polls 450 s apart.
    assert sieve.requests_for(job_id) <= 3 * (27 + 193 + 166 + 1)


def object_count(sieve: FakeSieve) -> int:
    """The number of objects, without the request log of the server."""
    sieve.requests._entries.clear()
    gc.collect()
    return len(gc.get_objects())
