"""Running, cancelling and listing jobs."""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeAlias

from sieve_async import endpoints
from sieve_async.background import TIMER_RESOLUTION, loop_time
from sieve_async.config import check_whole, parse_function_name
from sieve_async.decode import JobPage, parse_page, parse_success
from sieve_async.errors import (
    BadRequestError,
    DecodeError,
    InvalidArgumentError,
    JobNotCancellableError,
    NotFoundError,
    ResponseTooLargeError,
    SieveError,
    WaitTimeoutError,
)
from sieve_async.jobs.inputs import PushArguments
from sieve_async.jobs.push import PushedJob
from sieve_async.messages import Request
from sieve_async.models import Job, JobStatus
from sieve_async.polling.poller import PUSH_GRACE

# Makes a plain call: a request, and the function that reads its answer.
Call: TypeAlias = Callable[[Request[Any], Callable[..., Any]], Awaitable[Any]]

# Pages in a row that bring nothing new: the server does not page.
_MAX_STALE_PAGES = 100
# Seconds that cancelling may take after a deadline.
_MAX_CANCEL_TIME = 10.0
_CANCEL_INTERVAL = 0.5


async def cancel_job(call: Call, get_job: Callable[[str], Awaitable[Job]], job_id: str) -> Job:
    """Cancel a job; ``SieveClient.cancel_job`` describes what it promises."""
    request = endpoints.cancel_job(job_id)
    is_refused = False
    try:
        await call(request, parse_success)
    except BadRequestError as error:
        if error.status != 400:
            raise
        is_refused = True
    job = await get_job(job_id)
    if is_refused and not job.is_terminal:
        raise JobNotCancellableError(job)
    return job


async def run_job(
    arguments: PushArguments,
    *,
    push: Callable[[PushArguments, float | None], Awaitable[PushedJob]],
    wait: Callable[[str, float | None], Awaitable[Job]],
    cancel: Callable[[str], Awaitable[Job]],
    seconds: float | None,
    on_pushed: Callable[[PushedJob], object] | None,
    cancel_on_timeout: bool,
) -> Job:
    """Push a job and wait for it; ``SieveClient.run`` describes what it promises."""
    started = loop_time()
    deadline = None if seconds is None else started + seconds
    # A timeout of 0 is one poll of a job that must be pushed first.
    pushed = await push(arguments, deadline if seconds else None)
    pushed_at = loop_time()
    if on_pushed is not None:
        result = on_pushed(pushed)
        if inspect.isawaitable(result):
            await result
    try:
        left = None if deadline is None else max(0.0, deadline - loop_time())
        return await wait(pushed.id, left)
    except WaitTimeoutError as error:
        is_over = deadline is not None and loop_time() > deadline - TIMER_RESOLUTION
        if not is_over or error.target != pushed.id:
            raise  # it is of a callback
        error.elapsed = loop_time() - started  # the push and the callback were part of the wait
        if not cancel_on_timeout:
            raise
        failure = error.with_traceback(None)
    try:
        async with asyncio.timeout(_MAX_CANCEL_TIME):
            job = await _cancel_pushed(cancel, pushed.id, pushed_at)
    except (SieveError, TimeoutError) as error:
        reason = str(error) or f"no answer within {_MAX_CANCEL_TIME:g} s"
        failure.add_note(f"the job could not be cancelled: {reason}")
        raise failure from None
    if job.is_terminal and not job.cancelled:
        return job  # it was over before it could be cancelled
    failure.add_note("the job was cancelled")
    raise failure


async def _cancel_pushed(
    cancel: Callable[[str], Awaitable[Job]], job_id: str, pushed_at: float
) -> Job:
    """Cancel a job that was pushed a moment ago, perhaps: a replica may not know it yet."""
    while True:
        try:
            return await cancel(job_id)
        except NotFoundError:
            if loop_time() - pushed_at >= PUSH_GRACE:
                raise
        await asyncio.sleep(_CANCEL_INTERVAL)


class JobList:
    """An async iterator over the pages of a list of jobs; no id comes twice."""

    def __init__(self, fetch: Callable[[int, int], Awaitable[JobPage]], limit: int | None) -> None:
        self._fetch = fetch
        self._limit = limit
        self._seen: set[str] = set()
        self._ready: deque[Job] = deque()
        self._size = endpoints.MAX_PAGE
        self._offset: int | None = 0  # of the next page; None after the last one
        self._last_offset = -1
        self._stale_pages = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job:
        while not self._ready:
            if self._offset is None or self._left() == 0:
                raise StopAsyncIteration
            await self._read_page(self._offset)
        return self._ready.popleft()

    @staticmethod
    def _error(reason: str) -> DecodeError:
        return DecodeError(reason, "GET", endpoints.list_jobs().path, 200)

    def _left(self) -> int | None:
        """How many jobs are still to come; None for all."""
        return None if self._limit is None else self._limit - len(self._seen)

    async def _read_page(self, offset: int) -> None:
        if offset <= self._last_offset or self._stale_pages >= _MAX_STALE_PAGES:
            self._offset = None
            last = self._last_offset
            raise self._error(f"next_offset after {last} leads nowhere: there is no end")
        left = self._left()
        size = self._size if left is None else min(self._size, left)
        try:
            page = await self._fetch(size, offset)
        except ResponseTooLargeError:
            if size == 1:
                raise
            self._size = size // 2
            return
        self._last_offset, self._offset = offset, page.next_offset
        if page.jobs and page.next_offset is None and not page.is_last:
            self._offset = offset  # an error, once the jobs of this page are taken
        before = len(self._seen)
        for job in page.models():
            if job.id not in self._seen and self._left() != 0:
                self._seen.add(job.id)
                self._ready.append(job)
        self._stale_pages = 0 if len(self._seen) > before else self._stale_pages + 1


def list_jobs(
    call: Call, *, status: JobStatus | str | None, function: str | None, limit: int | None
) -> JobList:
    """Check the arguments and return the iterator over the jobs.

    Raises:
        InvalidArgumentError: An argument is invalid.
    """
    check_whole("limit", limit, at_least=0, optional=True)
    if function is not None and status is not None and parse_function_name(function).version_slug:
        raise InvalidArgumentError("the API cannot filter the jobs of one version by status")
    endpoints.list_jobs(status=status, function=function)

    async def fetch(size: int, offset: int) -> JobPage:
        request = endpoints.list_jobs(status=status, function=function, limit=size, offset=offset)
        page: JobPage = await call(request, parse_page)
        return page

    return JobList(fetch, limit)
