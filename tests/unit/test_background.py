"""Background tasks and timers: what escapes from them is reported."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sieve_async.background import Alarm, Background

pytestmark = pytest.mark.looptime


async def test_failures_are_reported() -> None:
    """An exception of a task or of a timer reaches the handlers; the loop sees that of a timer."""
    background, reported = Background(), list[BaseException]()
    background.on_failure(reported.append)
    seen_by_loop: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: seen_by_loop.append(context["exception"]))

    async def work(error: Exception | None) -> None:
        if error is not None:
            raise error

    def fail() -> None:
        raise LookupError

    tasks = [background.start(work(ValueError())), background.start(work(None))]
    background.call_at(loop.time() + 1, fail)
    await asyncio.sleep(2)
    assert all(task.done() for task in tasks)
    assert [type(error) for error in reported] == [ValueError, LookupError]
    assert seen_by_loop == reported[1:]


async def test_an_alarm_on_a_loop_without_timers_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uvloop gives a plain handle, not a timer, for what is due within half a millisecond."""
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def call_at_as_uvloop(
        when: float, function: Callable[..., object], *args: Any, **options: Any
    ) -> asyncio.Handle:
        if when - loop.time() < 0.0005:
            return loop.call_soon(function, *args, **options)
        return call_at(when, function, *args, **options)

    monkeypatch.setattr(loop, "call_at", call_at_as_uvloop)
    fired: list[float] = []
    alarm = Alarm(Background(), fired.append)
    begun = loop.time()
    alarm.set(begun + 5)
    alarm.set(begun)
    alarm.set(begun + 1)  # it is not moved
    await asyncio.sleep(0.1)
    alarm.set(begun + 2)
    await asyncio.sleep(5)
    assert fired == pytest.approx([begun, begun + 2])
