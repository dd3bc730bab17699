"""Fault class K: cancellations and timeouts of the caller in the turn of a timer of ours.

Each kind of timer has two hundred calls that wait for it, half of them in each order.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import attrs
import pytest

from helpers.asserts import assert_idle
from helpers.raw_server import JOB, Action, RawServer, Script, job_json, respond
from sieve_async import Limits, PollPolicy, RetryPolicy, SieveClient, Timeout

Call: TypeAlias = Callable[[SieveClient], Awaitable[Any]]

NUMBER = 20
AFTER = 5
MANY = Limits(max_connections=2 * NUMBER)
NEVER = RetryPolicy(max_attempts=1)
RUNNING = respond(job_json(status="processing"))


def get(client: SieveClient) -> Awaitable[Any]:
    """Look up the job."""
    return client.get_job(JOB)


def wait(client: SieveClient, **how: Any) -> Awaitable[Any]:
    """Wait for the job."""
    return client.wait_for_job(JOB, **how)


def gather(client: SieveClient, **how: Any) -> Awaitable[Any]:
    """Watch the job as one of many."""
    return client.wait_for_jobs([JOB], **how)


async def stream(client: SieveClient, **how: Any) -> None:
    """Wait for an output of the job."""
    async with client.stream_outputs(JOB, **how) as outputs:
        await anext(outputs)


@attrs.frozen
class Timer:
    """A timer of ours: what the server does, which call waits for it, and the settings of it.

    It fires five units after the call; a unit is a virtual second, or a short real time.
    """

    script: Script
    call: Callable[[float], Call]
    settings: Callable[[float], dict[str, Any]]


def plainly(call: Call) -> Callable[[float], Call]:
    """The same call, whatever the unit of time."""
    return lambda _: call


def until(call: Callable[..., Awaitable[Any]], **how: Any) -> Callable[[float], Call]:
    """A call with a deadline of five units."""
    return lambda unit: partial(call, timeout=5 * unit, **how)


def same(**settings: Any) -> Callable[[float], dict[str, Any]]:
    """The same settings, whatever the unit of time."""
    return lambda _: settings


def pausing(unit: float) -> dict[str, Any]:
    """Settings with a pause of just five units between polls."""
    pause = 5 * unit
    return {"polling": PollPolicy(min_interval=pause, max_interval=pause, growth=0, jitter=0)}


TIMERS: dict[str, Timer] = {
    "attempt": Timer(
        [Action.SILENCE], plainly(get), lambda unit: {"timeout": Timeout(request=5 * unit)}
    ),
    "connect": Timer(
        [Action.DONT_READ, Action.SILENCE],
        plainly(get),
        lambda unit: {"timeout": Timeout(connect=5 * unit), "retry": NEVER},
    ),
    "deadline": Timer([Action.SILENCE], until(wait), same()),
    "deadline, long poll": Timer([Action.SILENCE], until(wait, strategy="long_poll"), same()),
    "deadline between polls": Timer(
        RUNNING, until(wait), same(polling=PollPolicy(min_interval=60, max_interval=60))
    ),
    "deadline of a stream": Timer([Action.SILENCE], until(stream), same()),
    "deadline of many": Timer([Action.SILENCE], until(gather), same()),
    "deadline in the queue": Timer(
        [Action.SILENCE], until(wait), same(limits=Limits(max_connections=1))
    ),
    "pause between polls": Timer(RUNNING, plainly(wait), pausing),
    "pause between looks": Timer(RUNNING, plainly(gather), pausing),
}


@asynccontextmanager
async def facing(timer: Timer, unit: float) -> AsyncIterator[SieveClient]:
    """A client that waits for a timer, and the server that makes it."""
    async with RawServer(timer.script) as wire:
        settings: dict[str, Any] = {"limits": MANY, "retry": NEVER} | timer.settings(unit)
        is_unread = timer.script[0] is Action.DONT_READ
        url = wire.url.replace("http:", "https:") if is_unread else wire.url
        async with wire.client(base_url=url, **settings) as client:
            yield client


async def race(timer: Timer, unit: float, turns: int, *, is_first: bool, stall: float) -> int:
    """Cancel some calls as the timer fires; how many of them took it."""
    loop = asyncio.get_running_loop()
    accepted: list[bool] = []
    has_cancelled = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []

    def cancel(left: int) -> None:
        if left:
            loop.call_soon(cancel, left - 1)
        else:
            accepted.extend(task.cancel() for task in tasks)
            has_cancelled.set()

    async with facing(timer, unit) as client:
        at = loop.time() + AFTER * unit
        if is_first:
            loop.call_at(at, cancel, turns)
        tasks += [asyncio.ensure_future(timer.call(unit)(client)) for _ in range(NUMBER)]
        await asyncio.sleep(0.4 * AFTER * unit)
        if not is_first:
            loop.call_at(at, cancel, turns)
        if stall:
            loop.call_at(at - 0.2 * unit, time.sleep, stall)

        await asyncio.wait(tasks)
        await has_cancelled.wait()

        # A task that has ended refuses; each of the others must end as cancelled.
        assert [task.cancelled() for task in tasks] == accepted
        ended = [task.exception() for task in tasks if not task.cancelled()]
        assert all(isinstance(error, TimeoutError | None) for error in ended)
        assert_idle(client)
    return sum(accepted)


@pytest.mark.looptime
@pytest.mark.parametrize("name", TIMERS)
async def test_cancelled_as_a_timer_fires(name: str) -> None:
    """A cancellation in the turn of a timer, or soon after, is never lost."""
    accepted = 0
    for turns in range(5):
        for is_first in (True, False):
            took = await race(TIMERS[name], 1.0, turns, is_first=is_first, stall=0)
            assert turns or took == NUMBER
            accepted += took
    assert accepted >= 2 * NUMBER


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", ["attempt", "deadline", "deadline of many", "pause between polls"])
async def test_cancelled_as_a_late_timer_fires(name: str, *, is_first: bool) -> None:
    """Nor is it when a loop that stood still finds the timer and the cancellation due at once."""
    took = await race(TIMERS[name], 0.08, 0, is_first=is_first, stall=0.05)

    assert took == NUMBER


async def limited(call: Awaitable[Any], at: float) -> bool:
    """Make a call within a timeout of the caller's; whether that one has ended it."""
    task = asyncio.current_task()
    assert task is not None
    block = asyncio.timeout_at(at)
    error: BaseException | None = None
    try:
        async with block:
            await call
    except TimeoutError as caught:
        error = caught
    if block.expired():
        assert type(error) is TimeoutError  # and not one of ours: it is the caller's own
    assert task.cancelling() == 0
    await asyncio.sleep(0.05)  # and no cancellation comes behind it
    return block.expired()


