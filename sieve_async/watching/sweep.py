"""Sweeps: pages of running jobs in the place of one look for each job.

A job that is on no page is only a candidate: it may have ended, it may have moved from one page to
another while they were read, or it may be another organisation's. One look at it by itself decides.
So a page that is wrong costs a request, and never a result.
"""

import asyncio
import logging

from sieve_async import delays
from sieve_async.decode import JobPage, parse_page
from sieve_async.endpoints import MAX_PAGE, list_jobs
from sieve_async.errors import ClientClosedError, ResponseTooLargeError, SieveError
from sieve_async.messages import shorten
from sieve_async.models import JobStatus
from sieve_async.polling import Verdict, verdict
from sieve_async.watching.outcome import JobOutcome
from sieve_async.watching.rounds import RUNNING, Round, is_hopeless
from sieve_async.watching.scheduler import Scheduler
from sieve_async.watching.tasks import Tasks, start
from sieve_async.watching.watch import Pool, Watch

logger = logging.getLogger("sieve_async")

# How long ids that come one after the other are gathered before they are looked for.
_GATHERING = 0.05
# After so many failures in a row one job is looked at by itself: maybe it is only the lists.
_DOUBTFUL = 6
_DOUBTFUL_AGAIN = 2  # once they have failed so, until they work
# How long jobs are then looked at one by one; twice as long each time.
_PAUSE_OF_LISTS = 120.0
_LONGEST_PAUSE_OF_LISTS = 1800.0
_SMALLEST_PAGE = 8
# After sweeps that met fewer jobs than they read pages, so many in a row read none at the most.
_MOST_SKIPPED = 32
# No longer lie two requests apart, unless the server's pause or the machine's sleep was in between.
_LONGEST_GAP = 180.0
# The share of jobs that may have ended unseen when the last sweep before a deadline begins.
_SHARE_TO_LOOK_AT = 0.1
# Rows move up when jobs before them end: so many are read twice, and more after a failure.
_OVERLAP = 10
_OVERLAP_AFTER_FAILURE = 100


