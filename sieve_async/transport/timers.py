"""Deadlines of requests in flight.

All requests of a client share one timer of the loop. It is set for the earliest deadline, and most
requests begin and end without touching it: a timer for each takes 5 % longer per lookup.
"""

import asyncio

from sieve_async.errors import WrongEventLoopError

NEVER = float("inf")


class RequestTimer:
    """The means to interrupt one request.

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
        self._next = NEVER  # when it fires

    def __bool__(self) -> bool:
        return bool(self._due)

    def start(self, timer: RequestTimer, due: float) -> None:
        """Add a request; it may be due ``NEVER``."""
        self._due[timer] = due
        if due < self._next:
            self._schedule(due)

    def stop(self, timer: RequestTimer) -> None:
        """Remove a request."""
        del self._due[timer]

    def interrupt_all(self) -> None:
        """End all requests in flight."""
        self._schedule(NEVER)
        for timer in self._due:
            timer.interrupt()

    def _schedule(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._next, self._handle = when, None
        if when != NEVER:
            self._handle = asyncio.get_running_loop().call_at(when, self._interrupt_due)

    def _interrupt_due(self) -> None:
        now = self._next  # a loop may fire a little early
        for timer, due in self._due.items():
            if due <= now:
                # One turn later than due: an answer that has arrived in this turn is read.
                asyncio.get_running_loop().call_soon(self._interrupt, timer)
        self._schedule(min((due for due in self._due.values() if due > now), default=NEVER))

    def _interrupt(self, timer: RequestTimer) -> None:
        if timer in self._due:
            timer.interrupt()
