"""Calls that are cancelled at one certain point: where their task lets the loop go on.

A call is driven by hand, suspension by suspension, so that each place where a cancellation can
arrive is found by counting, and not by guessing turns of the loop.
"""

import asyncio
import itertools
import types
from collections.abc import Awaitable, Callable, Generator, Iterator
from enum import StrEnum
from typing import Any

import attrs


class When(StrEnum):
    """When the cancellation comes, seen from one suspension of the task."""

    AT_ONCE = "as it begins"
    A_TURN_LATER = "a turn later"
    WITH_THE_RESULT = "in the turn of its result"


@attrs.define(eq=False)
class Stepper:
    """Runs one call in a task of its own, and cancels that task at one of its suspensions.

    Attributes:
        point: At which suspension, counted from one.
        when: How soon after it began.
        points: How many suspensions there were.
        cancelling: What the task said when the cancellation had gone through the call; None when
            the call did not end so.
        turns: How many turns of the loop it took from the cancellation to the end of the task.
    """

    point: int
    when: When = When.AT_ONCE
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
        """Let the call take one step after the other."""
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
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the call's
                advance = _thrower(steps, error)
            else:
                advance = steps.__next__

    def _plan(self, awaited: "asyncio.Future[Any] | None") -> None:
        if self.when is When.AT_ONCE or awaited is None:
            self._cancel()
        elif self.when is When.A_TURN_LATER:
            asyncio.get_running_loop().call_soon(self._cancel)
        else:
            awaited.add_done_callback(lambda _: self._cancel())  # before that which wakes the task

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


def each_point(when: When, *, at_least: int) -> Iterator[Stepper]:
    """A stepper for each suspension of a call, until one has found no more to cancel at."""
    for point in itertools.count(1):
        stepper = Stepper(point, when)
        yield stepper
        if not stepper.is_cancelled:
            assert stepper.points >= at_least
            return
