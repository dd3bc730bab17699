"""`Lister`: lists of the running jobs, as hints on when to poll each job.

A job that is listed need not be polled soon, and one that is missing is polled now. Nothing else
follows from a list: a wrong one costs requests or time, never a result.
"""

import asyncio
import logging
from collections.abc import Callable

import attrs

from sieve_async.background import Alarm, Background, cancel, loop_time
from sieve_async.decode import JobPage, parse_states
from sieve_async.endpoints import MAX_PAGE, list_jobs
from sieve_async.errors import ClientClosedError, ResponseTooLargeError, SieveError
from sieve_async.messages import Request, Response, shorten
from sieve_async.models import Job, JobStatus
from sieve_async.retry import Retrier
from sieve_async.watch.jobs import JobGroup, WatchedJob

logger = logging.getLogger("sieve_async")

# In the order in which jobs go through them: one that changes meanwhile is listed all the same.
_RUNNING = (JobStatus.QUEUED, JobStatus.PROCESSING)
# The first round of new jobs begins when no id has come for so many seconds, or at the latest
# after so many: a round that knows few of the jobs would seem to cost more than polls. When it is
# further off, they are polled.
_GATHERING = 0.05
_MAX_GATHERING = 2.0
_MAX_WAIT = 3.0
_MIN_INTERVAL_PER_PAGE = 0.05
PAGE_TIMEOUT = 10.0
# A listed job is polled, should lists stop, after so many intervals and seconds.
_PUSH_BACK_INTERVALS = 1.5
_PUSH_BACK_SECONDS = 1.0
# By how much the interval may grow from round to round before all listed jobs are pushed back once
# more at its end, which takes 1 us for each of them, of 8 for the whole round.
_MAX_GROWTH = 1.2
# Lists may cost so many times the bytes of polls; otherwise there are none for a while.
_MAX_COST = 2.0
_OFF_SECONDS = 600.0


@attrs.define(eq=False)
class _ListPass:
    """One pass over the pages of the running jobs.

    Attributes:
        started: When it began.
        jobs: The jobs that were pending then.
        new: Those that were added since.
        listed: Those that a page shows as running.
        pages: How many pages were read.
        rows: How many jobs they held, other ones included.
        bytes: How many bytes they had.
    """

    started: float
    jobs: dict[str, WatchedJob]
    new: dict[str, WatchedJob] = attrs.field(factory=dict)
    listed: dict[str, WatchedJob] = attrs.field(factory=dict)
    pages: int = 0
    rows: int = 0
    bytes: int = 0


