"""Background tasks and timers: what escapes from them is reported."""

import asyncio

import pytest

from sieve_async.background import Background

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
