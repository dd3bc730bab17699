"""Retries: which errors are worth another try, when, and how often.

One call makes at most ``RetryPolicy.max_attempts`` requests. A budget that all calls share keeps
retries from multiplying the load on a server that is down: they stop when it is spent, and
successes refill it (the rule of the AWS SDKs).
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum, auto
from typing import Any, TypeVar

import attrs

from sieve_async import delays
from sieve_async.background import TIMER_RESOLUTION, loop_time
from sieve_async.errors import (
    APIError,
    ConnectError,
    ProxyError,
    RateLimitError,
    RedirectError,
    RequestTimeoutError,
    ResponseError,
    ResponseTooLargeError,
    SieveError,
    TLSError,
    TransportError,
)
from sieve_async.limiter import RequestLimiter
from sieve_async.messages import Model, Request, Response, shorten
from sieve_async.settings import RetryPolicy

logger = logging.getLogger("sieve_async")

Result = TypeVar("Result")

_TRANSIENT_CLIENT_ERRORS = frozenset({408, 421, 425, 429})
_LASTING_SERVER_ERRORS = frozenset({501, 505})
_MAX_TOKENS = 500
# A kept connection that had died while idle fails so soon, in seconds; later, the server was at
# work on the request.
_MAX_STALE = 1.0


class ErrorAction(Enum):
    """What an error means for the request, and for a wait that it belongs to."""

    RETRY = auto()  # transient: the same request may well succeed later
    CONFIRM = auto()  # not retried; ends a wait, but is confirmed if there was a good answer
    RAISE = auto()  # final


def classify(error: SieveError) -> ErrorAction:
    """The one table of errors, for retries and for waits."""
    match error:
        case APIError(status=status):
            is_server_error = status >= 500 and status not in _LASTING_SERVER_ERRORS
            is_transient = is_server_error or status in _TRANSIENT_CLIENT_ERRORS
            return ErrorAction.RETRY if is_transient else ErrorAction.CONFIRM
        case TransportError(is_transient=True):
            return ErrorAction.RETRY
        case TLSError() | ProxyError() | RedirectError():
            return ErrorAction.CONFIRM
        case ResponseError() if not isinstance(error, ResponseTooLargeError):
            return ErrorAction.RETRY
    return ErrorAction.RAISE  # the next answer would be the same, or it is the client that fails


def requested_pause(error: SieveError) -> float | None:
    """The ``Retry-After`` of an error that is retried; None when there is none."""
    if isinstance(error, APIError) and classify(error) is ErrorAction.RETRY:
        return error.retry_after
    return None


def is_throttled(error: SieveError) -> bool:
    """Whether the server said that it gets too many requests."""
    return isinstance(error, RateLimitError) or requested_pause(error) is not None


def retry_cost(error: SieveError) -> int:
    """What trying again after this error takes from the budget."""
    return 5 if is_throttled(error) else 14


@attrs.define(eq=False)
class RetryBudget:
    """What retries cost: 500 tokens, 14 for a transient and 5 for a throttled retry."""

    tokens: int = _MAX_TOKENS

    def try_spend(self, cost: int) -> bool:
        """Take the cost of a retry; False when there is not enough left."""
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True

    def deposit(self, cost: int) -> None:
        """Refill: one token for a success at once, the last cost for a retried one."""
        self.tokens = min(_MAX_TOKENS, self.tokens + cost)


@attrs.define(eq=False)
class Counters:
    """What has happened so far in one client."""

    requests: int = 0
    retries: int = 0
    polls: int = 0
    failed_polls: int = 0


@attrs.define(eq=False)
class RetryDelays:
    """The delays of one call, one sequence for each reason to wait."""

    policy: RetryPolicy
    _transient: Iterator[float] | None = None
    _throttled: Iterator[float] | None = None

    def next(self, error: SieveError) -> float:
        """Seconds to wait before the next try."""
        if is_throttled(error):
            self._throttled = self._throttled or delays.throttled()
            return next(self._throttled)
        if self._transient is None:
            self._transient = delays.transient(
                base=self.policy.initial_delay, cap=self.policy.max_delay
            )
        return next(self._transient)


def _is_transient(error: SieveError) -> bool:
    return classify(error) is ErrorAction.RETRY


class Retrier:
    """Sends requests through the limiter until one succeeds, or another try is no use.

    Args:
        policy: What is tried again.
        limiter: Hands out slots.
        send: Sends a request once, at the latest until the given time of the loop.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        limiter: RequestLimiter,
        send: Callable[[Request[Any], float | None], Awaitable[Response]],
    ) -> None:
        self.budget = RetryBudget()
        self.counters = Counters()
        self.max_pause = policy.max_retry_after
        self._policy = policy
        self._limiter = limiter
        self._send = send

    async def call(
        self,
        request: Request[Model],
        parse: Callable[[Request[Model], Response], Result],
        *,
        poll: bool = False,
        deadline: float | None = None,
        max_attempts: int | None = None,
        waits_out_pauses: bool = False,
        may_retry: Callable[[SieveError], bool] = _is_transient,
    ) -> Result:
        """Send a request, and send it again after transient failures.

        Args:
            request: The request.
            parse: Reads its answer.
            poll: Whether each try takes a turn in the poll rate.
            deadline: The time of the loop at which to give up; None for no limit.
            max_attempts: The limit of tries; None for that of the policy.
            waits_out_pauses: Whether to wait longer than ``max_retry_after`` when the server asks.
            may_retry: Whether another try after a failure is any use.

        Raises:
            SieveError: The last error, or the one that asked for too long a pause.
        """
        limiter = self._limiter
        started = loop_time()
        if max_attempts is None:
            max_attempts = self._policy.max_attempts
        max_pause = None if waits_out_pauses else self.max_pause
        retry_delays: RetryDelays | None = None
        cost = 1
        attempt = 0
        failure: APIError | ResponseError | TransportError | None = None
        while True:
            if not (
                limiter.acquire_nowait(poll=poll)
                or await limiter.acquire(poll=poll, deadline=deadline, max_pause=max_pause)
            ):
                failure = self._not_admitted(request, deadline, max_pause, failure)
                break
            attempt += 1
            try:
                result = await self.attempt(request, parse, deadline, attempt, poll=poll)
            except (APIError, ResponseError, TransportError) as error:
                failure = error.with_traceback(None)
            else:
                self.budget.deposit(cost)
                return result
            finally:
                limiter.release()
            if not may_retry(failure) or attempt >= max_attempts:
                break
            retry_delays = retry_delays or RetryDelays(self._policy)
            delay = retry_delays.next(failure)
            cost = retry_cost(failure)
            if not self._try_spend(cost, failure, delay, deadline, max_pause):
                break
            self.counters.retries += 1
            await limiter.sleep_until(loop_time() + delay)
        # A new error: the one that was caught hangs on the frames of the libraries below.
        raise attrs.evolve(failure, attempts=attempt, elapsed=loop_time() - started)

    async def attempt(
        self,
        request: Request[Model],
        parse: Callable[[Request[Model], Response], Result],
        deadline: float | None,
        number: int = 1,
        *,
        poll: bool = False,
    ) -> Result:
        """Make one try in a slot that the caller holds.

        One that failed because the connection had died while idle says nothing about the server: it
        is repeated at once on a new connection, and does not count as a try. Only the poll rate
        counts it.

        Raises:
            SieveError: It failed.
        """
        limiter = self._limiter
        started = turn = loop_time()
        try:
            response = await self._request(request, deadline, number, started)
        except ConnectError as error:
            was_stale = error.reused_connection and loop_time() - started <= _MAX_STALE
            if not was_stale or request.fresh_connection or limiter.pause_remaining():
                raise
            turn = limiter.reserve_turn() if poll else turn
            if deadline is not None and turn >= deadline:
                raise
            response = None
        if response is None:
            await limiter.sleep_until(turn)
            request = attrs.evolve(request, fresh_connection=True)
            response = await self._request(request, deadline, number, loop_time())
        try:
            return parse(request, response)
        except APIError as error:
            seconds = requested_pause(error)
            if seconds is not None:
                limiter.pause(seconds, error.with_traceback(None))
            raise

    def _try_spend(
        self,
        cost: int,
        failure: SieveError,
        delay: float,
        deadline: float | None,
        max_pause: float | None,
    ) -> bool:
        """Pay for another try, if it can be made before the deadline and without a long pause."""
        earliest = max(delay, self._limiter.pause_remaining())
        if deadline is not None and loop_time() + earliest >= deadline:
            return False
        if max_pause is not None and (requested_pause(failure) or 0.0) > max_pause:
            return False
        return self.budget.try_spend(cost)

    async def _request(
        self, request: Request[Model], deadline: float | None, number: int, started: float
    ) -> Response:
        self.counters.requests += 1
        outcome = "cancelled"
        try:
            response = await self._send(request, deadline)
            outcome = str(response.status)
        except SieveError as error:
            outcome = f"{type(error).__name__}: {getattr(error, 'reason', '')}"
            raise
        finally:
            if logger.isEnabledFor(logging.DEBUG):
                milliseconds = (loop_time() - started) * 1000
                line = "%s %s: %s in %.0f ms (attempt %d)"
                text = shorten(outcome)
                logger.debug(line, request.method, request.path, text, milliseconds, number)
        return response

    def _not_admitted(
        self,
        request: Request[Model],
        deadline: float | None,
        max_pause: float | None,
        failure: APIError | ResponseError | TransportError | None,
    ) -> APIError | ResponseError | TransportError:
        """The error when a try got no slot.

        The answer that asked for the pause; else the failure of the try before, or the deadline.
        """
        reason, left = self._limiter.pause_reason, self._limiter.pause_remaining()
        has_time = deadline is None or loop_time() < deadline - TIMER_RESOLUTION
        if max_pause is not None and reason is not None and (left or has_time):
            return attrs.evolve(
                reason,
                retry_after=left or reason.retry_after,  # it is over, but others leave first
                method=request.method,
                path=request.path,
                attempts=0,
            )
        why = "no slot became free before the deadline"
        return failure or RequestTimeoutError(
            why, request.method, request.path, attempts=0, sent=False
        )
