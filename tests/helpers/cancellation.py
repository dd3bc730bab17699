"""Cancel a call at an exact suspension point.

The driver runs a coroutine step by step and counts its suspensions, so that a test can cancel it
at each of them in turn.
"""

import asyncio
import itertools
import types
from collections.abc import Awaitable, Callable, Generator, Iterator
from enum import StrEnum
from typing import Any

import attrs


class CancelWhen(StrEnum):
    """When the cancellation comes, relative to a suspension."""

    IMMEDIATELY = "as it begins"
    NEXT_ITERATION = "one loop iteration later"
    WITH_RESULT = "in the iteration of its result"


@attrs.define(eq=False)
class CancellationDriver:
    """Runs one call in a task and cancels that task at one of its suspensions.

    Attributes:
        point: The number of the suspension, from one.
        when: When to cancel, relative to it.
        points: How many suspensions there were.
        cancelling: ``Task.cancelling()`` when CancelledError had passed through the call; None if
            the call ended otherwise.
        turns: Loop iterations between the cancellation and the end of the task.
        is_cancelled: Whether a cancellation was sent.
    """

    point: int
    when: CancelWhen = CancelWhen.IMMEDIATELY
    points: int = 0
    cancelling: int | None = None
    turns: int = 0
    is_cancelled: bool = False
    _task: asyncio.Task[Any] | None = None

    async def run(self, call: Callable[[], Awaitable[object]]) -> asyncio.Task[Any]:
        """Run the call to its end, and return the task."""
        self._task = asyncio.ensure_future(self._body(call))
        await asyncio.wait([self._task])
        return self._task

    async def _body(self, call: Callable[[], Awaitable[object]]) -> object:
        try:
            return await self._drive(call().__await__())
        except asyncio.CancelledError:
            assert self._task is not None
            self.cancelling = self._task.cancelling()
            raise

    @types.coroutine
    def _drive(self, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Advance the call one suspension at a time."""
        advance: Callable[[], Any] = steps.__next__
        while True:
            try:
                awaited = advance()
            except StopIteration as stop:
                return stop.value
            self.points += 1
            if self.points == self.point:
                self._plan(awaited)
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 - passed on to the call
                advance = _thrower(steps, error)
            else:
                advance = steps.__next__

    def _plan(self, awaited: "asyncio.Future[Any] | None") -> None:
        if self.when is CancelWhen.IMMEDIATELY or awaited is None:
            self._cancel()
        elif self.when is CancelWhen.NEXT_ITERATION:
            asyncio.get_running_loop().call_soon(self._cancel)
        else:
            awaited.add_done_callback(
                lambda _: self._cancel()
            )  # runs before the callback that wakes the task

    def _cancel(self) -> None:
        assert self._task is not None
        if not self._task.done():
            self.is_cancelled = self._task.cancel()
            self._count()

    def _count(self) -> None:
        assert self._task is not None
        if not self._task.done():
            self.turns += 1
            asyncio.get_running_loop().call_soon(self._count)


def _thrower(steps: Generator[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    def throw() -> Any:
        return steps.throw(error)

    return throw


def each_suspension(when: CancelWhen, *, at_least: int) -> Iterator[CancellationDriver]:
    """A driver for each suspension of a call, until there is none left to cancel at."""
    for point in itertools.count(1):
        driver = CancellationDriver(point, when)
        yield driver
        if not driver.is_cancelled:
            assert driver.points >= at_least
            return
