"""Requests that the fake server holds until a job ends."""

import asyncio
import math
from collections.abc import AsyncIterator

import aiohttp
import pytest

from helpers.http_helpers import Document, Get, now, output_data, wait_until_in_flight
from sieve_async.testing import FakeSieve

NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


@pytest.fixture
async def session(sieve: FakeSieve) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client that waits for its answers as long as it takes."""
    key = {"X-API-Key": sieve.api_key}
    async with aiohttp.ClientSession(sieve.url, headers=key, timeout=NO_TIMEOUT) as opened:
        yield opened


@pytest.mark.looptime
async def test_running_job_is_answered_when_it_ends(sieve: FakeSieve, get: Get) -> None:
    """The answer comes at the very moment of the end, and is the one that lookups get."""
    sieve.add_job("j", queued=2, processing=7, outputs=["a", "b"], restarts=1)
    seen = await get("/v2/jobs/j/await?offset=1")
    after = [await get(f"/v2/jobs/j{end}?offset=1") for end in ("", "/await")]
    assert (now(), seen["status"], output_data(seen)) == (16, "finished", ["b"])
    assert after == [seen, seen]


@pytest.mark.looptime(start=1e6 / 3)
@pytest.mark.parametrize(
    ("speed", "processing"), [(1.0, 1 / 3), (3.0, 0.1), (0.7, 86_400.1), (1e5, 86_400.1)]
)
async def test_rounding_does_not_matter(speed: float, processing: float) -> None:
    """At whatever speed and hour, the job has ended when the answer comes, for lookups too."""
    async with (
        FakeSieve(speed=speed, max_await=1e6) as sieve,
        aiohttp.ClientSession(sieve.url, timeout=NO_TIMEOUT) as session,
    ):
        await asyncio.sleep(0.1)
        sieve.add_job("j", queued=0.2, processing=processing)
        started = now()
        statuses = []
        for path in ("/v2/jobs/j/await", "/v2/jobs/j"):
            async with session.get(path, headers={"X-API-Key": sieve.api_key}) as response:
                statuses.append((await response.json())["status"])
    assert statuses == ["finished", "finished"]
    assert (now() - started) * speed == pytest.approx(0.2 + processing, abs=3e-6 * speed)


@pytest.mark.looptime
async def test_timer_decides_that_it_is_time() -> None:
    """A timer sets a clock that lags behind the loop's, for lookups too."""
    sieve = FakeSieve(clock=lambda: now() * 0.99, max_await=50, speed=10)
    sieve.add_job("j", processing=40)
    sieve.add_job("endless", status=None)
    key = {"X-API-Key": sieve.api_key}
    async with sieve, aiohttp.ClientSession(sieve.url, headers=key) as session:
        statuses = []
        for path in ("/v2/jobs/j/await", "/v2/jobs/j"):
            async with session.get(path) as response:
                statuses.append((await response.json())["status"])
        ended_at = now()
        async with session.get("/v2/jobs/endless/await") as response:
            assert response.status == 408
    assert (statuses, ended_at) == (["finished", "finished"], 4)
    assert now() == pytest.approx(9, abs=0.1)


@pytest.mark.looptime
@pytest.mark.parametrize(
    "script", [{"queued": math.inf}, {"processing": 601}, {"status": None, "by": "polls"}]
)
async def test_ten_minutes_are_the_limit(sieve: FakeSieve, get: Get, script: Document) -> None:
    """An await of a job that runs for longer, or forever, is answered with 408."""
    sieve.add_job("j", **script)
    sieve.add_job("just", processing=600)
    refused, just = await asyncio.gather(get("/v2/jobs/j/await"), get("/v2/jobs/just/await"))
    assert refused == {"detail": "Request timeout.", "http": 408}
    assert (just["status"], now()) == ("finished", 600)


@pytest.mark.looptime
@pytest.mark.parametrize("other", ["/v2/jobs/j", "/v2/jobs/j/await"])
async def test_job_by_polls_is_ended_by_another_poll(
    sieve: FakeSieve, get: Get, other: str
) -> None:
    """An await is one poll, and is answered when another poll ends the job."""
    sieve.add_job("j", queued=1, processing=1, by="polls", outputs=["a"])
    waiting = asyncio.ensure_future(get("/v2/jobs/j/await"))
    await wait_until_in_flight(sieve)
    await asyncio.sleep(60)
    between = await get("/v2/jobs/j")
    await asyncio.sleep(60)
    last = await get(other)
    seen = await waiting
    assert (between["status"], seen["status"]) == ("processing", "finished")
    assert (output_data(seen), now()) == (["a"], 120)
    assert seen == last


