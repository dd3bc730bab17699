"""The fake server's clock, when it stands still until a test puts it forward."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from helpers.http_helpers import Get, duration_between, wait_until_in_flight
from helpers.leak_checks import KEY
from sieve_async.testing import FakeSieve
from sieve_async.testing.clock import Clock, Timers


@pytest.fixture
async def sieve() -> AsyncIterator[FakeSieve]:
    """A running server whose clock stands still."""
    async with FakeSieve(api_key=KEY, clock="manual") as server:
        yield server


@pytest.mark.looptime
async def test_time_stands_still(sieve: FakeSieve, get: Get) -> None:
    """Timelines continue when the clock is advanced, and only then, also during an outage."""
    sieve.add_job("j", queued=60, processing=3600)
    seen = [await get("/v2/jobs/j")]
    for seconds in (59, 1, 3599.5, 0, 0.5):
        await sieve.stop()
        await asyncio.sleep(10)
        sieve.advance(seconds)
        await sieve.start()
        seen.append(await get("/v2/jobs/j"))
    words = ["queued", "queued", "processing", "processing", "processing", "finished"]
    assert [job["status"] for job in seen] == words
    assert duration_between(seen[-1], "created_at", "completed_at") == timedelta(seconds=3660)
    assert [entry.at for entry in sieve.requests] == [0, 59, 60, 3659.5, 3659.5, 3660]


@pytest.mark.looptime
async def test_holds_are_answered_when_time_passes(sieve: FakeSieve, get: Get) -> None:
    """Each hold waits for the clock to pass its end or its limit, and not for the loop's."""
    sieve.add_job("short", processing=30)
    sieve.add_job("long", processing=700)
    short, long = [
        asyncio.ensure_future(get(f"/v2/jobs/{name}/await")) for name in ("short", "long")
    ]
    await wait_until_in_flight(sieve, 2)
    await asyncio.sleep(100)
    sieve.advance(29)
    await asyncio.sleep(1)
    early = short.done()
    sieve.advance(1)
    ended = await short
    sieve.advance(569)
    await asyncio.sleep(1)
    late = long.done()
    sieve.advance(1)
    refused = await long
    assert (early, ended["status"], late, refused["http"]) == (False, "finished", False, 408)
    assert [entry.took for entry in sieve.requests] == [30, 600]
    assert not sieve._timers._pending  # nothing of them is left


@pytest.mark.looptime
@pytest.mark.parametrize("steps", [[15.0], [4.0, 7.0, 4.0]])
async def test_slow_answers_follow_the_clock_by_hand(
    sieve: FakeSieve, get: Get, steps: list[float]
) -> None:
    """An answer that is late and slow is whole when its time is over, in however many steps."""
    sieve.add_job("j", outputs=["x" * 1000])
    sieve.fault(delay=5, slow_body=10)
    waiting = asyncio.ensure_future(get("/v2/jobs/j"))
    await wait_until_in_flight(sieve)
    whole = []
    for seconds in steps:
        sieve.advance(seconds)
        await asyncio.wait([waiting], timeout=0.1)
        whole.append(waiting.done())
    assert whole == [False] * (len(steps) - 1) + [True]
    assert (await waiting)["status"] == "finished"


def test_timer_cancels_another() -> None:
    """Timers that are passed together are called in order, but for one that was canceled."""
    timers = Timers(Clock(is_manual=True))
    called: list[str] = []
    late = timers.call_at(3, lambda: called.append("late"))

    def second() -> None:
        called.append("second")
        late()

    timers.call_at(2, second)
    timers.call_at(1, lambda: called.append("first"))

    timers.advance(5)

    assert called == ["first", "second"]
    assert not timers._pending
