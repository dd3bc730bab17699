"""`JobWatch`: one call that waits for many jobs, as an async iterator of outcomes."""

import asyncio
import weakref
from collections.abc import AsyncIterable, Callable, Iterable, Sized
from datetime import timedelta
from typing import NoReturn, Self, TypeAlias

import attrs

from sieve_async.config import check_timeout, check_whole
from sieve_async.errors import InvalidArgumentError
from sieve_async.models import Job, JobStatus
from sieve_async.observer import FinishedWatch, WaitObserver
from sieve_async.outcomes import JobOutcome, OutcomeList
from sieve_async.settings import PollPolicy
from sieve_async.watch.jobs import Subscriber
from sieve_async.watch.scheduler import Scheduler

# How many ids are taken, and outcomes handed out, before the loop may do something else.
_CHUNK = 100
_LONG_TIME = 1e9  # seconds

JobIds: TypeAlias = Iterable[object] | AsyncIterable[object]


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
    remote jobs continue. Several tasks may share one watch: each outcome is handed out once. What
    ends the watch is raised once the outcomes so far are taken, or by the end of the block.
    """

    _scheduler: Scheduler | None = None  # since the start of the watch
    _handed_out = _popped = 0

    def __init__(
        self,
        attach: Callable[[], Scheduler],
        job_ids: JobIds,
        subscriber: Subscriber,
        *,
        policy: PollPolicy,
        strategy: str,
        on_update: Callable[[Job], object] | None = None,
        observer: WaitObserver | None = None,
    ) -> None:
        self._attach = attach
        self._source = job_ids
        self._subscriber = subscriber
        self._policy = policy
        self._strategy = strategy
        self._observer = observer
        if on_update is not None:
            self._on_update = on_update
            # Weakly, for it may refer to this watch, which may be dropped all the same.
            update = weakref.WeakMethod(self._update)
            subscriber.on_update = lambda job: (call := update()) and call(job)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JobOutcome:
        if self._scheduler is None:
            await self._begin()
        self._handed_out += 1
        if self._handed_out % _CHUNK == 0:
            await asyncio.sleep(0)
        while not self._subscriber.outcomes:
            if self._subscriber.is_done:
                self._leave()
                self._report_end()
                self._subscriber.raise_failure()
                raise StopAsyncIteration
            await self._wait_for_news()
        return self._pop()

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._subscriber.raise_failure()  # should no step have come to it
        finally:
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
        check_whole("max_items", max_items, at_least=1)
        await self._begin()
        subscriber = self._subscriber
        outcomes = subscriber.outcomes
        max_items = min(max_items, subscriber.max_pending)  # no more ids are taken meanwhile
        is_over = seconds == 0

        def end() -> None:  # it decides, not the clock: a loop may call it a little early
            nonlocal is_over
            is_over = True
            subscriber.news.set()

        delay = _LONG_TIME if seconds is None else seconds
        timer = asyncio.get_running_loop().call_later(delay, end)
        try:
            while len(outcomes) < max_items and not (subscriber.is_done or is_over):
                await self._wait_for_news()
        finally:
            timer.cancel()
        taken: list[JobOutcome] = []
        while outcomes and len(taken) < max_items:
            taken.append(self._pop())
        if not taken:
            subscriber.raise_failure()
        return taken

    async def collect(self) -> OutcomeList:
        """All outcomes, in the order in which the ids came; one given twice stands there twice.

        Raises:
            InvalidArgumentError: The watch has begun: some of its ids or outcomes were taken.
        """
        if self._scheduler is not None:
            raise InvalidArgumentError("collect() takes all of a watch, and this one has begun")
        if not isinstance(self._source, AsyncIterable):
            self._source = list(self._source)
        order = self._subscriber.order = []
        async with self:
            found = {outcome.job_id: outcome async for outcome in self if _is_of_job(outcome)}
        ended = (found.get(item) if isinstance(item, str) else item for item in order)
        # An id that came after the end was not watched.
        return OutcomeList(outcome for outcome in ended if outcome is not None)

    @property
    def done(self) -> bool:
        """Whether nothing is pending, and nothing is left to take or to raise."""
        subscriber = self._subscriber
        return subscriber.is_done and not subscriber.outcomes and subscriber.unraised is None

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state: by status while pending, then by ``outcome.status``.

        Jobs that were not seen yet are counted as ``unknown``.
        """
        return {status: count for status, count in self._subscriber.counts.items() if count}

    def pending(self) -> list[PendingJob]:
        """The jobs that are not terminal yet."""
        subscriber = self._subscriber
        if self._scheduler is None or not subscriber.is_active:
            return []
        now = asyncio.get_running_loop().time()
        return [
            PendingJob(job_id, job.status, subscriber.elapsed(job, now))
            for job_id, job in subscriber.jobs.items()
            if job is not None
        ]

    async def aclose(self) -> None:
        """Stop watching. May be called more than once."""
        self._report_end()
        self._leave()
        self._subscriber.close()
        ending = set(self._subscriber.ending) - {asyncio.current_task()}  # the source may close it
        if ending:
            await asyncio.wait(ending)
        if not self._subscriber.has_begun:  # nor will it
            await self._close_unread()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a watch cannot be copied or pickled")

    def __del__(self) -> None:
        feeder, scheduler = self._subscriber.feeder, self._scheduler
        if feeder is None or scheduler is None or self._subscriber.group is None:
            return
        loop = feeder.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(scheduler.leave, self._subscriber)  # it may be any thread

    async def _begin(self) -> None:
        try:
            self._start()
        except BaseException:
            await self._close_unread()
            raise

    async def _close_unread(self) -> None:
        """Close a source that nothing reads, once; other ids can still be watched."""
        source = self._source
        if isinstance(source, AsyncIterable):
            self._source = ()
            await _close_source(source)

    def _start(self) -> None:
        subscriber = self._subscriber
        if self._scheduler is not None or subscriber.is_closed:
            return
        scheduler = self._attach()
        source = self._source
        if not isinstance(source, AsyncIterable):
            source = iter(source)
            if isinstance(self._source, Sized):
                subscriber.rest = source
        scheduler.join(subscriber, self._policy, self._strategy)
        self._scheduler = scheduler
        # In the caller's context, for it runs the caller's iterator.
        feeding = _feed(scheduler, subscriber, source)
        subscriber.feeder = asyncio.Task(feeding, loop=asyncio.get_running_loop())

    def _update(self, job: Job) -> object:
        return self._on_update(job)

    def _leave(self) -> None:
        if self._scheduler is not None:
            self._scheduler.leave(self._subscriber)
        else:
            self._subscriber.stop()

    async def _wait_for_news(self) -> None:
        subscriber = self._subscriber
        subscriber.waiting += 1
        try:
            subscriber.news.clear()
            await subscriber.news.wait()
        finally:
            subscriber.waiting -= 1

    def _pop(self) -> JobOutcome:
        outcome = self._subscriber.pop()
        self._popped += 1
        if self._observer is not None:
            self._observer.on_outcome(outcome)
        return outcome

    def _report_end(self) -> None:
        """Report the end of the watch once, if it ever began."""
        observer, self._observer = self._observer, None
        if observer is not None and self._scheduler is not None:
            subscriber = self._subscriber
            elapsed = asyncio.get_running_loop().time() - subscriber.started
            pending = subscriber.pending + len(subscriber.outcomes)
            watch = FinishedWatch(outcomes=self._popped, pending=pending, elapsed=elapsed)
            observer.on_watch(watch)


