"""The outputs of a job, handed out while it runs."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NoReturn, Self

from sieve_async.errors import JobRestartedError
from sieve_async.models import Output
from sieve_async.polling.following import JobFollower
from sieve_async.polling.loop import Poller, Subject
from sieve_async.polling.machine import Step


class OutputStream:
    """The outputs of one job, each once and in order.

    An async iterator, and an async context manager that ends with its block. Nothing is asked
    between two steps, and a step that was cancelled can be taken again: no output is lost.
    """

    _follower: JobFollower | None = None
    _is_over = False
    _step: Step | None = None  # what the last look has left to do

    def __init__(
        self, poller: Poller, begin: Callable[[], JobFollower], *, goes_on_after_restart: bool
    ) -> None:
        self._poller = poller
        self._begin = begin
        self._goes_on_after_restart = goes_on_after_restart
        self._outputs: deque[Output] = deque()
        self._turn = asyncio.Lock()  # should several tasks share the stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Output:
        while not self._outputs:
            if self._is_over:
                raise StopAsyncIteration
            try:
                async with self._turn:
                    if not (self._outputs or self._is_over):
                        await self._go_on()
            except Exception:
                self._end()
                raise
        return self._outputs.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End here: there is nothing to wait for, and nothing more is asked."""
        self._end()
        self._outputs.clear()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream of outputs cannot be copied or pickled")

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        if self._follower is not None and not self._is_over:
            self._poller.going_on -= 1
        self._is_over = True

    async def _go_on(self) -> None:
        """Look once more, or do what the last look has left to do."""
        if self._follower is None:
            self._follower = self._begin()
            self._poller.going_on += 1
        follower = self._follower
        if self._step is None:
            await self._look(follower)
            return
        step = follower.wait.reconsidered(self._step, self._poller.clock())
        if not await self._poller.goes_on(follower, step, Subject(follower.job_id)):
            self._end()
            follower.whole().raise_for_status()
        self._step = None

    async def _look(self, follower: JobFollower) -> None:
        step = await follower.look()
        run_id = follower.restarted_as
        if run_id is not None and not self._goes_on_after_restart:
            raise JobRestartedError(follower.job_id, run_id)
        self._outputs.extend(follower.take_held())
        self._step = step
