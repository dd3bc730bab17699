"""The thin loop that drives a wait: it asks, sleeps and tells, and decides nothing."""

import inspect
import logging
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Generic

import attrs

from sieve_async import endpoints
from sieve_async.decode import Seen, read_state
from sieve_async.errors import DecodeError, InvalidArgumentError, SieveError, WaitTimeoutError
from sieve_async.gate import Gate
from sieve_async.messages import Answer, Request, shorten
from sieve_async.models import FunctionVersion, Job
from sieve_async.polling.machine import AskAgain, Ended, GaveUp, Step, TimedOut, Wait
from sieve_async.polling.policy import PollPolicy
from sieve_async.retry import Retrier

logger = logging.getLogger("sieve_async")


@attrs.frozen
class Subject:
    """What a wait is for: a job, or a version as ``owner/name:slug``."""

    job_id: str | None = None
    function_version: str | None = None

    def __str__(self) -> str:
        if self.job_id is None:
            return f"version {self.function_version}"
        return f"job {self.job_id}"


class Poller:
    """Runs the waits of one client.

    Args:
        retrier: Sends the polls.
        gate: Where to sleep, so that closing the client wakes the sleepers.
        clock: The time of the loop.
        attempt_limit: ``Timeout.attempt``: how long the only poll of a wait of 0 s may take.
    """

    def __init__(
        self,
        retrier: Retrier,
        gate: Gate,
        clock: Callable[[], float],
        attempt_limit: float | None,
    ) -> None:
        self.going_on = 0
        self._retrier = retrier
        self._gate = gate
        self._clock = clock
        self._attempt_limit = attempt_limit

    async def wait(
        self,
        request: Request[Answer],
        subject: Subject,
        *,
        policy: PollPolicy,
        seconds: float | None,
        on_update: Callable[[Answer], object] | None,
    ) -> Answer:
        """Poll until the end and return how it ended.

        Raises:
            WaitTimeoutError: The deadline came first.
            SieveError: Going on is no use, or the terminal answer does not decode.
        """
        started = self._clock()
        wait = Wait(policy, started, None if seconds is None else started + seconds)
        polls = _Polls(request, self._retrier, on_update, *self._bounds(wait))
        self.going_on += 1
        try:
            ended = await self._follow(wait, polls, subject)
        finally:
            self.going_on -= 1
        if ended is None:
            raise self._timed_out(wait, polls.last, subject)
        return ended.model()

    def _bounds(self, wait: Wait) -> tuple[float | None, int | None]:
        """Until when a poll may take, and how often it is tried; 0 s is one whole look."""
        if wait.deadline != wait.started:
            return wait.deadline, None
        limit = self._attempt_limit
        return None if limit is None else wait.started + limit, 1

    async def _follow(
        self, wait: Wait, polls: "_Polls[Answer]", subject: Subject
    ) -> Seen[Answer] | None:
        """Poll until the terminal answer; None when the deadline came first."""
        while True:
            step = await self._poll(wait, polls)
            if isinstance(step, AskAgain):
                _warn(wait, subject)
            match step:
                case Ended():
                    return polls.last
                case GaveUp(error):
                    raise error
            await self._gate.sleep_until(step.at)
            if isinstance(step, TimedOut):
                return None

    async def _poll(self, wait: Wait, polls: "_Polls[Answer]") -> Step:
        asked_at = self._clock()
        try:
            seen = await polls.ask()
        except SieveError as error:
            return wait.failed(error.with_traceback(None), asked_at=asked_at, now=self._clock())
        now = self._clock()
        step = wait.answered(seen.status, seen.outputs, asked_at=asked_at, now=now)
        if wait.is_news:
            await polls.show(seen)
            return wait.reconsidered(step, self._clock())
        return step

    def _timed_out(self, wait: Wait, last: Seen[Any] | None, subject: Subject) -> WaitTimeoutError:
        model, problem = _model_of(last)
        return WaitTimeoutError(
            subject.job_id,
            model if isinstance(model, Job) else None,
            wait.polls,
            self._clock() - wait.started,
            wait.last_error or problem,
            subject.function_version,
            model if isinstance(model, FunctionVersion) else None,
        )


@attrs.define(eq=False)
class _Polls(Generic[Answer]):
    """The polls of one wait, and what they have seen."""

    request: Request[Answer]
    retrier: Retrier
    on_update: Callable[[Answer], object] | None
    deadline: float | None
    attempts: int | None
    last: Seen[Answer] | None = None

    async def ask(self) -> Seen[Answer]:
        seen = await self.retrier.poll(
            self.request, read_state, deadline=self.deadline, attempts=self.attempts
        )
        if self.last is None:
            self.request = endpoints.pinned(self.request, seen.id)
        self.last = seen
        return seen

    async def show(self, seen: Seen[Answer]) -> None:
        """Tell the caller of a new state, if it wants to know and the state can be told."""
        if self.on_update is None:
            return
        model, _ = _model_of(seen)
        if model is not None:
            told = self.on_update(model)
            if inspect.isawaitable(told):
                await told


def check_timeout(timeout: float | timedelta | None) -> float | None:
    """The timeout of a wait in seconds; None for no limit.

    Raises:
        InvalidArgumentError: It is not a number of seconds, or negative.
    """
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        kind = type(timeout).__name__
        raise InvalidArgumentError(f"timeout must be seconds, a timedelta or None, not {kind}")
    try:
        seconds = float(seconds)
    except OverflowError:
        raise InvalidArgumentError("timeout is more than a float can hold") from None
    if math.isnan(seconds) or seconds < 0:
        raise InvalidArgumentError(f"timeout must not be negative, but is {seconds}")
    return None if math.isinf(seconds) else seconds


def _model_of(seen: Seen[Answer] | None) -> tuple[Answer | None, DecodeError | None]:
    """The model, or why there is none: a state that does not decode must not end a wait."""
    if seen is None:
        return None, None
    try:
        return seen.model(), None
    except DecodeError as error:
        return None, error.with_traceback(None)


def _warn(wait: Wait, subject: Subject) -> None:
    """At most one line for each state of a wait: thousands of them may share one outage."""
    if wait.has_warned:
        return
    if wait.failures and wait.last_error is not None:
        wait.has_warned = True
        logger.warning("%s: a poll failed, going on: %s", subject, shorten(str(wait.last_error)))
    elif wait.status is not None and not wait.status.is_known:
        wait.has_warned = True
        logger.warning("%s: unknown status %a, going on", subject, shorten(wait.status))
