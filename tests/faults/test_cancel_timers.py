"""Cancellations and timeouts of the caller in the same loop iteration as a timer of the client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import attrs
import pytest

from helpers.asserts import assert_idle
from helpers.raw_server import JOB, Action, RawServer, Script, job_json, respond
from sieve_async import Limits, PollPolicy, RetryPolicy, SieveClient, Timeout

pytestmark = pytest.mark.looptime

Call: TypeAlias = Callable[[SieveClient], Awaitable[Any]]

NUMBER = 20
AFTER = 5.0  # seconds from the call to the timer
SLOTS = Limits(max_connections=2 * NUMBER)
NO_RETRY = RetryPolicy(max_attempts=1)
RUNNING = respond(job_json(status="processing"))
EVERY_FIVE = PollPolicy(min_interval=AFTER, max_interval=AFTER, growth=0, jitter=0)
SLOW = PollPolicy(min_interval=60, max_interval=60)


def get(client: SieveClient) -> Awaitable[Any]:
    """Look up the job."""
    return client.get_job(JOB)


def wait(client: SieveClient, **options: Any) -> Awaitable[Any]:
    return client.wait_for_job(JOB, **options)


def watch(client: SieveClient, **options: Any) -> Awaitable[Any]:
    return client.wait_for_jobs([JOB], **options)


async def stream(client: SieveClient, **options: Any) -> None:
    """Wait for an output of the job."""
    async with client.stream_outputs(JOB, **options) as outputs:
        await anext(outputs)


@attrs.frozen
class Timer:
    """A timer of the client: the script of the server, the call, and the settings."""

    script: Script
    call: Call
    settings: dict[str, Any] = attrs.field(factory=dict)


TIMERS: dict[str, Timer] = {
    "attempt": Timer([Action.SILENCE], get, {"timeout": Timeout(request=AFTER)}),
    "connect": Timer([Action.DONT_READ, Action.SILENCE], get, {"timeout": Timeout(connect=AFTER)}),
    "deadline": Timer([Action.SILENCE], partial(wait, timeout=AFTER)),
    "deadline, long poll": Timer(
        [Action.SILENCE], partial(wait, timeout=AFTER, strategy="long_poll")
    ),
    "deadline between polls": Timer(RUNNING, partial(wait, timeout=AFTER), {"polling": SLOW}),
    "deadline of a stream": Timer([Action.SILENCE], partial(stream, timeout=AFTER)),
    "deadline of many": Timer([Action.SILENCE], partial(watch, timeout=AFTER)),
    "deadline in the queue": Timer(
        [Action.SILENCE], partial(wait, timeout=AFTER), {"limits": Limits(max_connections=1)}
    ),
    "poll interval": Timer(RUNNING, wait, {"polling": EVERY_FIVE}),
    "poll interval of many": Timer(RUNNING, watch, {"polling": EVERY_FIVE}),
}


@asynccontextmanager
async def client_of(timer: Timer) -> AsyncIterator[SieveClient]:
    """A client whose call waits for the timer, and its server."""
    async with RawServer(timer.script) as server:
        settings: dict[str, Any] = {"limits": SLOTS, "retry": NO_RETRY} | timer.settings
        is_unread = timer.script[0] is Action.DONT_READ
        url = server.url.replace("http:", "https:") if is_unread else server.url
        async with server.client(base_url=url, **settings) as client:
            yield client


def block(seconds: float) -> None:
    """Let time pass within one loop iteration, as in a loop that is blocked."""
    loop = asyncio.get_running_loop()
    loop.setup_looptime(start=loop.time() + seconds)  # type: ignore[attr-defined] # looptime's


async def race(timer: Timer, iterations: int, *, is_first: bool, is_blocked: bool) -> int:
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

    async with client_of(timer) as client:
        at = loop.time() + AFTER
        if is_first:
            loop.call_at(at, cancel, iterations)
        tasks += [asyncio.ensure_future(timer.call(client)) for _ in range(NUMBER)]
        await asyncio.sleep(0.4 * AFTER)
        if not is_first:
            loop.call_at(at, cancel, iterations)
        if is_blocked:
            loop.call_at(at - 0.2, block, 0.5)

        await asyncio.wait(tasks)
        await has_cancelled.wait()

        # A task that is done rejects it; each other task must end as cancelled.
        assert [task.cancelled() for task in tasks] == accepted
        ended = [task.exception() for task in tasks if not task.cancelled()]
        assert all(isinstance(error, TimeoutError | None) for error in ended)
        assert_idle(client)
    return sum(accepted)


@pytest.mark.parametrize("name", TIMERS)
async def test_cancelled_as_a_timer_fires(name: str) -> None:
    """A cancellation in the iteration of a timer, or soon after, is never lost."""
    accepted = 0
    for iterations in range(3):
        for is_first in (True, False):
            number = await race(TIMERS[name], iterations, is_first=is_first, is_blocked=False)
            assert iterations or number == NUMBER
            accepted += number
    assert accepted >= 2 * NUMBER


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", TIMERS)
async def test_cancelled_after_a_blocked_loop(name: str, *, is_first: bool) -> None:
    """Nor when a blocked loop finds the timer and the cancellation due together."""
    accepted = await race(TIMERS[name], 0, is_first=is_first, is_blocked=True)
    assert accepted == NUMBER


async def expires(call: Awaitable[Any], at: float) -> bool:
    """Make a call in ``asyncio.timeout_at``; return whether that expired."""
    task = asyncio.current_task()
    assert task is not None
    timeout = asyncio.timeout_at(at)
    error: BaseException | None = None
    try:
        async with timeout:
            await call
    except TimeoutError as caught:
        error = caught
    if timeout.expired():
        assert type(error) is TimeoutError  # the caller's own, not a RequestTimeoutError
    assert task.cancelling() == 0
    await asyncio.sleep(0.05)  # no cancellation follows
    return timeout.expired()


@pytest.mark.parametrize("early", [1e-3, 1e-6, 0.0, -1e-6, None], ids=str)
@pytest.mark.parametrize("name", TIMERS)
async def test_caller_timeout_as_a_timer_fires(name: str, early: float | None) -> None:
    """A timeout of the caller at the time of a timer ends the caller's own block, once.

    Without ``early`` the loop is blocked until both are due.
    """
    timer = TIMERS[name]
    loop = asyncio.get_running_loop()
    async with client_of(timer) as client:
        at = loop.time() + AFTER - (early or 0.0)
        if early is None:
            loop.call_at(at - 0.2, block, 0.5)
        calls = [expires(timer.call(client), at) for _ in range(NUMBER)]
        expired = await asyncio.gather(*calls)
        assert all(expired) or early in {0.0, -1e-6}
        assert_idle(client)
