"""The jobs of the fake server: found by id, listed in pages, and awaited.

A page costs what it shows, not what there is: the index is kept as time passes, and only those
jobs are touched whose status has changed.
"""

import asyncio
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from heapq import heappop, heappush
from itertools import islice
from operator import attrgetter

import attrs

from sieve_async.testing.clock import Progress, Timers
from sieve_async.testing.jobs import ROUNDING, FakeJob, JobScript

BLOCK_SIZE = 512
_number = attrgetter("number")


@attrs.define
class LongPollWaiters:
    """Requests that wait for a job to end; each has one timer."""

    max_await: float
    timers: Timers
    _waiting: dict[str, set[asyncio.Future[bool]]] = attrs.field(
        factory=lambda: defaultdict(set), init=False
    )

    async def wait(self, job: FakeJob) -> bool:
        """Wait until a job ends or is removed; return True when the longest time is over first."""
        job_id, ends_at = job.script.id, job.ends_at()
        limit = self.timers.clock.now() + self.max_await
        woken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[job_id].add(woken)
        wake = partial(_wake, woken, is_too_late=ends_at > limit)
        cancel = self.timers.call_at(min(ends_at, limit), wake)
        try:
            return await woken
        finally:
            cancel()
            self._waiting[job_id].discard(woken)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def wake(self, job_id: str) -> None:
        """Have all that wait for one job answered."""
        for woken in self._waiting.get(job_id, ()):
            _wake(woken)


@attrs.define
class _SortedJobs:
    """Jobs in the order in which they were added, in blocks small enough to insert into."""

    _blocks: dict[int, list[FakeJob]] = attrs.field(factory=dict, init=False)
    count: int = attrs.field(default=0, init=False)

    def add(self, job: FakeJob) -> None:
        insort(self._blocks.setdefault(job.number // BLOCK_SIZE, []), job, key=_number)
        self.count += 1

    def remove(self, job: FakeJob) -> None:
        block = self._blocks[job.number // BLOCK_SIZE]
        del block[bisect_left(block, job.number, key=_number)]
        self.count -= 1

    def newest_first(self, *, offset: int = 0) -> Iterator[FakeJob]:
        for number in sorted(self._blocks, reverse=True):
            block = self._blocks[number]
            yield from block[::-1][offset:]
            offset = max(0, offset - len(block))


@attrs.define
class JobIndex:
    """The listed jobs by function and status, as of the last call that asked for a status."""

    # None stands for all functions, or all statuses.
    _lists: dict[tuple[str | None, str | None], _SortedJobs] = attrs.field(
        factory=lambda: defaultdict(_SortedJobs), init=False
    )
    # When the clock will bring each job's next stage; the number only breaks ties.
    _changes: list[tuple[float, int, FakeJob]] = attrs.field(factory=list, init=False)

    def add(self, job: FakeJob) -> None:
        """List a job."""
        job.indexed_status = job.status_at(job.progress.added_at)
        for key in self._keys(job):
            self._lists[key].add(job)
        self._expect_change(job, job.progress.added_at)

    def remove(self, job: FakeJob) -> None:
        """List a job no more."""
        for key in self._keys(job):
            self._lists[key].remove(job)
        job.listed = False

    def update(self, job: FakeJob, now: float) -> None:
        """Move a job to the lists of its present status."""
        status = job.status_at(now)
        if not job.listed or status == job.indexed_status:
            return
        for function in (None, job.script.function):
            self._lists[function, job.indexed_status].remove(job)
            self._lists[function, status].add(job)
        job.indexed_status = status

    def jobs(
        self, function: str | None, status: str | None, now: float, *, offset: int = 0
    ) -> Iterator[FakeJob]:
        """Go through a list, newest first."""
        if status is not None:
            self._pass_time(now)
        found = self._lists.get((function, status))
        return found.newest_first(offset=offset) if found else iter(())

    def count(self, status: str, now: float) -> int:
        """Count the jobs of a status."""
        self._pass_time(now)
        return self._lists[None, status].count

    def _pass_time(self, now: float) -> None:
        due = []
        while self._changes and self._changes[0][0] <= now + ROUNDING:
            due.append(heappop(self._changes)[-1])
        for job in due:
            self.update(job, now)
            self._expect_change(job, now)

    def _expect_change(self, job: FakeJob, now: float) -> None:
        moment = job.changes_at(now)
        if moment < float("inf"):
            heappush(self._changes, (moment, job.number, job))

    def _keys(self, job: FakeJob) -> list[tuple[str | None, str | None]]:
        functions, statuses = (None, job.script.function), (None, job.indexed_status)
        return [(function, status) for function in functions for status in statuses]


@attrs.define
class JobStore:
    """All jobs of the server."""

    timers: Timers
    waiters: LongPollWaiters
    jobs: dict[str, FakeJob] = attrs.field(factory=dict, init=False)
    listeners: list[Callable[[FakeJob], None]] = attrs.field(factory=list, init=False)
    """Called with each job that has moved otherwise than by the clock."""
    _added: int = attrs.field(default=0, init=False)
    _index: JobIndex = attrs.field(factory=JobIndex, init=False)

    def now(self) -> float:
        """Read the clock."""
        return self.timers.clock.now()

    def add(self, script: JobScript, *, listed: bool = True) -> FakeJob:
        """Begin a job now."""
        if script.id in self.jobs:
            raise ValueError(f"there is a job {script.id!r} already")
        progress = Progress(script.timeline(), script.by, self.now())
        job = self.jobs[script.id] = FakeJob(script, progress, self._added, listed)
        self._added += 1
        if listed:
            self._index.add(job)
        return job

    def get(self, job_id: str) -> FakeJob:
        """Find a job, without polling it."""
        if job := self.jobs.get(job_id):
            return job
        raise ValueError(f"there is no job {job_id!r}")

    def remove(self, job_id: str) -> None:
        """Remove a job."""
        job = self.get(job_id)
        del self.jobs[job_id]
        job.is_removed = True
        if job.listed:
            self._index.remove(job)
        self.waiters.wake(job_id)

    def poll(self, job_id: str) -> None:
        """Count a lookup of a job: one that goes by polls moves one step."""
        job = self.jobs.get(job_id)
        if job and job.progress.by == "polls":
            job.progress.poll(self.now())
            self.moved(job)

    def moved(self, job: FakeJob) -> None:
        """Record that a job has moved otherwise than by the clock."""
        now = self.now()
        self._index.update(job, now)
        if job.is_terminal(now):
            self.waiters.wake(job.script.id)
        for listener in self.listeners:
            listener(job)

    def page(
        self,
        function: str | None,
        status: str | None,
        version_id: str | None,
        limit: int,
        offset: int,
    ) -> bytes:
        """Write one page of jobs, newest first; jobs that go by polls stay where they are."""
        now, stamp = self.now(), self.timers.clock.stamp
        if version_id is None:
            found = self._index.jobs(function, status, now, offset=offset)
        else:
            every = self._index.jobs(function, status, now)
            of_version = (job for job in every if job.script.version_id == version_id)
            found = islice(of_version, min(offset, self._added), None)
        jobs = list(islice(found, limit + 1))
        rows = b",".join([job.body(now, stamp) for job in jobs[:limit]])
        next_offset = offset + limit if len(jobs) > limit else -1
        return b'{"data":[%s],"next_offset":%d}' % (rows, next_offset)

    def count(self, status: str) -> int:
        """Count the listed jobs of a status."""
        return self._index.count(status, self.now())


def _wake(woken: asyncio.Future[bool], *, is_too_late: bool = False) -> None:
    if not woken.done():  # in this turn of the loop
        woken.set_result(is_too_late)
