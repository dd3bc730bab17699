"""The iterator that hands out the outcomes of many jobs."""

import asyncio
from collections.abc import Callable
from typing import NoReturn, Self

from sieve_async.models import JobStatus
from sieve_async.watching.batch import Batch
from sieve_async.watching.outcome import JobOutcome


class JobWatch:
    """The outcomes of many jobs, in the order in which their ends are seen.

    An async iterator, and an async context manager that stops watching when its block is left.
    The watches begin with the block or with the first step, and stop also when the iterator is
    closed or dropped. The remote jobs go on. Several tasks may share one iterator: each outcome is
    handed out once.
    """

    def __init__(self, begin: Callable[[], Batch]) -> None:
        self._begin = begin
        self._batch: Batch | None = None
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JobOutcome:
        if self._is_closed:
            raise StopAsyncIteration
        return await self._begun().next()

    async def __aenter__(self) -> Self:
        self._begun()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def pending(self) -> list[tuple[str, JobStatus | None, float]]:
        """What is watched now: each id, its status as last seen, and for how many seconds so far.

        The status is None where none was seen yet. For showing how a watch gets on.
        """
        return [] if self._batch is None else self._batch.pending()

    async def aclose(self) -> None:
        """Stop watching. May be called more than once."""
        self._is_closed = True
        if self._batch is not None:
            ending = set(self._batch.stop()) - {asyncio.current_task()}  # the source may close us
            if ending:
                await asyncio.wait(ending)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a watch cannot be copied or pickled")

    def __del__(self) -> None:
        batch = getattr(self, "_batch", None)
        if batch is not None and not batch.loop.is_closed():
            batch.loop.call_soon_threadsafe(batch.stop)  # dropped anywhere, in any thread

    def _begun(self) -> Batch:
        if self._batch is None:
            self._batch = self._begin()
        return self._batch
