"""`JobWatch`: one call that waits for many jobs, as an async iterator of outcomes."""

import asyncio
import contextvars
import weakref
from collections import Counter, deque
from collections.abc import AsyncIterable, Callable, Iterator, Sized
from datetime import timedelta
from typing import Any, NoReturn, ParamSpec, Self

import attrs

from sieve_async.background import cancel
from sieve_async.config import check_timeout
from sieve_async.errors import ClientClosedError, InvalidArgumentError, WaitTimeoutError
from sieve_async.models import Job, JobStatus
from sieve_async.observer import FinishedWatch, WaitObserver
from sieve_async.outcomes import JobOutcome
from sieve_async.polling import PollPolicy
from sieve_async.watch.jobs import JobGroup, Subscriber, WatchedJob
from sieve_async.watch.scheduler import Scheduler
from sieve_async.watch.source import Feeder, JobIds, close_source, plain_id_of

P = ParamSpec("P")

# How many ids are taken, and outcomes handed out, before the loop may do something else.
_CHUNK = 100
# How long before the deadline the last polls begin: at the least, with long polls, at the most.
_MIN_LEAD = 0.1
_LONG_POLL_LEAD = 1.0
_MAX_LEAD = 5.0
# A watch that is over sooner makes no use of lists.
_MIN_LISTED = 1.0
_LONG_TIME = 1e9  # seconds
_UNKNOWN = "unknown"  # counts jobs that were not seen yet


@attrs.frozen
class PendingJob:
    """A job that is not terminal yet, as a watch knows it.

    Attributes:
        job_id: Its id.
        status: The status last seen, in its own document or in a list; None before the first.
        elapsed: Seconds since the watch took the id.
    """

    job_id: str
    status: JobStatus | None
    elapsed: float


