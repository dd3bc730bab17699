"""Pollers: what one wait sends, and what it has seen. One poll is one request (and its retries).

What a response means for the wait is decided by `PollState`; what it means for the outputs, and for
how to poll next, is decided here.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Generic

import attrs

from sieve_async import endpoints
from sieve_async.background import loop_time
from sieve_async.decode import PolledState, parse_state
from sieve_async.errors import (
    JobRestartedError,
    NotFoundError,
    ResponseError,
    SieveError,
    WaitTimeoutError,
)
from sieve_async.messages import Model, Request
from sieve_async.models import FunctionVersion, Job, JobStatus, Output
from sieve_async.polling.long_polls import LongPollLimiter, is_rejection
from sieve_async.polling.state import Decision, PollState
from sieve_async.retry import ErrorAction, Retrier

# How long a request is held, at the most: a dropped connection costs no more than this.
_MAX_HOLD = 60.0
# How long before the deadline a held request is given up for a plain poll.
_PLAIN_POLL_LEAD = 0.3
# A request that the server kept for so long was held.
MIN_HELD = 1.0
# A job that this client pushed may be unknown to a lagging replica for so long.
PUSH_GRACE = 10.0
# As many hashes as fit into the smallest integers, and far too many to meet one twice.
_RUNS = 2**60


@attrs.frozen
class PollContext:
    """How the polls of a client are sent.

    Attributes:
        retrier: Sends them.
        pushed_at: When this client pushed a job; None if it did not, or long ago.
        has_slot: Whether polls are sent in a slot that the caller holds, with one try.
        long_polls: Lets the server hold polls; None for not.
    """

    retrier: Retrier
    pushed_at: Callable[[str], float | None]
    has_slot: bool = False
    long_polls: LongPollLimiter | None = None

    def send(
        self, request: Request[Model], state: PollState, *, held_until: float | None = None
    ) -> Coroutine[Any, Any, PolledState[Model]]:
        """Send one poll, which the server may hold until a time of the loop."""
        retrier = self.retrier
        retrier.counters.polls += 1
        is_single = state.is_single_poll
        deadline = None if is_single else held_until or state.deadline
        if self.has_slot:
            return retrier.attempt(request, parse_state, deadline, poll=True)
        return retrier.call(
            request,
            parse_state,
            poll=True,
            deadline=deadline,
            max_attempts=1 if is_single or request.hold_time else None,
            waits_out_pauses=not is_single,
        )


@attrs.define(eq=False, weakref_slot=False)
class Poller(ABC, Generic[Model]):
    """Polls one job or version.

    Attributes:
        context: How polls are sent.
        state: The state of the wait.
        seen: The last good answer.
    """

    context: PollContext
    state: PollState
    seen: PolledState[Model] | None = attrs.field(default=None, init=False)

    @property
    @abstractmethod
    def target(self) -> str:
        """What is waited for: a job id, or ``owner/name:slug``."""

    @abstractmethod
    async def poll(self) -> Decision:
        """Poll once, and say how the wait continues."""

    @property
    def was_listed(self) -> bool:
        """Whether a list has shown it as running."""
        return False

    def last(self) -> Model | None:
        """The last state seen; None when none was."""
        return None if self.seen is None else self.seen.model()

    def result(self) -> Model:
        """The last state, after a terminal answer."""
        model = self.last()
        assert model is not None  # noqa: S101 - it was seen
        return model

    def timeout_error(self, elapsed: float) -> WaitTimeoutError:
        """The error when the deadline came first: all that is known."""
        state = self.state
        return WaitTimeoutError(self.target, self.last(), state.polls, elapsed, state.last_error)

    def _on_error(
        self, error: SieveError, sent_at: float, action: ErrorAction | None = None
    ) -> Decision:
        self.context.retrier.counters.failed_polls += 1
        now = loop_time()
        error = error.with_traceback(None)
        return self.state.on_error(
            error, sent_at=sent_at, now=now, action=action, was_listed=self.was_listed
        )


@attrs.define(eq=False)
class VersionPoller(Poller[FunctionVersion]):
    """Polls one version; ``latest`` and prefixes mean what they meant at the first answer."""

    request: Request[FunctionVersion]
    name: str

    @property
    def target(self) -> str:
        """The version as it was asked for, ``owner/name:slug``."""
        return self.name

    async def poll(self) -> Decision:
        """Poll once, and say how the wait continues."""
        sent_at = loop_time()
        try:
            seen = await self.context.send(self.request, self.state)
        except SieveError as error:
            return self._on_error(error, sent_at)
        if self.seen is None:
            self.request = endpoints.pinned(self.request, seen.id)
        self.seen = seen
        now = loop_time()
        return self.state.on_response(seen.status, seen.output_count, sent_at=sent_at, now=now)


@attrs.define(eq=False, weakref_slot=False)
class JobPoller(Poller[Job]):
    """Polls one job; no output is fetched twice.

    Attributes:
        job_id: The job.
        offset: How many outputs of the present run were fetched.
        buffered_outputs: Those of them that were not drained yet.
        restarts: How often the job had restarted when the present run was last seen.
        restart: Set when a new run began, for streams of outputs.
    """

    job_id: str
    offset: int = 0
    buffered_outputs: tuple[Output, ...] = attrs.field(default=(), init=False)
    restarts: int = attrs.field(default=0, init=False)
    restart: JobRestartedError | None = attrs.field(default=None, init=False)
    # Runs by hashes of their ids, since there may be 100,000 waits.
    _run: int | None = attrs.field(default=None, init=False)
    _earlier_runs: frozenset[int] = attrs.field(default=frozenset(), init=False)
    # Why the last long poll ended; a plain poll of the job comes before the next one.
    _is_settling: bool = attrs.field(default=False, init=False)
    _rejection: SieveError | None = attrs.field(default=None, init=False)

    @property
    def target(self) -> str:
        """The id of the job."""
        return self.job_id

    async def poll(self) -> Decision:
        """Poll once, and say how the wait continues."""
        long_polls = self.context.long_polls
        if long_polls is not None and not self._is_settling and (seconds := self._hold_time()) > 0:
            hold = long_polls.acquire(self, loop_time())
            if hold is not None:
                try:
                    return await self._poll_long(long_polls, hold, seconds)
                finally:
                    long_polls.release(self)
        return await self._poll_plainly()

    def give_up_hold(self) -> bool:
        """Give up a request that the server holds, for a plain poll; whether there is one."""
        long_polls = self.context.long_polls
        hold = None if long_polls is None else long_polls.holds.get(self)
        if hold is not None and not hold.expired():
            hold.reschedule(loop_time())
        return hold is not None

    def hold_limit(self) -> float | None:
        """Until when a request may be held; None for no limit."""
        deadline = self.state.deadline
        return None if deadline is None else deadline - _PLAIN_POLL_LEAD

    def last(self) -> Job | None:
        """The last state seen, with all outputs that are buffered; None when none was."""
        job = super().last()
        if self.state.status is None:
            return job
        if job is None:  # the document was dropped
            return Job(self.job_id, JobStatus(self.state.status), outputs=self.buffered_outputs)
        is_all = len(job.outputs) == len(self.buffered_outputs)  # which end with those of the job
        if is_all and job.status == self.state.status:
            return job
        status = JobStatus(self.state.status)
        return attrs.evolve(job, status=status, outputs=self.buffered_outputs)

    def drain_outputs(self) -> tuple[Output, ...]:
        """The buffered outputs, to buffer them no longer."""
        drained, self.buffered_outputs = self.buffered_outputs, ()
        return drained

    def _hold_time(self) -> float:
        """For how many seconds the server may hold the next poll; 0 for a plain one."""
        state, limit = self.state, self.hold_limit()
        if state.rejections or state.failures or state.is_single_poll:
            return 0.0
        left = _MAX_HOLD if limit is None else limit - loop_time()
        return min(_MAX_HOLD, left)

    async def _poll_plainly(self) -> Decision:
        sent_at = loop_time()
        try:
            request = endpoints.get_job(self.job_id, offset=self.offset)
            seen = await self.context.send(request, self.state)
        except NotFoundError as error:
            return self._on_error(error, sent_at, ErrorAction.RETRY if self._is_new() else None)
        except SieveError as error:
            return self._on_error(error, sent_at)
        rejection, self._rejection = self._rejection, None
        if rejection is not None and self.context.long_polls is not None:
            self.context.long_polls.record_unsupported(rejection)
        # A long poll that was not held has paced this poll already.
        is_followed = self._is_settling and self._hold_time() > 0
        self._is_settling = False
        return self._on_response(seen, sent_at, self.state.started if is_followed else None)

    async def _poll_long(
        self, long_polls: LongPollLimiter, hold: asyncio.Timeout, seconds: float
    ) -> Decision:
        sent_at = loop_time()
        failure: SieveError | None = None
        try:
            async with hold:
                request = endpoints.await_job(self.job_id, offset=self.offset)
                seen = await self.context.send(request, self.state, held_until=sent_at + seconds)
        except SieveError as error:
            failure = error.with_traceback(None)
        except TimeoutError:
            pass  # given up
        else:
            long_polls.record_supported()
            return self._on_response(seen, sent_at, sent_at)
        now = loop_time()
        self._is_settling = True
        if failure is not None and is_rejection(failure):  # however long it had to queue
            if not (isinstance(failure, NotFoundError) and self._is_new()):
                self._rejection = failure
                long_polls.record_refused(now)
        elif failure and getattr(failure, "attempts", True) and now - sent_at >= MIN_HELD:
            long_polls.record_supported()
        return self.state.on_long_poll_ended(failure, sent_at=sent_at, now=now)

    def _is_new(self) -> bool:
        """Whether this client has just pushed the job: a replica may not know it yet."""
        pushed_at = self.context.pushed_at(self.job_id)
        return pushed_at is not None and loop_time() - pushed_at < PUSH_GRACE

    def _on_response(
        self, seen: PolledState[Job], sent_at: float, paced_from: float | None
    ) -> Decision:
        offset = self.offset
        if not self._is_present_run(seen):
            request, status = seen.request, seen.response.status
            reason = "the answer is about an earlier run of the job"
            error = ResponseError(reason, request.method, request.path, status)
            return self._on_error(error, sent_at)
        now = loop_time()
        if self.offset < offset:  # a new run: the outputs that were left out are not those we have
            return self.state.on_inconclusive(now)
        if seen.is_whole and self.offset:
            if self.buffered_outputs:  # it has not been handed out
                self.buffered_outputs = seen.model().outputs
        elif seen.output_count:
            outputs = seen.model().outputs
            self.buffered_outputs += outputs
            self.offset += len(outputs)
        self.seen = seen
        return self.state.on_response(
            seen.status, self.offset, sent_at=sent_at, now=now, paced_from=paced_from
        )

    def _is_present_run(self, seen: PolledState[Job]) -> bool:
        """Record the run that an answer is about; a new one starts over with its outputs.

        False for an answer about an earlier run: replicas lag. Where runs have no ids, the number
        of restarts tells them apart.
        """
        run = None if seen.run_id is None else hash(seen.run_id) % _RUNS
        restarts = seen.restarts
        if self.state.status is not None and not self._is_same_run(run, restarts):
            if self._is_earlier_run(run, restarts):
                return False
            if self._run is not None:
                self._earlier_runs |= {self._run}
            self._run, self.restarts = None, 0
            self.restart = JobRestartedError(self.job_id, seen.run_id)
            self.offset, self.buffered_outputs = 0, ()
        if run is not None:
            self._run = run
        if restarts is not None:
            self.restarts = max(self.restarts, restarts)
        return True

    def _is_same_run(self, run: int | None, restarts: int | None) -> bool:
        if run is not None and self._run is not None:
            return run == self._run
        if run is not None and run in self._earlier_runs:
            return False
        return restarts is None or restarts == self.restarts

    def _is_earlier_run(self, run: int | None, restarts: int | None) -> bool:
        restarts = restarts or 0  # the first run may have null
        if restarts != self.restarts:
            return restarts < self.restarts
        return run in self._earlier_runs