@pytest.mark.looptime
@pytest.mark.parametrize("early", [1e-3, 1e-6, 0.0, -1e-6], ids=str)
@pytest.mark.parametrize("name", TIMERS)
async def test_timeout_of_the_caller_as_a_timer_fires(name: str, early: float) -> None:
    """A timeout of the caller's at the moment of a timer of ours ends its own block, once."""
    timer = TIMERS[name]
    async with facing(timer, 1.0) as client:
        at = asyncio.get_running_loop().time() + AFTER - early
        calls = [limited(timer.call(1.0)(client), at) for _ in range(NUMBER)]

        expired = await asyncio.gather(*calls)

        assert early <= 0 or all(expired)
        assert_idle(client)


async def test_timeout_of_the_caller_on_a_loop_that_stood_still() -> None:
    """The same when the loop finds both due at once."""
    loop = asyncio.get_running_loop()
    for name in ("attempt", "deadline", "deadline of many", "pause between polls"):
        timer = TIMERS[name]
        async with facing(timer, 0.02) as client:
            at = loop.time() + AFTER * 0.02
            loop.call_at(at - 0.01, time.sleep, 0.03)
            calls = [limited(timer.call(0.02)(client), at) for _ in range(NUMBER)]

            expired = await asyncio.gather(*calls)

            assert all(expired), name
            assert_idle(client)
