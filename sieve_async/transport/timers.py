"""Deadlines of requests in flight.

All requests of a client share one timer of the loop. It is set for the earliest deadline, and most
requests begin and end without touching it: a timer for each takes 5 % longer per lookup.
"""

import asyncio

from sieve_async.errors import WrongEventLoopError

_NEVER = float("inf")


class RequestTimer:
    """The deadline of one request, and the means to interrupt it.

    It does what ``asyncio.timeout`` does at a fraction of the cost: it cancels the task, and takes
    that cancellation back where it arrives, unless the task was cancelled from elsewhere too.

    Raises:
        WrongEventLoopError: No task of this loop runs.
    """

    __slots__ = ("_cancelling", "_is_interrupted", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task(loop)
        if task is None:
            raise WrongEventLoopError("a client must be called from within a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._is_interrupted = False

    def interrupt(self) -> None:
        """End the request; only the first call counts."""
        if not self._is_interrupted:
            self._is_interrupted = True
            self._task.cancel()

    def is_cancelled(self) -> bool:
        """Whether the task was cancelled from elsewhere since the request began."""
        return self._task.cancelling() > self._cancelling

    def uncancel(self) -> bool:
        """Take our cancellation back; whether it was the only one."""
        if not self._is_interrupted:
            return False
        self._is_interrupted = False
        return self._task.uncancel() <= self._cancelling


class RequestTimers:
    """The requests in flight of one client, each with the time of the loop at which it is due."""

    def __init__(self) -> None:
        self._due: dict[RequestTimer, float] = {}
        self._handle: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self._due)

    def start(self, timer: RequestTimer, due: float | None) -> None:
        """Add a request; None is never due."""
        self._due[timer] = _NEVER if due is None else due
        if due is not None and (self._handle is None or due < self._handle.when()):
            self._schedule(due)

    def stop(self, timer: RequestTimer) -> None:
        """Remove a request."""
        del self._due[timer]

    def interrupt_all(self) -> None:
        """End all requests in flight."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        for timer in self._due:
            timer.interrupt()

    def _schedule(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = asyncio.get_running_loop().call_at(when, self._interrupt_due, when)

    def _interrupt_due(self, now: float) -> None:
        """Interrupt what is due at the time of the timer; a loop may fire it a little early."""
        loop = asyncio.get_running_loop()
        self._handle = None
        earliest = _NEVER
        for timer, due in self._due.items():
            if due <= now:
                # One turn later than due: an answer that has arrived in this turn is read.
                loop.call_soon(self._interrupt, timer)
            else:
                earliest = min(earliest, due)
        if earliest != _NEVER:
            self._schedule(earliest)

    def _interrupt(self, timer: RequestTimer) -> None:
        if timer in self._due:
            timer.interrupt()
