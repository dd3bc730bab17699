"""One watched job, and what those that are watched alike share."""

import asyncio
from typing import Protocol

import attrs

from sieve_async.errors import DecodeError
from sieve_async.models import Job, JobStatus
from sieve_async.polling import Asking, JobFollower, PollPolicy, Subject, Wait, timed_out
from sieve_async.watching.outcome import JobOutcome

# Jobs that are first watched within so many seconds begin at the same time.
_ALIKE = 0.01


class Asker(Protocol):
    """Who waits for the end of a job."""

    def conclude(self, watch: "Watch", outcome: JobOutcome) -> None:
        """Take in how the watch of a job has ended."""


class ManyLooks(Protocol):
    """What looks at many jobs at once."""

    def join(self, watch: "Watch") -> bool:
        """Look also at this one from now on; False if it must be looked at by itself."""

    def take_back(self, watch: "Watch", at: float) -> bool:
        """The same for one that was looked at by itself in between, and would be so again then."""

    def note_look(self, *, is_good: bool) -> None:
        """Take note that a single look has come back."""

    def leave(self, watch: "Watch") -> None:
        """Look at this one no more."""

    def hasten(self) -> None:
        """Look at all as soon as can be."""

    def lead(self) -> float:
        """How many seconds it takes to look at all."""

    def stop(self) -> list[asyncio.Task[None]]:
        """Look at nothing any more; returns what is about to end."""


@attrs.define(eq=False)
class Pool:
    """The jobs that are watched alike: an id that is there already is not watched twice.

    Attributes:
        policy: How often to look.
        is_one_look: Whether there is exactly one look at each.
        asking: How the looks are asked.
        sweep: What looks at many of them at once; None for single looks only.
        watches: The jobs by id.
        batches: How many calls watch here.
        begun_at: When the last ones began; one number for many of them, to save its memory.
    """

    policy: PollPolicy
    is_one_look: bool
    asking: Asking
    sweep: ManyLooks | None = None
    watches: "dict[str, Watch]" = attrs.field(factory=dict, init=False)
    batches: int = attrs.field(default=0, init=False)
    begun_at: float = attrs.field(default=0.0, init=False)

    def watch(self, job_id: str, askers: tuple[Asker, ...]) -> "Watch":
        """Begin to watch a job."""
        now = self.asking.clock()
        if now - self.begun_at > _ALIKE:
            self.begun_at = now
        # Deadlines are the calls' own: they may differ.
        wait = Wait(self.policy, self.begun_at, self.begun_at if self.is_one_look else None)
        watch = Watch(self.asking, wait, job_id, pool=self, askers=askers)
        self.watches[job_id] = watch
        return watch


@attrs.define(eq=False, weakref_slot=False)
class Watch(JobFollower):
    """One watched job.

    Attributes:
        pool: Those that are watched alike.
        askers: The calls that wait for its end; none when it is watched no more.
        due: When to look at it by itself next, when such a look is planned.
        kept: How many bytes are remembered of what was seen.
        misses: How many sweeps in a row it was missing from though it ran; it begins lower for one
            that a sweep has met.
    """

    pool: Pool = attrs.field(kw_only=True)
    askers: tuple[Asker, ...] = attrs.field(kw_only=True)
    due: float = attrs.field(default=0.0, init=False)
    kept: int = attrs.field(default=0, init=False)
    misses: int = attrs.field(default=0, init=False)

    def __lt__(self, other: "Watch") -> bool:
        """Whether to look at it sooner than at another."""
        return self.due < other.due

    def ended(self) -> JobOutcome:
        """The outcome, after a terminal answer."""
        job, problem = self.last()
        return JobOutcome(self.job_id, job, problem)

    def timed_out(self, elapsed: float) -> JobOutcome:
        """The outcome, when the deadline came first."""
        return JobOutcome(self.job_id, None, timed_out(self, Subject(self.job_id), elapsed))

    def last_status(self) -> JobStatus | None:
        """The status that was seen last; None before any was."""
        return None if self.wait.status is None else JobStatus(self.wait.status)

    def last(self) -> tuple[Job | None, DecodeError | None]:
        """What was seen last; only its status when the whole was not kept, or is older."""
        job, problem = super().last()
        if self.wait.status is None or (self.seen and self.seen.status == self.wait.status):
            return job, problem
        status = JobStatus(self.wait.status)
        if job is None:
            return Job(self.job_id, status, outputs=self.held), problem
        return attrs.evolve(job, status=status), problem
