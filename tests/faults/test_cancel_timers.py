"""Cancellations and timeouts of the caller in the same loop iteration as a timer of the client."""

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
SLOTS = Limits(max_connections=2 * NUMBER)
NO_RETRY = RetryPolicy(max_attempts=1)
RUNNING = respond(job_json(status="processing"))


def get(client: SieveClient) -> Awaitable[Any]:
    """Look up the job."""
    return client.get_job(JOB)


def wait(client: SieveClient, **how: Any) -> Awaitable[Any]:
    """Wait for the job."""
    return client.wait_for_job(JOB, **how)


def watch(client: SieveClient, **how: Any) -> Awaitable[Any]:
    """Watch the job."""
    return client.wait_for_jobs([JOB], **how)


async def stream(client: SieveClient, **how: Any) -> None:
    """Wait for an output of the job."""
    async with client.stream_outputs(JOB, **how) as outputs:
        await anext(outputs)


@attrs.frozen
class Timer:
    """A timer of the client: the script of the server, the call, and the settings.

    It fires five units after the start; a unit is a virtual second, or a short real time.
    """

    script: Script
    call: Callable[[float], Call]
    settings: Callable[[float], dict[str, Any]]


def without_timeout(call: Call) -> Callable[[float], Call]:
    """A call that does not depend on the unit."""
    return lambda _: call


def with_timeout(call: Callable[..., Awaitable[Any]], **how: Any) -> Callable[[float], Call]:
    """A call with a timeout of five units."""
    return lambda unit: partial(call, timeout=5 * unit, **how)


def fixed(**settings: Any) -> Callable[[float], dict[str, Any]]:
    """Settings that do not depend on the unit."""
    return lambda _: settings


def polling_every_five(unit: float) -> dict[str, Any]:
    """Settings with a poll interval of five units."""
    pause = 5 * unit
    return {"polling": PollPolicy(min_interval=pause, max_interval=pause, growth=0, jitter=0)}


TIMERS: dict[str, Timer] = {
    "attempt": Timer(
        [Action.SILENCE], without_timeout(get), lambda unit: {"timeout": Timeout(request=5 * unit)}
    ),
    "connect": Timer(
        [Action.DONT_READ, Action.SILENCE],
        without_timeout(get),
        lambda unit: {"timeout": Timeout(connect=5 * unit), "retry": NO_RETRY},
    ),
    "deadline": Timer([Action.SILENCE], with_timeout(wait), fixed()),
    "deadline, long poll": Timer(
        [Action.SILENCE], with_timeout(wait, strategy="long_poll"), fixed()
    ),
    "deadline between polls": Timer(
        RUNNING, with_timeout(wait), fixed(polling=PollPolicy(min_interval=60, max_interval=60))
    ),
    "deadline of a stream": Timer([Action.SILENCE], with_timeout(stream), fixed()),
    "deadline of many": Timer([Action.SILENCE], with_timeout(watch), fixed()),
    "deadline in the queue": Timer(
        [Action.SILENCE], with_timeout(wait), fixed(limits=Limits(max_connections=1))
    ),
    "poll interval": Timer(RUNNING, without_timeout(wait), polling_every_five),
    "poll interval of many": Timer(RUNNING, without_timeout(watch), polling_every_five),
}


@asynccontextmanager
async def client_of(timer: Timer, unit: float) -> AsyncIterator[SieveClient]:
    """A client whose call waits for the timer, and its server."""
    async with RawServer(timer.script) as server:
        settings: dict[str, Any] = {"limits": SLOTS, "retry": NO_RETRY} | timer.settings(unit)
        is_unread = timer.script[0] is Action.DONT_READ
        url = server.url.replace("http:", "https:") if is_unread else server.url
        async with server.client(base_url=url, **settings) as client:
            yield client


async def race(timer: Timer, unit: float, turns: int, *, is_first: bool, stall: float) -> int:
    """Cancel calls as the timer fires; return how many accepted the cancellation."""
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

    async with client_of(timer, unit) as client:
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

        # A task that is done rejects it; each other task must end as cancelled.
        assert [task.cancelled() for task in tasks] == accepted
        ended = [task.exception() for task in tasks if not task.cancelled()]
        assert all(isinstance(error, TimeoutError | None) for error in ended)
        assert_idle(client)
    return sum(accepted)


@pytest.mark.looptime
@pytest.mark.parametrize("name", TIMERS)
async def test_cancelled_as_a_timer_fires(name: str) -> None:
    """A cancellation in the iteration of a timer, or soon after, is never lost."""
    accepted = 0
    for turns in range(5):
        for is_first in (True, False):
            took = await race(TIMERS[name], 1.0, turns, is_first=is_first, stall=0)
            assert turns or took == NUMBER
            accepted += took
    assert accepted >= 2 * NUMBER


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", ["attempt", "deadline", "deadline of many", "poll interval"])
async def test_cancelled_after_a_blocked_loop(name: str, *, is_first: bool) -> None:
    """Nor when a blocked loop finds the timer and the cancellation due together."""
    took = await race(TIMERS[name], 0.08, 0, is_first=is_first, stall=0.05)

    assert took == NUMBER


async def expires(call: Awaitable[Any], at: float) -> bool:
    """Make a call in ``asyncio.timeout_at``; return whether that expired."""
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
        assert type(error) is TimeoutError  # the caller's own, not a RequestTimeoutError
    assert task.cancelling() == 0
    await asyncio.sleep(0.05)  # no cancellation follows
    return block.expired()


@pytest.mark.looptime
@pytest.mark.parametrize("early", [1e-3, 1e-6, 0.0, -1e-6], ids=str)
@pytest.mark.parametrize("name", TIMERS)
async def test_caller_timeout_as_a_timer_fires(name: str, early: float) -> None:
    """A timeout of the caller at the time of a timer ends the caller's own block, once."""
    timer = TIMERS[name]
    async with client_of(timer, 1.0) as client:
        at = asyncio.get_running_loop().time() + AFTER - early
        calls = [expires(timer.call(1.0)(client), at) for _ in range(NUMBER)]

        expired = await asyncio.gather(*calls)

        assert early <= 0 or all(expired)
        assert_idle(client)


async def test_caller_timeout_after_a_blocked_loop() -> None:
    """The same when a blocked loop finds both due together."""
    loop = asyncio.get_running_loop()
    for name in ("attempt", "deadline", "deadline of many", "poll interval"):
        timer = TIMERS[name]
        async with client_of(timer, 0.02) as client:
            at = loop.time() + AFTER * 0.02
            loop.call_at(at - 0.01, time.sleep, 0.03)
            calls = [expires(timer.call(0.02)(client), at) for _ in range(NUMBER)]

            expired = await asyncio.gather(*calls)

            assert all(expired), name
            assert_idle(client)
