"""Tasks, timers and the clock of a client: in a context of its own, and never failing unseen."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

# A loop may fire a timer so many seconds early.
TIMER_RESOLUTION = 0.001


class Background:
    """Starts the tasks and timers that belong to no single caller.

    Attributes:
        context: The context they run in, so that no poll shows up under a caller's trace span.
    """

    def __init__(self) -> None:
        self.context = contextvars.Context()
        self._on_failure: list[Callable[[BaseException], object]] = []

    def on_failure(self, handler: Callable[[BaseException], object]) -> None:
        """Call this with whatever escapes from a task or timer."""
        self._on_failure.append(handler)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task; it begins in a later turn, also where tasks are eager."""
        loop = asyncio.get_running_loop()
        task = asyncio.Task(work, loop=loop, context=self.context.copy())
        task.add_done_callback(self._on_done)
        return task

    def call_at(
        self, when: float, function: Callable[..., object], *args: object
    ) -> asyncio.TimerHandle:
        """Call a function at a time of the loop."""
        loop = asyncio.get_running_loop()
        return loop.call_at(when, self._call, function, args, context=self.context)

    def fail(self, error: BaseException) -> None:
        """Report an exception to all callers that wait: a signal handler's, or a bug."""
        for handler in self._on_failure:
            handler(error)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def _call(self, function: Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            function(*args)
        except BaseException as error:
            self.fail(error)
            raise


class Alarm:
    """One timer, which calls a function at the earliest of the times it was set for.

    The function gets the time: a loop may fire a timer a little early, and it decides, not the
    clock.
    """

    def __init__(self, background: Background, function: Callable[[float], object]) -> None:
        self._background = background
        self._function = function
        self._timer: asyncio.Handle | None = None
        self._fires_at = 0.0  # a loop may have no timer for what is due now, but a plain handle
        self._is_off = False

    def set(self, when: float) -> None:
        """Call the function at this time of the loop, unless it will be called before."""
        if self._is_off or (self._timer is not None and self._fires_at <= when):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = when
        self._timer = self._background.call_at(when, self._fire, when)

    def turn_off(self) -> None:
        """Call it no more."""
        self._is_off = True
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self, when: float) -> None:
        self._timer = None
        self._function(max(when, loop_time()))


def loop_time() -> float:
    """The time of the running loop, in seconds; all due times and deadlines are of this clock."""
    return asyncio.get_running_loop().time()


def cancel(task: asyncio.Task[None] | None) -> list[asyncio.Task[None]]:
    """Cancel a task once, so that its clean-up is not cancelled; returns it if it still runs."""
    if task is None or task.done():
        return []
    if not task.cancelling():
        task.cancel()
    return [task]