class JobWatch:
    """The outcomes of many jobs, in the order in which their ends are seen.

    An async iterator, and an async context manager that stops watching when its block is left. The
    watch starts with the block or the first step, and stops also when it is closed or dropped. The
    remote jobs continue. Several tasks may share one watch: each outcome is handed out once.
    """

    def __init__(
        self,
        attach: Callable[[], Scheduler],
        job_ids: JobIds,
        *,
        policy: PollPolicy,
        strategy: str,
        timeout: float | None,
        max_pending: int,
        on_update: Callable[[Job], object] | None = None,
        observer: WaitObserver | None = None,
    ) -> None:
        self._attach = attach
        self._source = job_ids
        self._policy = policy
        self._strategy = strategy
        self._timeout = timeout
        self._max_pending = max_pending
        self._observer = observer
        self._scheduler: Scheduler | None = None
        self._group: JobGroup | None = None
        # Each id that was taken, and its job while that is pending.
        self._jobs: dict[str, WatchedJob | None] = {}
        self._outcomes: deque[JobOutcome] = deque()
        self._counts: Counter[str] = Counter()
        self._handed_out = self._popped = 0
        self._waiting = self._failure_callers = 0
        self._started = self._ended = 0.0
        self._unfinished: Iterator[JobOutcome] | None = None  # after the end of the watch
        self._is_fed = self._is_closed = self._is_client_closed = False
        self._failure: BaseException | None = None
        self._news = asyncio.Event()
        self._has_capacity = asyncio.Event()
        self._rest: Iterator[object] | None = None
        self._feeding: Feeder | None = None
        self._feeder: asyncio.Task[None] | None = None
        self._ending: list[asyncio.Task[None]] = []  # cancelled tasks, which closing waits for
        self._timer: asyncio.TimerHandle | None = None
        self._subscriber = Subscriber(
            self._jobs,
            None,
            on_update,
            contextvars.copy_context(),
            on_outcome=_weakly(self._on_outcome),
            on_status=_weakly(self._on_status),
            on_close=_weakly(self._on_client_closed),
            on_failure=_weakly(self._fail),
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JobOutcome:
        self._start()
        self._handed_out += 1
        if self._handed_out % _CHUNK == 0:
            await asyncio.sleep(0)
        while not self._outcomes:
            if self._is_done:
                self._leave()
                self._report_end()
                self._raise_failure()
                raise StopAsyncIteration
            await self._wait_for_news()
        return self._pop()

    async def __aenter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            await close_source(self._source)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def take(
        self, max_items: int = 500, within: float | timedelta | None = 0.5
    ) -> list[JobOutcome]:
        """The outcomes that come within some seconds; empty when none do.

        Args:
            max_items: Return as soon as there are so many.
            within: Return after so many seconds, or as soon as nothing more can come; None is no
                limit.

        Raises:
            BaseException: What ended the watch, once all outcomes are taken.
        """
        seconds = check_timeout(within, "within")
        _check_max_items(max_items)
        max_items = min(max_items, self._max_pending)  # no more ids are taken meanwhile
        self._start()
        loop = asyncio.get_running_loop()
        until = loop.time() + (_LONG_TIME if seconds is None else seconds)
        timer = loop.call_at(until, self._news.set)
        try:
            while len(self._outcomes) < max_items and not self._is_done and loop.time() < until:
                await self._wait_for_news()
        finally:
            timer.cancel()
        taken: list[JobOutcome] = []
        while self._outcomes and len(taken) < max_items:
            taken.append(self._pop())
        if not taken:
            self._raise_failure()
        return taken

    @property
    def done(self) -> bool:
        """Whether nothing is pending and nothing is left to take."""
        return self._is_closed or (self._is_done and not self._outcomes)

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state: by status while pending, then by ``outcome.status``.

        Jobs that were not seen yet are counted as ``unknown``.
        """
        return {status: count for status, count in self._counts.items() if count}

    def pending(self) -> list[PendingJob]:
        """The jobs that are not terminal yet."""
        if self._scheduler is None or not self._subscriber.is_active:
            return []
        now = asyncio.get_running_loop().time()
        return [
            PendingJob(job_id, job.status, now - max(self._started, job.state.started))
            for job_id, job in self._jobs.items()
            if job is not None
        ]

    async def aclose(self) -> None:
        """Stop watching. May be called more than once."""
        self._report_end()
        ending = set(self._stop()) - {asyncio.current_task()}  # the source may close the watch
        if self._feeding is None or not self._feeding.has_begun:
            await close_source(self._source)
        if ending:
            await asyncio.wait(ending)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a watch cannot be copied or pickled")

    def __del__(self) -> None:
        feeder = getattr(self, "_feeder", None)
        if feeder is not None and self._subscriber.is_active:
            loop = feeder.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._stop)  # it may be dropped in any thread

    @property
    def _is_done(self) -> bool:
        """Whether no outcome will come any more."""
        is_over = self._is_closed or self._failure is not None or self._unfinished is not None
        return is_over or (self._is_fed and not self._subscriber.pending)

    def _start(self) -> None:
        if self._scheduler is not None or self._is_closed:
            return
        scheduler = self._attach()
        source = self._source
        if not isinstance(source, AsyncIterable):
            source = self._rest = iter(source)
        loop = asyncio.get_running_loop()
        self._started = self._subscriber.started = loop.time()
        if self._timeout:
            self._subscriber.deadline = deadline = self._started + self._timeout
            soon = deadline - min(_MAX_LEAD, self._timeout / 2)
            self._timer = loop.call_at(soon, _weakly(self._plan_last_polls))
        strategy = self._strategy
        if strategy == "list" and self._timeout is not None and self._timeout < _MIN_LISTED:
            strategy = "poll"
        self._group = scheduler.join(
            self._subscriber, self._policy, strategy, is_single_poll=self._timeout == 0
        )
        self._scheduler = scheduler
        # In the caller's context, for it runs the caller's iterator.
        self._feeding = Feeder(weakref.WeakMethod(self._add), weakref.WeakMethod(self._end_feeding))
        feeder = asyncio.Task(self._feeding.run(source), loop=loop)
        self._subscriber.feeder = self._feeder = feeder

    def _add(self, job_id: object) -> asyncio.Event | None:
        """Watch one more job; returns an event to wait for when the watch is full."""
        if self._is_fed or self._scheduler is None or self._group is None:
            raise asyncio.CancelledError  # the source has swallowed the one that came before
        plain_id = self._accept(job_id)
        if plain_id is not None:
            self._jobs[plain_id] = None
            self._subscriber.pending += 1
            self._counts[_UNKNOWN] += 1
            job = self._scheduler.watch(plain_id, self._subscriber, self._group)
            self._jobs[plain_id] = job
            if job.status is not None:
                self._on_status(job, None, job.status)
        if self._subscriber.pending + len(self._outcomes) < self._max_pending:
            return None
        self._has_capacity.clear()
        return self._has_capacity

    def _accept(self, job_id: object) -> str | None:
        """The id as a plain string; None for one that was taken before, or is invalid."""
        item = plain_id_of(job_id)
        if isinstance(item, JobOutcome):
            self._put(item)
            return None
        return None if item in self._jobs else item

    def _end_feeding(self, error: BaseException | None) -> None:
        was_fed, self._is_fed = self._is_fed, True
        if error is not None and not (was_fed and isinstance(error, asyncio.CancelledError)):
            self._fail(error)
        self._news.set()

    def _on_status(self, job: WatchedJob, old: JobStatus | None, new: JobStatus) -> None:
        if self._jobs.get(job.job_id) is not job:
            return
        self._counts[_UNKNOWN if old is None else str(old)] -= 1
        self._counts[str(new)] += 1

    def _on_outcome(self, outcome: JobOutcome) -> None:
        job = self._jobs.get(outcome.job_id)
        if job is None:
            return
        self._jobs[outcome.job_id] = None
        self._subscriber.pending -= 1
        self._counts[_UNKNOWN if job.status is None else str(job.status)] -= 1
        self._put(outcome)

    def _put(self, outcome: JobOutcome) -> None:
        self._counts[outcome.status] += 1
        self._outcomes.append(outcome)
        self._news.set()

    def _pop(self) -> JobOutcome:
        outcome = self._outcomes.popleft()
        self._popped += 1
        self._has_capacity.set()
        self._put_unfinished()
        if self._observer is not None:
            self._observer.on_outcome(outcome)
        return outcome

    def _report_end(self) -> None:
        """Report the end of the watch once, if it ever began."""
        observer, self._observer = self._observer, None
        if observer is None or self._scheduler is None:
            return
        elapsed = asyncio.get_running_loop().time() - self._started
        pending = self._subscriber.pending + len(self._outcomes)
        observer.on_watch(FinishedWatch(outcomes=self._popped, pending=pending, elapsed=elapsed))

    def _plan_last_polls(self) -> None:
        """Begin the last polls so early that they can be back in time."""
        scheduler, deadline = self._scheduler, self._subscriber.deadline
        if scheduler is None or deadline is None:
            return
        loop = asyncio.get_running_loop()
        least = _LONG_POLL_LEAD if self._strategy == "long_poll" else _MIN_LEAD
        lead = min(max(least, scheduler.lead_time(self._subscriber.pending)), _MAX_LEAD)
        when = max(loop.time(), deadline - lead)
        self._timer = loop.call_at(when, _weakly(self._make_last_polls))

    def _make_last_polls(self) -> None:
        deadline = self._subscriber.deadline
        if self._scheduler is not None and deadline is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(deadline, _weakly(self._on_deadline))
            self._scheduler.expedite(job for job in self._jobs.values() if job is not None)

    def _on_deadline(self) -> None:
        # One turn later: an answer that has arrived in this turn counts.
        asyncio.get_running_loop().call_soon(_weakly(self._end))

    def _on_client_closed(self) -> None:
        self._is_client_closed = True
        self._end()

    def _end(self) -> None:
        """End what is pending: its outcomes are made when they are taken."""
        if self._unfinished is not None or not self._subscriber.is_active:
            return
        self._ended = asyncio.get_running_loop().time()
        self._ending += self._stop_feeding()
        self._subscriber.is_active = False
        if self._scheduler is not None:
            self._scheduler.interrupt()
        self._unfinished = self._make_unfinished(list(self._jobs.values()))
        self._put_unfinished()
        self._news.set()

    def _put_unfinished(self) -> None:
        if self._unfinished is not None and not self._outcomes:
            for outcome in self._unfinished:
                self._put(outcome)
                return

    def _make_unfinished(self, jobs: list[WatchedJob | None]) -> Iterator[JobOutcome]:
        """The outcomes of what was pending, and of ids that were still to come.

        Those of a source that might have no end are left alone.
        """
        jobs.reverse()
        while jobs:
            job = jobs.pop()
            if job is None or self._jobs[job.job_id] is None:
                continue
            self._jobs[job.job_id] = None
            self._subscriber.pending -= 1
            self._counts[_UNKNOWN if job.status is None else str(job.status)] -= 1
            elapsed = self._ended - max(self._started, job.state.started)
            if self._is_client_closed and not _is_terminal(job):
                yield self._closed_outcome(job.job_id, job.state.polls, elapsed)
            else:
                yield job.outcome(elapsed)
        if self._rest is not None and isinstance(self._source, Sized):
            for job_id in self._rest:
                plain_id = self._accept(job_id)
                if plain_id is not None:
                    self._jobs[plain_id] = None
                    if self._is_client_closed:
                        yield self._closed_outcome(plain_id, 0, 0.0)
                    else:
                        yield JobOutcome(plain_id, None, WaitTimeoutError(plain_id, None, 0, 0.0))

    def _closed_outcome(self, job_id: str, polls: int, elapsed: float) -> JobOutcome:
        error = ClientClosedError("the client was closed while waiting")
        return JobOutcome(job_id, None, error, polls, elapsed)

    def _fail(self, error: BaseException) -> None:
        """Stop watching, and raise this once the outcomes so far are taken."""
        if self._subscriber.is_active:
            self._failure = error
            self._failure_callers = 1 if isinstance(error, Exception) else max(1, self._waiting)
            self._leave()

    async def _wait_for_news(self) -> None:
        self._waiting += 1
        try:
            self._news.clear()
            await self._news.wait()
        finally:
            self._waiting -= 1

    def _raise_failure(self) -> None:
        """Raise what ended the watch: once, or in all that waited if it is no ``Exception``."""
        if self._failure is not None and self._failure_callers > 0:
            self._failure_callers -= 1
            if isinstance(self._failure, StopAsyncIteration):  # it would look like the end
                raise RuntimeError("StopAsyncIteration ended the watch") from self._failure
            raise self._failure

    def _stop(self) -> list[asyncio.Task[None]]:
        """Watch no more and hand out nothing more; returns the tasks that are about to end."""
        self._is_closed = True
        ending = self._leave()
        self._outcomes.clear()
        self._unfinished = self._failure = None
        return ending

    def _leave(self) -> list[asyncio.Task[None]]:
        self._ending += self._stop_feeding()
        if self._scheduler is not None and self._group is not None:
            self._ending += self._scheduler.leave(self._subscriber, self._group)
        self._jobs.clear()
        self._rest = None
        self._subscriber.pending = 0
        self._news.set()
        return self._ending

    def _stop_feeding(self) -> list[asyncio.Task[None]]:
        if self._timer is not None:
            self._timer.cancel()
        self._is_fed = True
        return cancel(self._feeder)


def _check_max_items(max_items: object) -> None:
    """Refuse what is not a whole number of at least one.

    Raises:
        InvalidArgumentError: It is not.
    """
    if isinstance(max_items, bool) or not isinstance(max_items, int) or max_items < 1:
        raise InvalidArgumentError("max_items must be a whole number of at least 1")


def _weakly(method: Callable[P, object]) -> Callable[P, None]:
    """The same as a function that does not keep the object of a bound method alive."""
    reference: Any = weakref.WeakMethod(method)

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        found = reference()
        if found is not None:
            found(*args, **kwargs)

    return call


def _is_terminal(job: WatchedJob) -> bool:
    status = job.state.status
    return status is not None and status.is_terminal