class Sweep:
    """The sweeps over the jobs of one pool.

    Args:
        pool: Whose jobs.
        scheduler: Who looks at single ones.
    """

    _failures: int
    _doubtful: int
    _pause: float
    _valid_at: float

    def __init__(self, pool: Pool, scheduler: Scheduler) -> None:
        self._pool = pool
        self._scheduler = scheduler
        self._clock = scheduler.asking.clock
        self._swept: dict[str, Watch] = {}
        self._new: dict[str, Watch] = {}
        self._last = Round({}, self._clock())
        self._took = self._next_at = 0.0
        self._page_size = MAX_PAGE
        self._trouble = self._skipped = self._to_skip = 0
        self._note_working()
        self._is_hastened = self._has_worked = False
        self._probe: Watch | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def join(self, watch: Watch) -> bool:
        """Sweep also for this one from now on; False if it must be looked at by itself."""
        now = self._clock()
        if now < self._scheduler.lists_fail_until:
            return False
        self._swept[watch.job_id] = self._new[watch.job_id] = watch
        self._plan(now + _GATHERING)
        return True

    def take_back(self, watch: Watch, at: float) -> bool:
        """The same for one that was looked at by itself in between, and would be so again then."""
        is_in_doubt = watch.wait.failures or watch.wait.refusals
        is_off = self._clock() < self._scheduler.lists_fail_until
        if is_in_doubt or is_off or is_hopeless(watch):
            return False
        watch.due = at
        self._swept[watch.job_id] = watch
        self._plan(self._next_at)
        return True

    def note_look(self, *, is_good: bool) -> None:
        """Take note that a single look has come back."""
        if is_good:
            self._probe = None
            self._valid_at = self._clock()
            if self._failures >= self._doubtful:
                self._give_up("they fail again and again", until=self._valid_at + self._pause)
                self._doubtful = _DOUBTFUL_AGAIN
                self._pause = min(2 * self._pause, _LONGEST_PAUSE_OF_LISTS)

    def leave(self, watch: Watch) -> None:
        """Sweep for this one no more."""
        self._swept.pop(watch.job_id, None)
        self._new.pop(watch.job_id, None)

    def hasten(self) -> None:
        """Sweep as soon as can be."""
        self._is_hastened = True
        if self._swept:
            self._next_at = self._clock()
            self._plan(self._next_at)

    def lead(self) -> float:
        """How many seconds one sweep takes, with a look at some that it does not meet."""
        per_second = self._scheduler.pace.per_second
        looks = 0.0 if per_second is None else len(self._swept) * _SHARE_TO_LOOK_AT / per_second
        return 0.1 + 2 * self._took + looks

    def stop(self) -> Tasks:
        """Sweep no more; returns what is about to end."""
        self._swept.clear()
        self._new.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is None or not self._task.cancel():
            return []
        return [self._task]

    def _plan(self, when: float) -> None:
        """Begin at this time, unless a sweep goes on or comes sooner."""
        if self._task is not None:
            return
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._begin)

    def _begin(self) -> None:
        self._timer = None
        new, self._new = self._new, {}
        if (
            new
            and self._clock() < self._next_at
            and len(new) <= max(self._last.pages, len(RUNNING))
        ):
            for watch in new.values():  # for so few, a look at each costs less than a sweep
                self._look_at(watch)
            self._plan(self._next_at)
        elif self._swept:
            self._task = start(self._run())

    async def _run(self) -> None:
        sweep = Round(self._swept, self._clock())
        self._is_hastened = False
        try:
            if self._is_worth_it():
                await self._read(sweep)
                self._note_worth(sweep)
        except ClientClosedError:
            return
        except Exception as error:  # noqa: BLE001 - a mistake of ours: told, and nobody waits on
            self._scheduler.fail(error)
            return
        finally:
            self._task = None
        now = self._clock()
        for watch in sweep.to_look_at(now):
            self._look_at(watch)
        self._last, self._took = sweep, now - sweep.started
        least = max(self._pool.policy.min_interval, delays.SHORTEST)
        self._next_at = max(now, sweep.started + sweep.pause(least))
        if self._new or self._is_hastened:
            self._plan(now)
        elif self._swept:
            self._plan(self._next_at)

    def _is_worth_it(self) -> bool:
        """Whether to read pages this time: few jobs among many are better looked at one by one."""
        self._skipped += 1
        return self._skipped > self._to_skip

    def _note_worth(self, sweep: Round) -> None:
        self._skipped = 0
        is_worth_it = sweep.met >= sweep.pages
        self._to_skip = 0 if is_worth_it else min(_MOST_SKIPPED, 2 * self._to_skip + 1)

    async def _read(self, sweep: Round) -> None:
        """Read pages until all is clear."""
        trouble = self._trouble
        for status in RUNNING:
            offset: int | None = 0 if self._may_be(status) else None
            while offset is not None and not sweep.is_decided:
                asked_at = self._clock()
                page = await self._page(status, offset)
                if page is None:
                    return
                sweep.take(page.jobs, asked_at, self._clock())
                overlap = min(_OVERLAP, self._page_size // 4)
                further = 0 if page.next_offset is None else page.next_offset - overlap
                offset = further if further > offset else None
        sweep.is_complete = self._trouble == trouble and not sweep.is_decided

    def _may_be(self, status: JobStatus) -> bool:
        """Whether a job that is swept may be on these pages; none goes back to the queue unseen."""
        if status is not JobStatus.QUEUED:
            return True
        return any(watch.wait.status in {None, status} for watch in self._swept.values())

    async def _page(self, status: JobStatus, offset: int) -> JobPage | None:
        """One page, as often as it takes; None when nobody waits for it any more."""
        scheduler = self._scheduler
        pauses = delays.transient(base=0.5, cap=8.0)
        while self._swept:
            await scheduler.gate.sleep_until(scheduler.pace.reserve(self._clock()))
            request = list_jobs(status=status, limit=self._page_size, offset=offset)
            try:
                page = await scheduler.asking.retrier.poll(
                    request, parse_page, deadline=None, attempts=1
                )
            except ClientClosedError:
                raise
            except SieveError as error:
                offset = max(0, offset - _OVERLAP_AFTER_FAILURE)
                await self._after_failure(error.with_traceback(None), next(pauses))
            else:
                self._has_worked = True
                self._note_working()
                return page
        return None

    def _note_working(self) -> None:
        self._failures = 0
        self._doubtful, self._pause = _DOUBTFUL, _PAUSE_OF_LISTS
        self._valid_at = self._clock()

    async def _after_failure(self, error: SieveError, pause: float) -> None:
        """Pause, or sweep for nothing any more."""
        if isinstance(error, ResponseTooLargeError) and self._page_size > _SMALLEST_PAGE:
            self._page_size //= 2
            return
        now = self._clock()
        if verdict(error, seen=self._has_worked) is Verdict.END:
            self._give_up(shorten(str(error)), until=self._end_of_pause(now))
            return
        self._scheduler.troubles.note_failure(error)
        if self._failures == 0:  # time in which nobody asked is no outage
            self._valid_at = max(self._valid_at, now - _LONGEST_GAP)
        self._failures += 1
        self._trouble += 1
        self._end_unreachable(error, now)
        is_probed = self._probe is not None and self._probe.askers
        if self._swept and self._failures >= self._doubtful and not is_probed:
            self._probe = next(iter(self._swept.values()))
            self._look_at(self._probe)
        await self._scheduler.gate.sleep_until(now + pause)

    def _end_unreachable(self, error: SieveError, now: float) -> None:
        """End those of which nothing valid was heard for too long, by lists or by looks."""
        longest = self._pool.policy.outage_timeout
        if longest is None or now - self._valid_at < longest:
            return
        for watch in tuple(self._swept.values()):
            if now - watch.wait.valid_at >= longest:
                self._scheduler.end(watch, JobOutcome(watch.job_id, None, error))

    def _end_of_pause(self, now: float) -> float:
        """Until when to do without lists: for good if they have never worked."""
        return now + self._pause if self._has_worked else float("inf")

    def _give_up(self, reason: str, *, until: float) -> None:
        """Have all jobs looked at one by one, for a while or for good."""
        scheduler = self._scheduler
        if self._clock() >= scheduler.lists_fail_until:
            logger.warning("jobs are looked at one by one, lists cannot be had: %s", reason)
        scheduler.lists_fail_until = until
        self._failures = 0
        now = self._clock()
        for watch in self._swept.values():
            wait = watch.wait
            pause = 0.0 if wait.status is None else wait.policy.pause(now - wait.changed_at)
            scheduler.look_at(now + pause, watch)
        self._swept.clear()
        self._new.clear()
        scheduler.dispatch()

    def _look_at(self, watch: Watch) -> None:
        """Look at one by itself, if anybody still asks."""
        if self._swept.get(watch.job_id) is watch:
            del self._swept[watch.job_id]
            self._scheduler.look_now(watch)