async def _feed(scheduler: Scheduler, subscriber: Subscriber, source: JobIds) -> None:
    """Take the ids of a watch from their source, to its end; the caller may drop the `JobWatch`."""
    subscriber.has_begun = True
    try:
        await _read(scheduler, subscriber, source)
    except BaseException as error:  # whatever it is, it is the caller's
        if not (subscriber.is_fed and isinstance(error, asyncio.CancelledError)):
            scheduler.end(subscriber, error)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
    finally:
        subscriber.is_fed = True
        subscriber.news.set()


async def _read(scheduler: Scheduler, subscriber: Subscriber, source: JobIds) -> None:
    iterator: object = source
    try:
        if subscriber.is_fed:
            return  # the watch has ended before this could begin
        if isinstance(source, AsyncIterable):
            iterator = aiter(source)
            async for job_id in iterator:
                await _add(scheduler, subscriber, job_id)
        else:
            for number, job_id in enumerate(source, 1):
                await _add(scheduler, subscriber, job_id)
                if number % _CHUNK == 0:
                    await asyncio.sleep(0)
    finally:
        try:
            await _close_source(iterator)
        finally:
            if iterator is not source:
                await _close_source(source)


async def _add(scheduler: Scheduler, subscriber: Subscriber, job_id: object) -> None:
    if subscriber.is_fed:
        raise asyncio.CancelledError  # the source has swallowed the one that came before
    plain_id = subscriber.accept(job_id)
    if plain_id is not None:
        scheduler.watch(plain_id, subscriber)
    while subscriber.is_full:
        subscriber.capacity.clear()
        await subscriber.capacity.wait()


async def _close_source(source: object) -> None:
    """Close an async source of ids, so that it gives back what it holds."""
    close = getattr(source, "aclose", None)
    if isinstance(source, AsyncIterable) and close is not None:
        await close()


def _is_of_job(outcome: JobOutcome) -> bool:
    """Whether it belongs to a watched job; else it says that an id is invalid."""
    return not isinstance(outcome.error, InvalidArgumentError)