class Lister:
    """Lists the running jobs in rounds while any job of the group is pending.

    Args:
        group: The jobs.
        retrier: Sends the requests for pages.
        background: Runs the rounds.
        poll_now: Polls a job before those that are merely due.
        page_timeout: How long to try to get a page, in seconds.
    """

    def __init__(
        self,
        group: JobGroup,
        retrier: Retrier,
        background: Background,
        poll_now: Callable[[WatchedJob], None],
        *,
        page_timeout: float,
    ) -> None:
        self._group = group
        self._retrier = retrier
        self._background = background
        self._poll_now = poll_now
        self._page_timeout = page_timeout
        self._interval = 0.0
        self._next_at = self._off_until = float("-inf")
        self._added_at = self._new_since = float("-inf")
        self._pass: _ListPass | None = None
        self._alarm = Alarm(background, self._begin)
        self._task: asyncio.Task[None] | None = None
        self._has_warned = self._has_new = False

    def add(self, job: WatchedJob) -> bool:
        """Have a new job polled only if the next round comes late; False if there is none soon."""
        now = loop_time()
        if now < self._off_until:
            return False
        job.due = now + _MAX_WAIT
        job.draw_latest_due(now)
        if not self._has_new:
            self._has_new, self._new_since = True, now
        self._added_at = now
        if self._pass is not None:
            self._pass.new[job.job_id] = job
        self._plan(min(max(self._next_at, now + _GATHERING), now + _MAX_WAIT))
        return True

    def pushed_back_until(self, now: float) -> float:
        """When to poll a job that is listed now, should the next round not list it."""
        if now < self._off_until:
            return now
        return now + _PUSH_BACK_INTERVALS * self._interval + _PUSH_BACK_SECONDS

    def stop(self) -> list[asyncio.Task[None]]:
        """List no more; returns the task that is about to end."""
        self._alarm.turn_off()
        return cancel(self._task)

    def _plan(self, when: float) -> None:
        """Begin a round at this time, unless one is running or comes sooner."""
        if self._task is None:
            self._alarm.set(when)

    def _begin(self, now: float) -> None:
        complete_at = min(self._added_at + _GATHERING, self._new_since + _MAX_GATHERING)
        if now < complete_at:
            self._plan(complete_at)
            return
        self._has_new = False
        if jobs := self._group.jobs():
            self._pass = _ListPass(now, jobs)
            self._task = self._background.start(self._run(self._pass))

    async def _run(self, this: _ListPass) -> None:
        try:
            is_complete = await self._read(this)
        except ClientClosedError:
            return
        except SieveError as error:
            is_complete = False
            self._on_error(error)
        else:
            self._has_warned = False
            if self._is_too_dear(this):
                self._turn_off("they cost more than polls")
        finally:
            self._task = self._pass = None
        self._apply(this, is_complete=is_complete)
        self._plan(self._next_at)

    def _apply(self, this: _ListPass, *, is_complete: bool) -> None:
        """Move the due times of the jobs, and set that of the next round."""
        now = loop_time()
        if is_complete:
            for job_id, job in this.jobs.items():
                if job_id not in this.listed:
                    self._on_missing(job)
        interval = self._next_interval(this, now)
        previous, self._interval = self._interval, max(interval, now - this.started)
        if self._interval > _MAX_GROWTH * previous:  # the pages have not pushed them back enough
            until = self.pushed_back_until(now)
            for job in this.listed.values():
                job.push_back(until)
        self._next_at = max(now, this.started + interval, self._off_until)

    async def _read(self, this: _ListPass) -> bool:
        """Read the pages; whether all were read, and not too dear."""
        for status in _RUNNING:
            offset: int | None = 0
            while offset is not None:
                page = await self._page(this, status, offset)
                self._take(this, page)
                jobs = len(this.jobs) + len(this.new)
                if this.bytes > _MAX_COST * jobs * self._poll_size(this):
                    return False
                following = page.next_offset
                offset = following if following is not None and following > offset else None
        return True

    async def _page(self, this: _ListPass, status: JobStatus, offset: int) -> JobPage:
        def parse(request: Request[Job], response: Response) -> JobPage:
            this.bytes += len(response.body)
            return parse_states(request, response)

        request = list_jobs(status=status, limit=MAX_PAGE, offset=offset)
        deadline = loop_time() + self._page_timeout
        return await self._retrier.call(
            request, parse, poll=True, deadline=deadline, waits_out_pauses=True
        )

    def _take(self, this: _ListPass, page: JobPage) -> None:
        until = self.pushed_back_until(loop_time())
        this.pages += 1
        this.rows += len(page.jobs)
        for job_id, status in page.jobs:
            job = this.jobs.get(job_id) or this.new.get(job_id)
            if job is None or status.is_terminal or not job.is_active:
                continue
            this.listed[job_id] = job
            job.is_listed = True
            if status is not job.status:
                job.set_status(status)
            job.push_back(until)

    def _on_missing(self, job: WatchedJob) -> None:
        is_unseen = not (job.was_listed or job.state.polls)
        if (job.is_listed or is_unseen) and job.is_active:
            job.is_listed = False
            self._poll_now(job)

    def _poll_size(self, this: _ListPass) -> float:
        """The mean size of an own document of these jobs; without any, of a row."""
        group = self._group
        if group.documents:
            return group.document_bytes / group.documents
        return this.bytes / this.rows if this.rows else float("inf")

    def _is_too_dear(self, this: _ListPass) -> bool:
        listed = len(this.listed)
        return this.pages > listed or this.bytes > _MAX_COST * listed * self._poll_size(this)

    def _next_interval(self, this: _ListPass, now: float) -> float:
        if not this.listed:
            return self._group.policy.max_interval
        interval = self._group.policy.interval
        intervals = sum(interval(now - job.state.changed_at) for job in this.listed.values())
        return max(intervals / len(this.listed), _MIN_INTERVAL_PER_PAGE * this.pages)

    def _on_error(self, error: SieveError) -> None:
        if isinstance(error, ResponseTooLargeError):
            self._turn_off("a page is too large")
        else:
            level = logging.DEBUG if self._has_warned else logging.WARNING
            logger.log(level, "list failed, polling meanwhile: %s", shorten(str(error)))
            self._has_warned = True

    def _turn_off(self, reason: str) -> None:
        self._off_until = loop_time() + _OFF_SECONDS
        logger.info("lists are off for %.0f s, polling instead: %s", _OFF_SECONDS, reason)
