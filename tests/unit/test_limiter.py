"""`RequestLimiter`: slots in turn, one poll rate, pauses that leave no trace."""

import asyncio
from itertools import pairwise

import pytest

from helpers.asserts import max_per_second
from helpers.http_helpers import now
from sieve_async import ClientClosedError, RateLimitError
from sieve_async.background import Background
from sieve_async.limiter import RequestLimiter

pytestmark = pytest.mark.looptime

REASON = RateLimitError(429, "slow down")


class Times(list[tuple[str, float]]):
    """Who got a slot, and when."""


def make(slots: int = 1, rate: float | None = None) -> RequestLimiter:
    """A limiter of the loop that runs."""
    return RequestLimiter(slots=slots, polls_per_second=rate, background=Background())


async def send(
    limiter: RequestLimiter, times: Times, name: str, *, poll: bool, took: float = 0.0
) -> None:
    """Take a slot, hold it for a while, and note when it came."""
    assert await limiter.acquire(poll=poll)
    times.append((name, now()))
    await asyncio.sleep(took)
    limiter.release()


async def test_slots_in_order_of_arrival() -> None:
    """At most so many are in flight, and those that queue are served in order."""
    limiter, times = make(slots=2), Times()
    await asyncio.gather(*(send(limiter, times, f"{n}", poll=False, took=1) for n in range(6)))
    assert [name for name, _ in times] == ["0", "1", "2", "3", "4", "5"]
    assert [at for _, at in times] == pytest.approx([0, 0, 1, 1, 2, 2])
    assert (limiter.in_flight, limiter.queued) == (0, 0)


async def test_calls_and_polls_take_turns() -> None:
    """When all slots are taken, neither many polls nor many calls starve the others."""
    limiter, times = make(), Times()
    polls = [send(limiter, times, "poll", poll=True, took=1) for _ in range(10)]
    calls = [send(limiter, times, "call", poll=False, took=1) for _ in range(10)]
    await asyncio.gather(*polls, *calls)
    names = [name for name, _ in times]
    assert names[0] == "poll"
    assert all(one != other for one, other in pairwise(names[1:19]))


@pytest.mark.parametrize("rate", [7.0, 100.0])
async def test_rate_in_any_second(rate: float) -> None:
    """Polls that were queued together leave evenly, never more than the rate in any second."""
    limiter, times = make(slots=1000, rate=rate), Times()
    count = int(3 * rate) + 2
    await asyncio.gather(*(send(limiter, times, "", poll=True) for _ in range(count)))
    at = [time for _, time in times]
    assert max_per_second(at) <= rate
    assert count / rate * 0.97 <= at[-1] + 1 / rate <= count / rate * 1.05
    assert min(later - earlier for earlier, later in pairwise(at)) >= 0.5 / rate


async def test_no_burst_after_rest() -> None:
    """Turns that were not used are not made up for."""
    limiter, times = make(slots=64, rate=10), Times()
    await send(limiter, times, "", poll=True)
    await asyncio.sleep(60)
    await asyncio.gather(*(send(limiter, times, "", poll=True) for _ in range(30)))
    assert max_per_second([at for _, at in times]) <= 10


async def test_late_turns_cost_no_rate() -> None:
    """Polls that come a little late each time still reach the rate."""
    limiter, times = make(slots=64, rate=100), Times()

    async def worker() -> None:
        for _ in range(200):
            await send(limiter, times, "", poll=True)
            await asyncio.sleep(0.0007)

    await asyncio.gather(worker(), worker())
    assert 400 / times[-1][1] >= 95
    assert max_per_second([at for _, at in times]) <= 100


async def test_polls_that_wait_for_the_rate_let_calls_pass() -> None:
    """A poll whose turn has not come does not hold up a plain call."""
    limiter, times = make(slots=1, rate=1), Times()
    polls = [send(limiter, times, "poll", poll=True) for _ in range(5)]
    tasks = [asyncio.ensure_future(poll) for poll in polls]
    await asyncio.sleep(0.1)
    await send(limiter, times, "call", poll=False)
    name, at = times[-1]
    assert name == "call"
    assert at == pytest.approx(0.1)
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("rate", [None, 50.0])
async def test_what_queues_during_a_pause(rate: float | None) -> None:
    """Calls and polls leave evenly in order of arrival; a later call does not stand behind them."""
    limiter, times = make(slots=64, rate=rate), Times()
    limiter.pause(10, REASON)
    tasks = [
        asyncio.ensure_future(send(limiter, times, f"{n}", poll=n % 2 == 0)) for n in range(100)
    ]
    await asyncio.sleep(10.5)
    before = len(times)
    await send(limiter, times, "late", poll=False)
    name, at = times[before]
    assert name == "late"
    assert at == pytest.approx(10.5)
    await asyncio.gather(*tasks)
    left = [(name, at) for name, at in times if name != "late"]
    assert [name for name, _ in left] == [f"{n}" for n in range(100)]
    assert left[0][1] == pytest.approx(10)
    assert max_per_second([at for _, at in left]) <= (rate or 100)
    assert left[-1][1] == pytest.approx(10 + 100 * 1.02 / (rate or 100), rel=0.02)


