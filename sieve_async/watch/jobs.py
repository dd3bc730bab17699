"""`WatchedJob`: one job of the scheduler, and those that share or wait for it."""

import contextvars
from asyncio import Task
from collections.abc import Callable

import attrs

from sieve_async import delays
from sieve_async.models import Job, JobStatus
from sieve_async.outcomes import JobOutcome
from sieve_async.polling import JobPoller, PollContext, PollPolicy, PollState

# How long before the deadline of a watch a held request is given up for a plain poll.
_PLAIN_POLL_LEAD = 1.0
# How far a list may push back the next poll after the last own answer, in seconds, in intervals,
# and as a share of the time since the job was first seen.
_MAX_PUSH_BACK = 120.0
_MAX_PUSH_BACK_INTERVALS = 12
_MAX_PUSH_BACK_SHARE = 0.1
# Jobs that are first watched within so many seconds share one start time.
_SAME_START = 0.01


@attrs.define(eq=False)
class Subscriber:
    """A watch, as far as the scheduler knows it; the scheduler does not keep the watch alive.

    Attributes:
        jobs: Each id that was taken, with its job while that is pending.
        pending: How many are pending.
        started: When the watch began.
        deadline: When the watch ends; None for never.
        on_update: The caller's function for new states.
        context: The caller's context, for that function.
        on_outcome: Takes an outcome of a pending job.
        on_status: Takes a pending job, its old and its new status.
        on_close: Ends the watch, since the client was closed.
        on_failure: Ends the watch with an exception.
        feeder: Takes the ids from their source.
        is_active: Whether the watch still waits.
        alone: It as the only subscriber: one tuple for thousands of jobs.
    """

    jobs: "dict[str, WatchedJob | None]"
    deadline: float | None
    on_update: Callable[[Job], object] | None
    context: contextvars.Context
    on_outcome: Callable[[JobOutcome], None]
    on_status: "Callable[[WatchedJob, JobStatus | None, JobStatus], None]"
    on_close: Callable[[], None]
    on_failure: Callable[[BaseException], None]
    pending: int = 0
    started: float = 0.0
    feeder: Task[None] | None = None
    is_active: bool = True
    alone: "tuple[Subscriber]" = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.alone = (self,)


@attrs.define(eq=False)
class JobGroup:
    """The jobs of watches with equal settings: equal ids are polled once.

    Attributes:
        policy: How often they are polled.
        context: How their polls are sent.
        is_single_poll: Whether there is exactly one poll of each.
        has_lister: Whether a lister moves the due times of their polls.
        subscribers: The watches.
        documents: How many own documents have come.
        document_bytes: Their size.
    """

    policy: PollPolicy
    context: PollContext
    is_single_poll: bool
    has_lister: bool
    subscribers: list[Subscriber] = attrs.field(factory=list)
    documents: int = 0
    document_bytes: int = 0
    _started: float = float("-inf")

    def find(self, job_id: str) -> "WatchedJob | None":
        """The job that some watch of the group waits for."""
        for subscriber in self.subscribers:
            job = subscriber.jobs.get(job_id)
            if job is not None and job.is_active:
                return job
        return None

    def jobs(self) -> "dict[str, WatchedJob]":
        """All pending jobs by id."""
        return {
            job_id: job
            for subscriber in self.subscribers
            for job_id, job in subscriber.jobs.items()
            if job is not None
        }

    def new_job(self, job_id: str, subscriber: Subscriber, now: float) -> "WatchedJob":
        """Begin to watch a job."""
        if now - self._started > _SAME_START:
            self._started = now  # one number for many jobs, to save memory
        state = PollState(
            self.policy, self._started, self._started if self.is_single_poll else None
        )
        return WatchedJob(self.context, state, job_id, group=self, subscribers=subscriber.alone)


@attrs.define(eq=False, weakref_slot=False)
class WatchedJob(JobPoller):
    """One watched job. Its deadlines are those of its subscribers.

    Attributes:
        group: The jobs with equal settings.
        subscribers: The watches that wait for it.
        due: When to poll it next.
        queued_at: Its valid entry in the heap of due times; None when it has none.
        status: The status last seen, in its own document or in a list.
        is_nudged: Whether it is to be polled again at once.
        is_listed: Whether the last list showed it as running.
        latest_due: How far a list may push back its next poll; None before that was drawn.
    """

    group: JobGroup = attrs.field(kw_only=True)
    subscribers: tuple[Subscriber, ...] = attrs.field(kw_only=True)
    due: float = attrs.field(default=0.0, init=False)
    queued_at: float | None = attrs.field(default=None, init=False)
    status: JobStatus | None = attrs.field(default=None, init=False)
    is_nudged: bool = attrs.field(default=False, init=False)
    is_listed: bool = attrs.field(default=False, init=False)
    latest_due: float | None = attrs.field(default=None, init=False)

    def __lt__(self, other: "WatchedJob") -> bool:
        """Between jobs that are due at the same time, the order does not matter."""
        return False

    @property
    def is_active(self) -> bool:
        """Whether any watch still waits for it."""
        for subscriber in self.subscribers:  # noqa: SIM110 - any() takes twice as long
            if subscriber.is_active:
                return True
        return False

    def hold_limit(self) -> float | None:
        """Until when a request may be held; None for no limit."""
        deadlines = [
            subscriber.deadline
            for subscriber in self.subscribers
            if subscriber.is_active and subscriber.deadline is not None
        ]
        return min(deadlines) - _PLAIN_POLL_LEAD if deadlines else None

    def draw_latest_due(self, now: float) -> None:
        """Say how far lists may push back the next poll, after an answer of its own."""
        limit = max(
            _MAX_PUSH_BACK,
            _MAX_PUSH_BACK_INTERVALS * self.group.policy.max_interval,
            _MAX_PUSH_BACK_SHARE * (now - self.state.started),
        )
        self.latest_due = now + delays.share_of(limit)

    def push_back(self, until: float) -> None:
        """Poll no earlier than this, as far as lists may decide; confirmations are not delayed."""
        if self.latest_due is not None and not self.state.rejections:
            self.due = max(self.due, min(until, self.latest_due))

    def set_status(self, status: JobStatus) -> None:
        """Record the status seen, and report a change to the watches."""
        if status == self.status:
            return
        for subscriber in self.subscribers:
            subscriber.on_status(self, self.status, status)
        self.status = status

    def drop_document(self) -> None:
        """Keep only the status of what was seen last."""
        self.seen = None

    def outcome(self, elapsed: float) -> JobOutcome:
        """The outcome, as far as it is known now: the terminal state, or that there is none."""
        state = self.state
        if state.status is not None and state.status.is_terminal:
            return JobOutcome(self.job_id, self.result(), None, state.polls, elapsed)
        error = self.timeout_error(elapsed)
        return JobOutcome(self.job_id, None, error, state.polls, elapsed)
