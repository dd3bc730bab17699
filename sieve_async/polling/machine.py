"""One wait as a state machine without I/O.

Answers and times go in; "ask again at", "ended", "gave up" or "timed out" comes out. Retrying is
not polling: a poll that failed for good as a request is one failed poll here, and the wait goes on.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import TypeAlias

import attrs

from sieve_async import delays
from sieve_async.errors import (
    APIError,
    AuthenticationError,
    NotFoundError,
    RedirectError,
    RequestTimeoutError,
    ResponseError,
    ResponseTooLargeError,
    SieveError,
    TLSError,
    TransportError,
)
from sieve_async.models import BuildStatus, JobStatus
from sieve_async.polling.policy import PollPolicy

# How near to the deadline the last poll is planned, at the most.
_LAST_POLL_LEAD = 0.1
# No poll takes longer, but for one that the server's pause holds back, or the machine's sleep.
_LONGEST_POLL = 120.0
# Replicas lag, so a refusal after a good answer may be stale: how many polls confirm it, and the
# shortest pause before each.
_CONFIRMATIONS: Mapping[type[SieveError], tuple[int, float]] = {
    NotFoundError: (2, 2.5),
    AuthenticationError: (1, 1.0),
}


@attrs.frozen
class AskAgain:
    """Poll once more at this time."""

    at: float


@attrs.frozen
class Ended:
    """The last answer was terminal."""


@attrs.frozen
class GaveUp:
    """Going on is no use, and this is why."""

    error: SieveError


@attrs.frozen
class TimedOut:
    """There is no time for another poll; the deadline is at this time."""

    at: float


Step: TypeAlias = AskAgain | Ended | GaveUp | TimedOut


class Verdict(Enum):
    """What a failed poll means for the wait."""

    GO_ON = auto()
    CONFIRM = auto()
    END = auto()


def verdict(error: SieveError, *, seen: bool) -> Verdict:
    """Judge a failed poll.

    Args:
        error: What the poll failed with, its retries included.
        seen: Whether this wait has had a good answer before.
    """
    match error:
        case AuthenticationError() | NotFoundError():
            return Verdict.CONFIRM if seen else Verdict.END
        case TLSError() | RedirectError() | APIError(status=501 | 505):
            return Verdict.GO_ON if seen else Verdict.END
        case APIError(status=status):
            may_pass = status >= 500 or status in {408, 429}
            return Verdict.GO_ON if may_pass else Verdict.END
        case ResponseTooLargeError():
            return Verdict.END  # it will not get smaller
        case TransportError() | ResponseError():
            return Verdict.GO_ON
    return Verdict.END


@attrs.define(eq=False, weakref_slot=False)
class Wait:
    """One wait.

    Attributes:
        policy: How often to look.
        started: When the wait began (all times are those of one monotonic clock).
        deadline: When it must be over; None for never.
        polls: How many polls have come back.
        last_error: What the last failed poll failed with.
        is_news: Whether the last answer showed a status or number of outputs not seen before it.
    """

    policy: PollPolicy
    started: float
    deadline: float | None = None
    polls: int = 0
    last_error: SieveError | None = None
    is_news: bool = False
    status: JobStatus | BuildStatus | None = None
    outputs: int = 0
    failures: int = 0
    refusals: int = 0
    changed_at: float = attrs.field(init=False)
    valid_at: float = attrs.field(init=False)
    was_last: bool = False
    has_warned: bool = False

    def __attrs_post_init__(self) -> None:
        self.changed_at = self.valid_at = self.started

    @property
    def is_one_look(self) -> bool:
        """Whether there is time for exactly one poll, which may take its time."""
        return self.deadline == self.started

    def answered(
        self,
        status: JobStatus | BuildStatus,
        outputs: int,
        *,
        asked_at: float,
        now: float,
        paused_since: float | None = None,
    ) -> Step:
        """Take in a good answer.

        Args:
            status: What it said.
            outputs: How many outputs there are by now.
            asked_at: When it was asked for.
            now: When it came.
            paused_since: From when the pause before the next poll counts; None for ``now``.
        """
        self._note_valid(now)
        self.is_news = status != self.status or outputs != self.outputs
        if status != self.status:
            self.changed_at = now
            self.has_warned = False
        self.status, self.outputs = status, outputs
        if status.is_terminal:
            return Ended()
        if paused_since is None:
            return self._again(self._pause(now), now, took=now - asked_at)
        return self._after(paused_since, now)

    def unended(self, *, asked_at: float, now: float) -> Step:
        """Take in that the server held a request for as long as it does, and nothing happened."""
        self._note_valid(now)
        return self._after(asked_at, now)

    def cut_off(self, error: SieveError, *, asked_at: float, now: float) -> Step:
        """Take in that a request which the server held was cut off in between.

        That says nothing about the job, and little about the server: unless it came at once, the
        next poll need not wait.
        """
        if now - asked_at < self.policy.pause(now - self.changed_at):
            return self.failed(error, asked_at=asked_at, now=now)
        self.polls += 1
        self.is_news = False
        return self._after(asked_at, now)

    def dropped(self, error: SieveError, now: float) -> Step:
        """Take in that the connection had been closed while nobody used it: ask at once."""
        self.polls += 1
        self.last_error = error.with_traceback(None)
        self.is_news = False
        return self._at_once(now)

    def unsettled(self, now: float) -> Step:
        """Take in a good answer that only another one can tell the meaning of: ask at once."""
        self._note_valid(now)
        return self._at_once(now)

    def forget(self) -> None:
        """Take the last state for one that was not seen, so that it is news once more."""
        self.outputs = -1

    def reconsidered(self, step: Step, now: float) -> Step:
        """The same step, unless the caller has spent the rest of the time on the news."""
        if isinstance(step, AskAgain) and self._has_passed(now):
            return TimedOut(now)
        return step

    def failed(self, error: SieveError, *, asked_at: float, now: float) -> Step:
        """Take in a failed poll."""
        self.polls += 1
        self.is_news = False
        if not (self._has_passed(now) and isinstance(error, RequestTimeoutError)):
            self.last_error = error  # a poll that the deadline cut off says nothing
        meaning = verdict(error, seen=self.status is not None)
        took = now - asked_at
        match meaning:
            case Verdict.GO_ON:
                self._note_failure(asked_at, now)
                return self._after_failure(error, now, took=took)
            case Verdict.CONFIRM:
                return self._after_refusal(error, now, took=took)
        return GaveUp(error)

    def unchanged(self, now: float) -> None:
        """Take in that the job is as it was, from an answer about many jobs."""
        self._note_valid(now)

    def _at_once(self, now: float) -> Step:
        if self.deadline is None or now < self.deadline:
            return AskAgain(now)
        return TimedOut(self.deadline)

    def _note_valid(self, now: float) -> None:
        self.polls += 1
        self.failures = self.refusals = 0
        self.valid_at = now
        self.is_news = False

    def _note_failure(self, asked_at: float, now: float) -> None:
        """Count a failure; before the first one in a row, time in which nobody asked is no outage.

        The caller may have been busy, the server may have held a request, or there are many jobs.
        """
        if self.failures == 0:
            began = max(asked_at, now - _LONGEST_POLL)
            self.valid_at = max(self.valid_at, began - self.policy.max_interval)
        self.failures += 1

    def _pause(self, now: float) -> float:
        is_first = self.polls == 1
        return self.policy.first_pause() if is_first else self.policy.pause(now - self.changed_at)

    def _after(self, since: float, now: float) -> Step:
        """Ask again after a pause that began at ``since``: at once when that was long ago."""
        pause = self.policy.pause(now - self.changed_at)
        return self._again(max(0.0, pause - (now - since)), now, took=0.0)

    def _after_refusal(self, error: SieveError, now: float, *, took: float) -> Step:
        self.refusals += 1
        confirmations, pause = _CONFIRMATIONS[type(error)]
        if self.refusals > confirmations:
            return GaveUp(error)
        return self._again(delays.confirming(pause), now, took=took)

    def _after_failure(self, error: SieveError, now: float, *, took: float) -> Step:
        pause = delays.after_failed_polls(self.policy.pause(now - self.changed_at), self.failures)
        if self.policy.outage_timeout is not None and not self._has_passed(now):
            left = self.valid_at + self.policy.outage_timeout - now
            if left <= 0:
                return GaveUp(error)
            pause = max(delays.SHORTEST, min(pause, left))
        return self._again(pause, now, took=took)

    def _has_passed(self, now: float) -> bool:
        """Whether the deadline has; never for a wait of 0 s, whose only poll may take its time."""
        return self.deadline is not None and not self.is_one_look and self.deadline <= now

    def _again(self, pause: float, now: float, *, took: float) -> Step:
        """Ask again after the pause, or a little before the deadline if that is earlier."""
        if self.deadline is None:
            return AskAgain(now + pause)
        left = self.deadline - now
        if left < _LAST_POLL_LEAD or (self.was_last and left <= max(2 * _LAST_POLL_LEAD, 3 * took)):
            return TimedOut(self.deadline)
        # As late as a poll like the last one can still be back in time.
        last = self.deadline - min(max(_LAST_POLL_LEAD, 1.5 * took), left / 2)
        self.was_last = now + pause >= last
        return AskAgain(min(now + pause, last))
