"""The source of ids of a watch: any iterable or async iterable of job ids."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Self, TypeAlias

from sieve_async.config import check_job_id
from sieve_async.display import shorten
from sieve_async.errors import InvalidArgumentError
from sieve_async.outcomes import JobOutcome

JobIds: TypeAlias = Iterable[object] | AsyncIterable[object]


def plain_id_of(job_id: object) -> str | JobOutcome:
    """An id as a plain string; for what cannot be one, the outcome that says so."""
    try:
        return check_job_id(job_id)
    except InvalidArgumentError as error:
        return JobOutcome(_text_of(job_id), None, error.with_traceback(None))


def recorded(job_ids: JobIds, taken: list[str | JobOutcome]) -> JobIds:
    """The valid ids of a source; all of it is added to a list as it is taken."""
    if isinstance(job_ids, AsyncIterable):
        return _Recorded(job_ids, taken)
    taken.extend(plain_id_of(job_id) for job_id in job_ids)
    return [item for item in taken if isinstance(item, str)]


async def close_source(source: object) -> None:
    """Close an async source of ids, so that it gives back what it holds."""
    close = getattr(source, "aclose", None)
    if isinstance(source, AsyncIterable) and close is not None:
        await close()


class _Recorded:
    """The valid ids of an async source; a generator that has not begun would not close it."""

    def __init__(self, job_ids: AsyncIterable[object], taken: list[str | JobOutcome]) -> None:
        self._source = job_ids
        self._iterator: AsyncIterator[object] | None = None
        self._taken = taken

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        self._iterator = self._iterator or aiter(self._source)
        async for job_id in self._iterator:
            item = plain_id_of(job_id)
            self._taken.append(item)
            if isinstance(item, str):
                return item
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await close_source(self._iterator or self._source)


def _text_of(job_id: object) -> str:
    if isinstance(job_id, str):
        return job_id
    try:
        return shorten(str(job_id))
    except Exception:  # noqa: BLE001 - it is the caller's own, and must not disturb the others
        return f"<{type(job_id).__name__}>"
