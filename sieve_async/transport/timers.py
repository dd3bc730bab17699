"""`RequestTimer`: the deadline of one request in flight."""

import asyncio

from sieve_async.errors import WrongEventLoopError


class RequestTimer:
    """Interrupts one request, at its deadline or when the client is closed.

    It does what ``asyncio.timeout`` does at a fraction of the cost: it cancels the task, and takes
    that cancellation back where it arrives, unless the task was cancelled from elsewhere too.

    Args:
        loop: The loop of the client.
        due: The time of the loop at which to interrupt; None for never.

    Raises:
        WrongEventLoopError: No task of this loop runs.
    """

    __slots__ = ("_cancelling", "_handle", "_is_interrupted", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop, due: float | None) -> None:
        task = asyncio.current_task(loop)
        if task is None:
            raise WrongEventLoopError("a client must be called from within a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._is_interrupted = False
        self._handle: asyncio.Handle | None = None
        if due is not None:
            self._handle = loop.call_at(due, self._on_due, loop)

    def stop(self) -> None:
        """Forget the deadline, and take back a cancellation that has become another error."""
        if self._handle is not None:
            self._handle.cancel()
        self.uncancel()

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

    def _on_due(self, loop: asyncio.AbstractEventLoop) -> None:
        # One turn later than due: an answer that has arrived in this turn is read.
        self._handle = loop.call_soon(self.interrupt)
