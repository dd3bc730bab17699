"""`OutputStream`: the outputs of a job, handed out while it runs."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NoReturn, Self

from sieve_async.background import loop_time
from sieve_async.models import Output
from sieve_async.polling.poller import JobPoller
from sieve_async.polling.state import Decision
from sieve_async.polling.waits import SingleWait, SingleWaits


class OutputStream:
    """The outputs of one job, each once and in order.

    An async iterator, and an async context manager that ends with its block. Nothing is sent
    between two steps, and a step that was cancelled can be repeated: no output is lost.
    """

    _poller: JobPoller | None = None
    _wait: SingleWait | None = None
    _is_over = False
    _decision: Decision | None = None  # of the last poll, while it is to be acted on
    _step: asyncio.Timeout | None = None  # ends the step that some task is in

    def __init__(
        self, waits: SingleWaits, begin: Callable[[], JobPoller], *, raises_on_restart: bool
    ) -> None:
        self._waits = waits
        self._begin = begin
        self._raises_on_restart = raises_on_restart
        self._outputs: deque[Output] = deque()
        self._lock = asyncio.Lock()  # should several tasks share the stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Output:
        while not self._outputs:
            if self._is_over:
                raise StopAsyncIteration
            async with self._lock:
                if not (self._outputs or self._is_over):
                    await self._take_step()
        return self._outputs.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End here; nothing more is sent."""
        self._end()
        self._outputs.clear()
        if self._step is not None and not self._step.expired():
            self._step.reschedule(loop_time())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream of outputs cannot be copied or pickled")

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        self._is_over = True
        if self._wait is not None:
            self._wait.end()

    async def _take_step(self) -> None:
        """Poll once more, or act on the last poll, unless another task closes the stream."""
        self._step = step = asyncio.Timeout(None)
        try:
            if self._poller is None:
                self._poller = self._begin()
            wait = self._wait = self._wait or SingleWait(self._waits, self._poller)
            async with step:
                await self._advance(self._poller, wait)
        except Exception:
            self._end()
            if not step.expired():
                raise
        finally:
            self._step = None
            del step  # it knows the task, whose exception would keep all of this alive

    async def _advance(self, poller: JobPoller, wait: SingleWait) -> None:
        if self._decision is None:
            decision = await wait.poll()
            if poller.restart is not None and self._raises_on_restart:
                raise poller.restart
            self._outputs.extend(poller.drain_outputs())
            self._decision = decision
            return
        decision = poller.state.recheck_deadline(self._decision, loop_time())
        if not await wait.advance(decision):
            self._end()
            poller.result().raise_for_status()
        self._decision = None