async def test_pause_leaves_no_trace() -> None:
    """After a pause calls are as fast as before, a day later as well as at once."""
    limiter, times = make(slots=2, rate=10), Times()
    limiter.pause(3600, REASON)
    await send(limiter, times, "first", poll=False)
    assert now() == pytest.approx(3600)
    for _ in range(20):
        await send(limiter, times, "", poll=False)
    assert now() == pytest.approx(3600)
    await asyncio.sleep(86_400)
    for _ in range(20):
        await send(limiter, times, "", poll=False)
    assert now() == pytest.approx(90_000)
    assert limiter.pause_remaining() == 0


async def test_pause_longer_than_the_caller_waits() -> None:
    """A call does not wait for a pause that is too long, whether it began before or after it."""
    limiter = make()
    assert limiter.acquire_nowait(poll=False)
    queued = asyncio.ensure_future(limiter.acquire(poll=False, max_pause=5))
    await asyncio.sleep(1)
    limiter.pause(60, REASON)
    assert not await queued
    assert not await limiter.acquire(poll=False, max_pause=59)
    assert now() == 1
    limiter.release()
    assert await limiter.acquire(poll=False, max_pause=60)
    assert now() == 61


async def test_queue_longer_than_a_pause_may_be() -> None:
    """How long a call waits for a pause does not limit how long it waits for a slot."""
    limiter = make()
    assert limiter.acquire_nowait(poll=False)
    queued = asyncio.ensure_future(limiter.acquire(poll=False, max_pause=5))
    await asyncio.sleep(60)
    limiter.release()
    assert await queued


async def test_what_was_queued_before_a_pause_leaves_evenly() -> None:
    """Calls that waited for a slot when the pause began leave one by one after it."""
    limiter, times = make(slots=10), Times()
    assert all(limiter.acquire_nowait(poll=False) for _ in range(10))
    calls = [asyncio.ensure_future(send(limiter, times, "", poll=False)) for _ in range(10)]
    await asyncio.sleep(1)
    limiter.pause(5, REASON)
    for _ in range(10):
        limiter.release()
    await asyncio.gather(*calls)
    assert all(later - earlier >= 0.01 for (_, earlier), (_, later) in pairwise(times))


async def test_pauses_again_and_again() -> None:
    """Pauses that are each short enough, but not together, are not waited for without end."""
    limiter = make(slots=4)
    limiter.pause(4, REASON)
    queued = asyncio.ensure_future(limiter.acquire(poll=False, max_pause=10))
    for _ in range(4):
        await asyncio.sleep(3)
        limiter.pause(4, REASON)
    assert not await queued
    assert now() <= 12


async def test_backlog_longer_than_the_caller_waits() -> None:
    """Nor does a call wait longer in the queue that a pause has left."""
    limiter, times = make(slots=64, rate=1), Times()
    limiter.pause(5, REASON)
    polls = [asyncio.ensure_future(send(limiter, times, "", poll=True)) for _ in range(50)]
    await asyncio.sleep(0)
    assert not await limiter.acquire(poll=False, max_pause=20)
    assert now() == 20
    await asyncio.gather(*polls)


async def test_shorter_pause_does_not_end_a_longer_one() -> None:
    limiter = make()
    limiter.pause(60, REASON)
    limiter.pause(5, REASON)
    assert limiter.pause_remaining() == 60


async def test_failure_reaches_all_that_wait() -> None:
    """What is no error of one request reaches each caller that waits here."""

    class StopRun(BaseException):
        pass

    limiter = make()
    assert limiter.acquire_nowait(poll=False)
    waiting = [
        asyncio.ensure_future(limiter.acquire(poll=True)),
        asyncio.ensure_future(limiter.sleep_until(1e6)),
    ]
    await asyncio.sleep(0)
    limiter.fail(StopRun())
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [StopRun] * 2


async def test_close() -> None:
    """Closing wakes all that wait here."""
    limiter = make()
    assert limiter.acquire_nowait(poll=False)
    waiting = [
        asyncio.ensure_future(limiter.acquire(poll=False)),
        asyncio.ensure_future(limiter.acquire(poll=True)),
        asyncio.ensure_future(limiter.sleep_until(1e6)),
    ]
    await asyncio.sleep(0)
    limiter.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [ClientClosedError] * 3
    for late in (limiter.acquire(poll=True), limiter.sleep_until(5)):
        with pytest.raises(ClientClosedError):
            await late
    with pytest.raises(ClientClosedError):
        limiter.acquire_nowait(poll=False)


@pytest.mark.parametrize("used", [True, False])
async def test_turns_by_callback(*, used: bool) -> None:
    """A callback gets the slot with its turn; an unused one is given back with its turn."""
    limiter, times = make(slots=4, rate=1), list[float]()
    results = [True, used]

    def on_turn() -> bool:
        times.append(now())
        return results.pop()

    limiter.queue_turn(on_turn)
    limiter.queue_turn(on_turn)
    await asyncio.sleep(5)
    assert times == pytest.approx([0, 1.02] if used else [0, 0], abs=0.02)
    assert limiter.in_flight == 1 + used


async def test_callback_that_queues_again() -> None:
    """A callback may queue the next turn, a thousand times over."""
    limiter, count = make(slots=5000), 0

    def on_turn() -> bool:
        nonlocal count
        count += 1
        if count < 4000:
            limiter.queue_turn(on_turn)
        return True

    limiter.queue_turn(on_turn)
    assert (count, limiter.in_flight) == (4000, 4000)

    def broken() -> bool:
        raise LookupError

    limiter = make()
    with pytest.raises(LookupError):
        limiter.queue_turn(broken)
    assert limiter.acquire_nowait(poll=True)  # it kept no slot
