"""How those leave whom the server's pause has held back."""

import asyncio
import itertools

import pytest

from sieve_async import RateLimitError
from sieve_async.gate import Gate

pytestmark = pytest.mark.looptime

THROTTLED = RateLimitError(429, retry_after=80)


async def departures(one: Gate, number: int, pause: float) -> list[float]:
    """When each of so many leaves after a pause that was asked for, the first one included."""
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def leave() -> None:
        ticket = await one.enter()
        times.append(loop.time())
        assert ticket is not None
        one.leave(ticket)

    one.hold(pause, THROTTLED)
    started = loop.time()
    await asyncio.gather(*(leave() for _ in range(number)))
    return [time - started for time in times]


async def test_uneven_intervals() -> None:
    """The intervals differ by up to a half of themselves, or many clients would go in step."""
    one = Gate(slots=10, steady_rate=None, clock=asyncio.get_running_loop().time)

    first, *others = await departures(one, 201, pause=80)

    assert first == pytest.approx(80, abs=0.01)
    gaps = [later - earlier for earlier, later in itertools.pairwise(others[:150])]
    assert 0.049 <= min(gaps) < 0.06
    assert 0.14 < max(gaps) <= 0.151
    # All in all it takes a quarter of the pause.
    assert others[-1] - first == pytest.approx(20, rel=0.1)


async def test_who_comes_later_goes_at_once() -> None:
    """When those who were held back have left, nobody is held back any more."""
    loop = asyncio.get_running_loop()
    one = Gate(slots=10, steady_rate=None, clock=loop.time)
    await departures(one, 21, pause=80)
    await asyncio.sleep(20)

    for _ in range(50):
        assert not one.holds_back()
        came = loop.time()
        ticket = await one.enter()
        assert ticket is not None
        one.leave(ticket)
        assert loop.time() == came


async def test_nobody_waits_for_one_that_has_come_back() -> None:
    """When the request that goes first is back, who comes now need not be held back."""
    loop = asyncio.get_running_loop()
    one = Gate(slots=10, steady_rate=None, clock=loop.time)
    one.hold(80, THROTTLED)
    first = await one.enter()
    assert first is not None
    assert one.holds_back()

    one.leave(first)

    assert not one.holds_back()


async def test_deadline_that_did_not_come() -> None:
    """A deadline in the queue that was not needed leaves no timer in the loop."""
    loop = asyncio.get_running_loop()
    one = Gate(slots=1, steady_rate=None, clock=loop.time)
    first = await one.enter()
    assert first is not None
    waiting = asyncio.create_task(one.enter(deadline=loop.time() + 1000))
    await asyncio.sleep(1)
    one.leave(first)
    assert await waiting is not None

    timers = loop._scheduled  # type: ignore[attr-defined] # asyncio's own
    assert [timer for timer in timers if not timer.cancelled()] == []
