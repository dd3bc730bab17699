"""What the scheduler knows: watched jobs, groups of them, and the watches that wait for them."""

import asyncio
import contextvars
from collections import Counter, deque
from collections.abc import Callable, Iterator

import attrs

from sieve_async import delays
from sieve_async.config import check_job_id
from sieve_async.display import shorten
from sieve_async.errors import ClientClosedError, InvalidArgumentError, WaitTimeoutError
from sieve_async.models import Job, JobStatus
from sieve_async.outcomes import JobOutcome
from sieve_async.polling.poller import JobPoller, PollContext
from sieve_async.polling.state import PollState
from sieve_async.settings import PollPolicy

# How long before the deadline of a watch a held request is given up for a plain poll.
_PLAIN_POLL_LEAD = 1.0
# How far a list may push back the next poll after the last own answer, in seconds, in intervals,
# and as a share of the time since the job was first seen.
_MAX_PUSH_BACK = 120.0
_MAX_PUSH_BACK_INTERVALS = 12
_MAX_PUSH_BACK_SHARE = 0.1
# Jobs that are first watched within so many seconds share one start time.
_SAME_START = 0.01
_UNKNOWN = "unknown"  # counts jobs that were not seen yet


@attrs.define(eq=False)
class Subscriber:
    """A watch, as the scheduler knows it; the caller may drop the `JobWatch` that it belongs to.

    Attributes:
        timeout: Seconds until the watch ends; None for never, 0 for one poll of each job.
        max_pending: How many jobs may be pending or ready to be taken.
        on_update: The caller's function for new states; it runs in the caller's ``context``.
        jobs: Each id that was taken, with its job while that is pending.
        outcomes: What is ready to be taken.
        counts: How many jobs are in each state, those that are over included.
        news: Set when there is an outcome, or there will be none any more.
        capacity: Set when more ids may be taken.
        timer: Of the deadline.
        group: The jobs it shares with equal watches; None before the watch began and after it.
        order: All that the source gave, in its order; None where no one asks for it.
        feeder: Takes the ids from their source, until ``is_fed``; it ``has_begun``.
        rest: What is left of a source that has an end.
        is_active: Whether the watch still waits.
        is_closed: Whether nothing more is handed out.
        waiting: How many callers wait for an outcome.
        updating: How many jobs the caller's function has; the deadline does not interrupt it.
        ending: Cancelled tasks, which closing waits for.
        alone: It as the only subscriber: one tuple for thousands of jobs.
        is_ending: Whether the last polls before the deadline have begun.
        joined: When it took the ids of jobs that another watch waits for.
    """

    timeout: float | None
    max_pending: int
    on_update: Callable[[Job], object] | None = None
    context: contextvars.Context = attrs.Factory(contextvars.copy_context)
    jobs: "dict[str, WatchedJob | None]" = attrs.Factory(dict)
    pending: int = 0
    outcomes: deque[JobOutcome] = attrs.Factory(deque)
    counts: Counter[str] = attrs.Factory(Counter)
    news: asyncio.Event = attrs.Factory(asyncio.Event)
    capacity: asyncio.Event = attrs.Factory(asyncio.Event)
    started: float = 0.0
    timer: asyncio.TimerHandle | None = None
    group: "JobGroup | None" = None
    feeder: "asyncio.Task[None] | None" = None
    has_begun: bool = False
    is_fed: bool = False
    order: list[str | JobOutcome] | None = None
    rest: Iterator[object] = attrs.Factory(lambda: iter(()))
    is_active: bool = True
    is_ending: bool = False
    is_closed: bool = False
    failure: BaseException | None = None
    waiting: int = 0
    updating: int = 0
    ending: "list[asyncio.Task[None]]" = attrs.Factory(list)
    alone: "tuple[Subscriber]" = attrs.field(init=False)
    joined: dict[str, float] = attrs.Factory(dict)
    _failure_callers: int = 0
    _unfinished: Iterator[JobOutcome] | None = None

    def __attrs_post_init__(self) -> None:
        self.alone = (self,)

    @property
    def deadline(self) -> float | None:
        """When the watch ends; None for never, or when each job has been polled."""
        return self.started + self.timeout if self.timeout else None

    @property
    def is_full(self) -> bool:
        """Whether no more ids may be taken now."""
        return self.pending + len(self.outcomes) >= self.max_pending

    @property
    def is_done(self) -> bool:
        """Whether no outcome will come any more, and the caller's function has returned."""
        if self.is_closed or self.failure is not None:
            return True
        return not self.updating and (not self.is_active or (self.is_fed and not self.pending))

    @property
    def unraised(self) -> BaseException | None:
        """What ended the watch, while it is still to be raised."""
        return self.failure if self._failure_callers else None

    def accept(self, job_id: object) -> str | None:
        """The id as a plain string; None for one that was taken before, or is invalid."""
        item = plain_id_of(job_id)
        if self.order is not None:
            self.order.append(item)
        if isinstance(item, JobOutcome):
            self._put(item)
            return None
        return None if item in self.jobs else item

    def add(self, job: "WatchedJob") -> None:
        """Wait for a job."""
        self.jobs[job.job_id] = job
        self.pending += 1
        self.counts[_word(job.status)] += 1

    def elapsed(self, job: "WatchedJob", now: float) -> float:
        """Seconds since it took the id of a job."""
        return now - max(self.started, self.joined.get(job.job_id, job.state.started))

    def on_status(self, job: "WatchedJob", status: JobStatus) -> None:
        """Count a job under another status."""
        if self.jobs.get(job.job_id) is job:
            self.counts[_word(job.status)] -= 1
            self.counts[_word(status)] += 1

    def on_outcome(self, job: "WatchedJob", outcome: JobOutcome) -> None:
        """Take the outcome of a pending job."""
        if self.jobs.get(job.job_id) is job:
            self._remove(job)
            self._put(outcome)

    def pop(self) -> JobOutcome:
        """The next outcome; there must be one."""
        outcome = self.outcomes.popleft()
        self.capacity.set()
        self._put_unfinished()
        return outcome

    def end(self, now: float, *, is_client_closed: bool = False) -> None:
        """End what is pending: its outcomes are made when they are taken."""
        if self.is_active:
            self._stop_feeding()
            self.is_active = False
            self._unfinished = self._make_unfinished(now, is_client_closed=is_client_closed)
            self._put_unfinished()
            self.news.set()

    def fail(self, error: BaseException) -> None:
        """Raise this once the outcomes so far are taken; call `Scheduler.leave` then."""
        self.failure = error
        self._failure_callers = 1 if isinstance(error, Exception) else max(1, self.waiting)

    def raise_failure(self) -> None:
        """Raise what ended the watch: once, or in all that waited if it is no ``Exception``."""
        if (failure := self.unraised) is not None:
            self._failure_callers -= 1
            if isinstance(failure, StopAsyncIteration):  # it would look like the end
                raise RuntimeError("StopAsyncIteration ended the watch") from failure
            raise failure

    def stop(self) -> None:
        """Take no more ids, and wait for no job."""
        self._stop_feeding()
        self.is_active = False
        self.jobs.clear()
        self.rest = iter(())
        self.news.set()

    def close(self) -> None:
        """Hand out nothing more."""
        self.is_closed = True
        self.outcomes.clear()
        self._unfinished = self.failure = None

    def _stop_feeding(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.feeder is not None and not self.feeder.done():
            # Once, for its clean-up is not to be cancelled; and not before it has begun, since it
            # closes the source.
            if self.has_begun and not self.is_fed:
                self.feeder.cancel()
            self.ending.append(self.feeder)
        self.is_fed = True

    def _put(self, outcome: JobOutcome) -> None:
        self.counts[outcome.status] += 1
        self.outcomes.append(outcome)
        self.news.set()

    def _put_unfinished(self) -> None:
        if self._unfinished is None or self.outcomes:
            return
        try:
            outcome = next(self._unfinished, None)
        except BaseException as error:  # noqa: BLE001 - it is of the caller's source
            self.fail(error)
        else:
            if outcome is not None:
                self._put(outcome)

    def _remove(self, job: "WatchedJob") -> None:
        self.jobs[job.job_id] = None
        self.pending -= 1
        self.counts[_word(job.status)] -= 1

    def _make_unfinished(self, now: float, *, is_client_closed: bool) -> Iterator[JobOutcome]:
        """The outcomes of what was pending, and of ids that were still to come.

        Those of a source that might have no end are left alone.
        """
        jobs = list(reversed(self.jobs.values()))
        while jobs:
            job = jobs.pop()
            if job is None or self.jobs.get(job.job_id) is not job:
                continue
            self._remove(job)
            elapsed = self.elapsed(job, now)
            if is_client_closed and not job.is_terminal:
                yield _closed(job.job_id, job.state.polls, elapsed)
            else:
                yield job.outcome(elapsed)
        for job_id in self.rest:
            if (plain_id := self.accept(job_id)) is None:
                continue
            self.jobs[plain_id] = None
            if is_client_closed:
                yield _closed(plain_id, 0, 0.0)
            else:
                yield JobOutcome(plain_id, None, WaitTimeoutError(plain_id, None, 0, 0.0))


@attrs.define(eq=False)
class JobGroup:
    """The jobs of watches with equal settings: equal ids are polled once.

    Attributes:
        policy: How often they are polled.
        context: How their polls are sent.
        is_single_poll: Whether there is exactly one poll of each.
        subscribers: The watches.
        documents: How many own documents have come.
        document_bytes: Their size.
    """

    policy: PollPolicy
    context: PollContext
    is_single_poll: bool
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
            if subscriber.is_active
            for job_id, job in subscriber.jobs.items()
            if job is not None
        }

    def new_job(self, job_id: str, subscriber: Subscriber, now: float) -> "WatchedJob":
        """Begin to watch a job."""
        if now - self._started > _SAME_START:
            self._started = now  # one number for many jobs, to save memory
        deadline = self._started if self.is_single_poll else None
        state = PollState(self.policy, self._started, deadline)
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
        latest_due: How far a list may push back its next poll; None for not at all.
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

    @property
    def was_listed(self) -> bool:
        """Whether a list has shown it as running, or its own document anything."""
        return self.status is not None

    @property
    def is_terminal(self) -> bool:
        """Whether its own document has shown a terminal status."""
        return self.state.status is not None and self.state.status.is_terminal

    def waiting_subscribers(self) -> Iterator[Subscriber]:
        """Those that have no outcome of it yet: a watch that was left waits no more."""
        return (each for each in self.subscribers if each.jobs.get(self.job_id) is self)

    def hold_limit(self) -> float | None:
        """Until when a request may be held; None for no limit."""
        deadlines = [
            subscriber.deadline
            for subscriber in self.subscribers
            if subscriber.is_active and subscriber.deadline is not None
        ]
        return min(deadlines) - _PLAIN_POLL_LEAD if deadlines else None

    def last(self) -> Job | None:
        """The last state seen; each watch gets one of its own."""
        job = super().last()
        if job is None or len(self.subscribers) < 2:
            return job
        return Job.from_dict(job.to_dict())  # JSON may be nested deeper than `deepcopy` can recurse

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
        if self.latest_due is not None and until > self.due and not self.state.rejections:
            self.due = max(self.due, min(until, self.latest_due))

    def set_status(self, status: JobStatus) -> None:
        """Record the status seen, and report a change to the watches."""
        if status != self.status:
            for subscriber in self.subscribers:
                subscriber.on_status(self, status)
            self.status = status

    def outcome(self, elapsed: float) -> JobOutcome:
        """The outcome, as far as it is known now: the terminal state, or that there is none."""
        if self.is_terminal:
            return JobOutcome(self.job_id, self.result(), None, self.state.polls, elapsed)
        error = self.timeout_error(elapsed)
        return JobOutcome(self.job_id, None, error, self.state.polls, elapsed)


def _word(status: JobStatus | None) -> str:
    return _UNKNOWN if status is None else str(status)


def _closed(job_id: str, polls: int, elapsed: float) -> JobOutcome:
    error = ClientClosedError("the client was closed while waiting")
    return JobOutcome(job_id, None, error, polls, elapsed)


def plain_id_of(job_id: object) -> str | JobOutcome:
    """An id as a plain string; for what cannot be one, the outcome that says so."""
    try:
        return check_job_id(job_id)
    except InvalidArgumentError as error:
        return JobOutcome(_text_of(job_id), None, error.with_traceback(None))


def _text_of(job_id: object) -> str:
    if isinstance(job_id, str):
        return job_id
    try:
        return shorten(str(job_id))
    except Exception:  # noqa: BLE001 - it is the caller's own, and must not disturb the others
        return f"<{type(job_id).__name__}>"
