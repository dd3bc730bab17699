"""`PollState`: the state of one wait, without I/O.

Responses, errors and times go in; when to poll again, or how the wait ended, comes out. Retrying is
not polling: a request that failed with all its retries is one failed poll here.
"""

from typing import TypeAlias

import attrs

from sieve_async import delays
from sieve_async.background import TIMER_RESOLUTION
from sieve_async.errors import RequestTimeoutError, SieveError
from sieve_async.models import BuildStatus, JobStatus
from sieve_async.retry import ErrorAction, classify
from sieve_async.settings import PollPolicy

# How long before the deadline the last poll begins, at the least, and with how much time left
# there is no other, in seconds.
_LAST_POLL_LEAD = 0.1
_MIN_LEFT = 0.2
# No poll takes longer, unless a pause of the server or the machine's sleep holds it back.
_MAX_POLL_TIME = 120.0
# Load balancers and lagging replicas reject in passing: after a good answer a rejection counts only
# when so many more polls, each at least this many seconds later, say the same.
_CONFIRMATIONS = 2
_CONFIRMATION_DELAY = 2.5


@attrs.frozen
class PollAt:
    """Poll again at this time."""

    at: float


@attrs.frozen
class Done:
    """The last response was terminal."""


@attrs.frozen
class Failed:
    """The wait ends with this error."""

    error: SieveError


@attrs.frozen
class DeadlineReached:
    """There is no time for another poll; the deadline is at this time."""

    at: float


Decision: TypeAlias = PollAt | Done | Failed | DeadlineReached


