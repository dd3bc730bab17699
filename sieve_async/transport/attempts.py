"""Ending requests in flight: when their time is over, and when the client is closed.

All attempts share one timer. It is set for the one that is due first, and most attempts come and go
without touching it.
"""

import asyncio

from sieve_async.errors import ClientClosedError


class Attempt:
    """One request in flight, as something that can be ended.

    It does what ``asyncio.timeout`` does, at a fraction of the cost: the task is cancelled, and the
    cancellation is taken back where it arrives, unless somebody else has cancelled the task too.

    Raises:
        ClientClosedError: No task runs this.
    """

    __slots__ = ("_cancelling", "_is_interrupted", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task(loop)
        if task is None:
            raise ClientClosedError("a client must be called from within a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._is_interrupted = False

    def interrupt(self) -> None:
        """End the request; once is enough."""
        if not self._is_interrupted:
            self._is_interrupted = True
            self._task.cancel()

    def is_cancelled(self) -> bool:
        """Whether somebody else has cancelled the task since the request began."""
        return self._task.cancelling() > self._cancelling

    def take_back(self) -> bool:
        """Take our cancellation back; whether the task was cancelled by nobody else."""
        if not self._is_interrupted:
            return False
        self._is_interrupted = False
        return self._task.uncancel() <= self._cancelling


class Attempts:
    """The attempts of one client, each with the time of the loop at which it is due."""

    def __init__(self) -> None:
        self._due: dict[Attempt, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self._due)

    def begin(self, attempt: Attempt, due: float | None) -> None:
        """Note an attempt; None is never due."""
        self._due[attempt] = float("inf") if due is None else due
        if due is not None and (self._timer is None or due < self._timer.when()):
            self._set_timer(due)

    def end(self, attempt: Attempt) -> None:
        """Forget an attempt."""
        del self._due[attempt]

    def interrupt_all(self) -> None:
        """End all of them, and set no timer again for those."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attempt in self._due:
            attempt.interrupt()

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._interrupt_due, when)

    def _interrupt_due(self, now: float) -> None:
        """Interrupt what is due by the time of the timer; a loop may fire it a little early."""
        loop = asyncio.get_running_loop()
        self._timer = None
        earliest = float("inf")
        for attempt, due in self._due.items():
            if due <= now:
                # One turn later than due: an answer that has arrived in this turn is read.
                loop.call_soon(self._interrupt, attempt)
            else:
                earliest = min(earliest, due)
        if earliest != float("inf"):
            self._set_timer(earliest)

    def _interrupt(self, attempt: Attempt) -> None:
        if attempt in self._due:
            attempt.interrupt()
