"""All that one client watches: which jobs, for which calls, and what their looks mean."""

from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

import attrs

from sieve_async.errors import AuthenticationError, NotFoundError, SieveError
from sieve_async.gate import Gate
from sieve_async.polling import (
    AskAgain,
    Asking,
    Ended,
    GaveUp,
    LongPolls,
    PollPolicy,
    Step,
    TimedOut,
)
from sieve_async.watching.agenda import Agenda
from sieve_async.watching.batch import Batch, Source
from sieve_async.watching.crew import Crew
from sieve_async.watching.evidence import Evidence
from sieve_async.watching.outcome import JobOutcome
from sieve_async.watching.pace import Pace
from sieve_async.watching.sweep import Sweep
from sieve_async.watching.tasks import Tasks
from sieve_async.watching.troubles import Troubles
from sieve_async.watching.watch import Pool, Watch

Strategy: TypeAlias = Literal["poll", "long_poll", "list"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)

_Key: TypeAlias = tuple[PollPolicy, Strategy, bool]

# A sweep is not worth its while for a call that is over sooner.
_SHORT = 1.0
_JUST_NOW = 1.0


class Watcher:
    """Watches the jobs of all calls of one client.

    No job has a task or a timer of its own.

    Args:
        asking: How single looks are asked.
        long_polls: Lets the server hold looks.
        gate: Where to sleep, so that closing the client wakes the sleepers.
        most_workers: How many looks may go on at once.
        per_second: How many requests may go in any second; None for no limit.
    """

    def __init__(
        self,
        asking: Asking,
        long_polls: LongPolls,
        gate: Gate,
        *,
        most_workers: int,
        per_second: float | None,
    ) -> None:
        # A look that failed is not tried again by itself: the job is due again soon enough.
        self.asking = attrs.evolve(asking, attempts=1)
        self.gate = gate
        self.pace = Pace(per_second)
        self.troubles = Troubles(asking.clock)
        self.lists_fail_until = 0.0
        self._clock = asking.clock
        self._long_asking = attrs.evolve(self.asking, long_polls=long_polls)
        self._pools: dict[_Key, Pool] = {}
        self._batches: set[Batch] = set()
        self._evidence = Evidence()
        self._agenda = Agenda()
        self._crew = Crew(
            self._agenda,
            self.pace,
            gate,
            most=most_workers,
            clock=self._clock,
            settle=self._settle,
            fail=self.fail,
        )
        self._refused = 0

    @property
    def going_on(self) -> int:
        """How many jobs are watched."""
        return sum(len(pool.watches) for pool in self._pools.values())

    def begin(
        self,
        source: Source,
        *,
        most: int,
        policy: PollPolicy,
        strategy: Strategy,
        seconds: float | None,
    ) -> Batch:
        """Begin to watch the jobs of one call."""
        if strategy == "list" and seconds is not None and seconds < _SHORT:
            strategy = "poll"
        key = (policy, strategy, seconds == 0)
        pool = self._pools.get(key)
        if pool is None:
            asking = self._long_asking if strategy == "long_poll" else self.asking
            pool = self._pools[key] = Pool(policy, seconds == 0, asking)
            if strategy == "list":
                pool.sweep = Sweep(pool, self)
        pool.batches += 1
        batch = Batch(self, pool, source, most=most, seconds=seconds or None)
        self._batches.add(batch)
        return batch

    def watch(self, job_id: str, batch: Batch, pool: Pool) -> Watch:
        """Watch a job for a call, once for all that ask alike."""
        watch = pool.watches.get(job_id)
        if watch is not None:
            watch.askers += batch.as_askers
            return watch
        watch = pool.watch(job_id, batch.as_askers)
        if pool.sweep is None or not pool.sweep.join(watch):
            self.look_now(watch)
        return watch

    def hasten(self, pool: Pool, watches: Iterable[Watch]) -> None:
        """Look at these once more as soon as can be: their call is nearly over."""
        now = self._clock()
        for watch in watches:
            watch.due = min(watch.due, now)
        self._agenda.reorder()
        if pool.sweep is not None:
            pool.sweep.hasten()
        self._crew.dispatch()

    def lead(self, pool: Pool, looks: int) -> float:
        """How many seconds so many last looks may take."""
        return self._crew.lead(looks) if pool.sweep is None else pool.sweep.lead()

    def leave(self, batch: Batch, watches: Iterable[Watch]) -> Tasks:
        """Watch these jobs no more for a call; returns the workers that are about to end."""
        ending: Tasks = []
        for watch in watches:
            if watch.askers == batch.as_askers:
                ending += self._drop(watch)
            else:
                watch.askers = tuple(asker for asker in watch.askers if asker is not batch)
        return ending

    def forget(self, batch: Batch, pool: Pool) -> Tasks:
        """Take note that a call is over; returns what is about to end."""
        self._agenda.compact()
        self._batches.discard(batch)
        pool.batches -= 1
        if pool.batches:
            return []
        self._pools = {key: each for key, each in self._pools.items() if each is not pool}
        return [] if pool.sweep is None else pool.sweep.stop()

    def close(self) -> Tasks:
        """End all calls, for the client is closed; returns the tasks that are about to end."""
        self._crew.close()
        ending: Tasks = []
        for pool in self._pools.values():
            if pool.sweep is not None:
                ending += pool.sweep.stop()
        for batch in tuple(self._batches):
            ending += batch.end_all(is_closed=True)
        return ending

    def fail(self, error: BaseException) -> None:
        """End all calls with what must not be kept from anybody."""
        for batch in tuple(self._batches):
            batch.fail(error)

    def end(self, watch: Watch, outcome: JobOutcome) -> None:
        """Hand out how the watch of a job has ended."""
        askers = watch.askers
        self._drop(watch)
        for asker in askers:
            asker.conclude(watch, outcome)

    def look_now(self, watch: Watch) -> None:
        """Look at a job as soon as it is its turn."""
        watch.due = self._clock()
        self._agenda.add_new(watch)
        self._crew.dispatch()

    def look_at(self, when: float, watch: Watch) -> None:
        """Look at a job at some time."""
        watch.due = when
        self._agenda.add(watch)

    def dispatch(self) -> None:
        """Begin with what is due."""
        self._crew.dispatch()

    def _drop(self, watch: Watch) -> Tasks:
        """Watch a job no more; returns the worker that looks at it, which is about to end."""
        watch.askers = ()
        self._evidence.release(watch)
        pool = watch.pool
        pool.watches.pop(watch.job_id, None)
        if pool.sweep is not None:
            pool.sweep.leave(watch)
        return self._crew.interrupt(watch)

    def _settle(self, watch: Watch, step: Step) -> None:
        """Take in what a look has shown."""
        wait = watch.wait
        is_good = not (wait.failures or wait.refusals) and self._clock() - wait.valid_at < _JUST_NOW
        match step:
            case Ended():
                self.end(watch, watch.ended())
            case GaveUp(error):
                is_good = isinstance(error, NotFoundError)
                self._give_up(watch, error)
            case TimedOut():
                self.end(watch, watch.timed_out(self._clock() - wait.started))
            case AskAgain(at):
                self.troubles.note(watch)
                self._evidence.keep(watch)
                self._plan(watch, at)
        if is_good:
            self._refused = 0
        if watch.pool.sweep is not None:
            watch.pool.sweep.note_look(is_good=is_good)

    def _give_up(self, watch: Watch, error: SieveError) -> None:
        was_seen = watch.wait.status is not None
        self.end(watch, JobOutcome(watch.job_id, None, error))
        if isinstance(error, AuthenticationError):
            self._refused += 1
            if was_seen or self._refused > 1:
                self._end_refused(error, confirmed=was_seen)

    def _end_refused(self, error: AuthenticationError, *, confirmed: bool) -> None:
        """The key is refused, and not one job: it is not tried for all the others.

        Those that were seen before have a right to one confirmation, and one will do for all.
        """
        for pool in tuple(self._pools.values()):
            for watch in tuple(pool.watches.values()):
                if confirmed or watch.wait.status is None:
                    self.end(watch, JobOutcome(watch.job_id, None, error))

    def _confirm(self, watch: Watch, at: float) -> bool:
        """Whether a refused key is confirmed by a look at this job, before any other look."""
        if not (watch.wait.refusals and isinstance(watch.wait.last_error, AuthenticationError)):
            return False
        watch.due = at
        return self._agenda.add_only(watch)

    def _plan(self, watch: Watch, at: float) -> None:
        """Plan the next look at a job that has not ended."""
        if self._confirm(watch, at):
            return
        if at <= self._clock():
            watch.due = at
            self._agenda.add_urgent(watch)
            return
        sweep = watch.pool.sweep
        if sweep is None or not sweep.take_back(watch, at):
            self.look_at(at, watch)