@attrs.define(eq=False, weakref_slot=False)
class PollState:
    """One wait. All times are those of one monotonic clock.

    Attributes:
        policy: How often to poll.
        started: When the wait began.
        deadline: When it must be over; None for never, the start for exactly one poll.
        polls: How many polls have come back.
        status: The last status seen; None before the first good answer.
        output_count: How many outputs there were then.
        has_changed: Whether the last poll showed another status or number of outputs.
        failures: How many polls in a row have failed transiently.
        rejections: How many rejections in a row have counted.
        last_error: What the last failed poll failed with.
        outage: For how many seconds polls have failed; at first without the time between them.
    """

    policy: PollPolicy
    started: float
    deadline: float | None = None
    polls: int = 0
    status: JobStatus | BuildStatus | None = None
    output_count: int = 0
    has_changed: bool = False
    failures: int = 0
    rejections: int = 0
    last_error: SieveError | None = None
    outage: float = 0.0
    changed_at: float = attrs.field(init=False)
    _polled_at: float = attrs.field(init=False)
    _next_confirmation_at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.changed_at = self._polled_at = self._next_confirmation_at = self.started

    @property
    def is_single_poll(self) -> bool:
        """Whether the wait is exactly one poll, which may take its time."""
        return self.deadline == self.started

    @property
    def is_healthy(self) -> bool:
        """Whether the last poll brought a good answer."""
        return not (self.failures or self.rejections)

    def on_response(
        self,
        status: JobStatus | BuildStatus,
        output_count: int,
        *,
        sent_at: float,
        now: float,
        paced_from: float | None = None,
    ) -> Decision:
        """Record a good answer.

        Args:
            status: The status in it.
            output_count: How many outputs there are by now.
            sent_at: When the poll began.
            now: When the answer came.
            paced_from: From when the interval to the next poll counts; None for ``now``.
        """
        is_first = self.status is None
        self._record_success(now)
        self.has_changed = status != self.status or output_count != self.output_count
        if status != self.status:
            self.changed_at = self.changed_at if is_first else now
        self.status, self.output_count = status, output_count
        if status.is_terminal:
            return Done()
        if paced_from is not None:
            return self._poll_after(paced_from, now)
        draw_delay = self.policy.first_delay if is_first else self.policy.delay
        delay = draw_delay(now - self.changed_at)
        return self._poll_in(delay, now, took=now - sent_at)

    def on_inconclusive(self, now: float) -> Decision:
        """Record a good answer that only another poll can interpret: poll at once."""
        self._record_success(now)
        if self.deadline is not None and now >= self.deadline:
            return DeadlineReached(self.deadline)
        return PollAt(now)

    def on_long_poll_ended(
        self, error: SieveError | None, *, sent_at: float, now: float
    ) -> Decision:
        """Record a long poll that expired, was given up, lost or refused.

        It says nothing about the job. The plain poll that follows is made at once, or paced from
        the start of the long poll if that was not held.
        """
        self._count_poll(error)
        if error is not None and not isinstance(error, RequestTimeoutError):  # else we gave it up
            self.last_error = error
        return self._poll_after(sent_at, now)

    def on_error(
        self,
        error: SieveError,
        *,
        sent_at: float,
        now: float,
        action: ErrorAction | None = None,
        was_listed: bool = False,
    ) -> Decision:
        """Record a failed poll.

        Args:
            error: What it failed with.
            sent_at: When it began.
            now: When it failed.
            action: What the error means, if not what ``classify`` says.
            was_listed: Whether a list has shown the job as running; rejections are confirmed then.
        """
        self._count_poll(error)
        if not (self._has_passed(now) and isinstance(error, RequestTimeoutError)):
            self.last_error = error  # a poll that the deadline cut off says nothing
        match action or classify(error):
            case ErrorAction.RETRY:
                self._record_failure(sent_at, now)
                return self._after_failure(error, now, took=now - sent_at)
            case ErrorAction.CONFIRM if self.status is not None or was_listed:
                return self._after_rejection(error, sent_at, now)
        return Failed(error)

    def restart_interval(self, now: float) -> None:
        """Start again from the shortest interval."""
        self.changed_at = now

    def recheck_deadline(self, decision: Decision, now: float) -> Decision:
        """The same decision, unless the caller has spent the rest of the time meanwhile."""
        if isinstance(decision, PollAt) and self._has_passed(now):
            return DeadlineReached(now)
        return decision

    def _count_poll(self, error: SieveError | None) -> None:
        if getattr(error, "attempts", 1):  # else the time was over before it was sent
            self.polls += 1
        self.has_changed = False

    def _record_success(self, now: float) -> None:
        self._count_poll(None)
        self.failures = self.rejections = 0
        self.outage, self._polled_at = 0.0, now

    def _record_failure(self, sent_at: float, now: float) -> None:
        """Count a failure, and the outage; longer than an interval without a poll is none at first.

        The caller may have been busy, the server may have held a request, or there are many jobs.
        """
        longest = self.policy.max_interval
        if self.failures >= _CONFIRMATIONS:  # as confirmed as a rejection
            longest = float("inf")
        elif self.failures:
            longest = max(longest, delays.MAX_DELAY_AFTER_FAILED_POLL)
        began = max(sent_at, now - _MAX_POLL_TIME)
        self.outage += now - began + min(began - self._polled_at, longest)
        self.failures += 1
        self._polled_at = now

    def _after_rejection(self, error: SieveError, sent_at: float, now: float) -> Decision:
        if self.rejections == 0 or sent_at >= self._next_confirmation_at:
            self.rejections += 1
            self._next_confirmation_at = now + _CONFIRMATION_DELAY
        if self.rejections > _CONFIRMATIONS:
            return Failed(error)
        delay = delays.at_least(max(0.0, self._next_confirmation_at - now))
        return self._poll_in(max(delay, delays.MIN_DELAY), now, took=now - sent_at)

    def _after_failure(self, error: SieveError, now: float, *, took: float) -> Decision:
        delay = delays.after_failed_polls(self.policy.delay(now - self.changed_at), self.failures)
        if self.policy.outage_timeout is not None and not self._has_passed(now):
            left = self.policy.outage_timeout - self.outage
            if left <= 0:
                return Failed(error)
            delay = max(delays.MIN_DELAY, min(delay, left))
        return self._poll_in(delay, now, took=took)

    def _has_passed(self, now: float) -> bool:
        """Whether the deadline has; never for a single poll, which may take its time."""
        if self.deadline is None or self.is_single_poll:
            return False
        return self.deadline - TIMER_RESOLUTION <= now

    def _poll_after(self, since: float, now: float) -> Decision:
        """Poll again one interval after ``since``: at once when that was long ago."""
        delay = self.policy.delay(now - self.changed_at)
        return self._poll_in(max(0.0, delay - (now - since)), now, took=0.0)

    def _poll_in(self, delay: float, now: float, *, took: float) -> Decision:
        """Poll again after the delay, or a little before the deadline if that is earlier."""
        if self.deadline is None:
            return PollAt(now + delay)
        left = self.deadline - now
        if left <= _MIN_LEFT:
            return DeadlineReached(self.deadline)
        # As late as a poll like the last one can still be back in time.
        last = self.deadline - min(max(_LAST_POLL_LEAD, 1.5 * took), left / 2)
        return PollAt(min(now + delay, last))
