"""The source of ids of a watch: any iterable or async iterable, read in a task of its own."""

import asyncio
import weakref
from collections.abc import AsyncIterable, Callable, Iterable
from typing import TypeAlias

import attrs

from sieve_async.config import check_job_id
from sieve_async.display import shorten
from sieve_async.errors import InvalidArgumentError
from sieve_async.outcomes import JobOutcome

JobIds: TypeAlias = Iterable[object] | AsyncIterable[object]

# How many ids are taken before the loop may do something else.
_CHUNK = 100


@attrs.define
class Feeder:
    """Takes ids from a source; it does not keep the watch alive that they are for.

    Attributes:
        add: Takes one id; returns an event to wait for when the watch is full.
        end: Takes the exception that ended the source, or None.
        has_begun: Whether it has begun to read.
    """

    add: weakref.WeakMethod[Callable[[object], asyncio.Event | None]]
    end: weakref.WeakMethod[Callable[[BaseException | None], None]]
    has_begun: bool = False

    async def run(self, source: JobIds) -> None:
        """Read the source to its end, and close it."""
        self.has_begun = True
        failure: BaseException | None = None
        try:
            await self._read(source)
        except BaseException as error:  # whatever it is, it is the caller's
            failure = error
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
        finally:
            end = self.end()
            if end is not None:
                end(failure)

    async def _read(self, source: JobIds) -> None:
        if not isinstance(source, AsyncIterable):
            for number, job_id in enumerate(source, 1):
                await self._add(job_id)
                if number % _CHUNK == 0:
                    await asyncio.sleep(0)
            return
        iterator = aiter(source)
        try:
            async for job_id in iterator:
                await self._add(job_id)
        finally:
            await close_source(iterator)

    async def _add(self, job_id: object) -> None:
        add = self.add()
        if add is None:
            raise asyncio.CancelledError  # the watch was dropped
        capacity = add(job_id)
        del add
        while capacity is not None and not capacity.is_set():
            await capacity.wait()


def plain_id_of(job_id: object) -> str | JobOutcome:
    """An id as a plain string; for what cannot be one, the outcome that says so."""
    try:
        return check_job_id(job_id)
    except InvalidArgumentError as error:
        return JobOutcome(_text_of(job_id), None, error.with_traceback(None))


async def close_source(source: object) -> None:
    """Close an async source of ids, so that it gives back what it holds."""
    close = getattr(source, "aclose", None)
    if isinstance(source, AsyncIterable) and close is not None:
        await close()


def _text_of(job_id: object) -> str:
    if isinstance(job_id, str):
        return job_id
    try:
        return shorten(str(job_id))
    except Exception:  # noqa: BLE001 - it is the caller's own, and must not disturb the others
        return f"<{type(job_id).__name__}>"