@pytest.mark.looptime
async def test_removed_job_is_not_found(sieve: FakeSieve, get: Get) -> None:
    """A job that vanishes while it is waited for is gone at once, even when it comes and goes."""
    sieve.add_job("j", status=None)
    waiting = [asyncio.ensure_future(get("/v2/jobs/j/await")) for _ in range(2)]
    await wait_until_in_flight(sieve, 2)
    sieve.remove_job("j")
    sieve.add_job("j")
    sieve.remove_job("j")
    refuseds = await asyncio.gather(*waiting)
    assert refuseds == [{"detail": "Job not found.", "http": 404}] * 2
    assert now() == 0


async def test_stopping_cuts_held_requests(sieve: FakeSieve, get: Get) -> None:
    """They get no answer, nothing waits for them, and no task of theirs is left."""
    sieve.add_job("j", status=None)
    waiting = [asyncio.ensure_future(get("/v2/jobs/j/await")) for _ in range(3)]
    await wait_until_in_flight(sieve, 3)
    async with asyncio.timeout(60):
        await sieve.stop()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(end, aiohttp.ClientConnectionError) for end in ends] == [True] * 3
    assert (sieve.in_flight, [entry.status for entry in sieve.requests]) == (0, [0, 0, 0])


async def test_hold_ends_with_its_connection() -> None:
    """A client that hangs up is waited for no longer, even when there is no limit."""
    sieve = FakeSieve(max_await=math.inf)
    sieve.add_job("j", status=None)
    async with sieve, aiohttp.ClientSession(sieve.url) as session:
        key = {"X-API-Key": sieve.api_key}
        waiting = asyncio.ensure_future(session.get("/v2/jobs/j/await", headers=key))
        await wait_until_in_flight(sieve)
        waiting.cancel()
        async with asyncio.timeout(60):
            while sieve.in_flight:  # noqa: ASYNC110 - nothing reports it
                await asyncio.sleep(0)
    assert sieve.requests[0].status == 0


@pytest.mark.looptime
async def test_holds_end_in_any_order(sieve: FakeSieve, get: Get) -> None:
    """Each of many holds of many jobs is answered at its own moment."""
    for number in range(20):
        sieve.add_job(f"j{number}", processing=20 - number)

    async def ended(number: int) -> float:
        await get(f"/v2/jobs/j{number}/await")
        return now()

    moments = await asyncio.gather(*(ended(number) for number in range(20)))
    assert moments == list(range(20, 0, -1))
    assert not sieve._jobs.waiters._waiting
    assert not sieve._timers._pending


@pytest.mark.looptime
async def test_log_counts_awaits_when_they_arrive(sieve: FakeSieve, get: Get) -> None:
    """An await of a job counts for it at arrival; its status, time and bytes when answered."""
    sieve.add_job("j", processing=9, outputs=["x" * 1000])
    await asyncio.sleep(1)
    waiting = asyncio.ensure_future(get("/v2/jobs/j/await"))
    await wait_until_in_flight(sieve)
    await asyncio.sleep(0)
    [early] = sieve.requests
    before = (sieve.requests_for("j"), sieve.bytes_for("j"), early.status, early.took)
    await get("/v2/jobs/j?offset=1")
    by_lookups = sieve.bytes_for("j")
    await waiting
    first, second = sieve.requests
    assert before == (1, 0, 0, 0.0)
    assert (sieve.requests_for("j"), sieve.max_in_flight) == (2, 2)
    assert sieve.requests.by_path == {"/v2/jobs/j/await": 1, "/v2/jobs/j": 1}
    assert (first.at, first.took, first.status, second.at, second.took) == (1, 8, 200, 1, 0)
    assert by_lookups == second.body_bytes
    assert sieve.bytes_for("j") == first.body_bytes + second.body_bytes
    assert first.body_bytes > second.body_bytes + 1000
