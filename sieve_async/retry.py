"""What is tried again, when, and how often.

One call makes at most ``RetryPolicy.max_attempts`` requests. A budget that all calls share keeps
retries from multiplying the load on a server that is down: they stop when it is spent, and
successes refill it (the rule of the AWS SDKs).
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import attrs

from sieve_async import delays
from sieve_async.config import check_count, check_seconds
from sieve_async.errors import (
    APIError,
    ConfigError,
    ConnectError,
    DecodeError,
    RateLimitError,
    RequestTimeoutError,
    ResponseError,
    SieveError,
    TransportError,
)
from sieve_async.gate import Gate
from sieve_async.messages import Model, Request, Response

Result = TypeVar("Result")

_HONOURS_RETRY_AFTER = frozenset({408, 429, 503})
_TRANSIENT_CLIENT_ERRORS = frozenset({408, 429})
_LASTING_SERVER_ERRORS = frozenset({501, 505})


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often one request is tried, and how long is waited in between.

    Tried again are connection errors, attempts that took too long, 408, 429, 5xx but 501 and 505,
    and bodies that are not JSON. What the server refuses for good is never tried again.

    Attributes:
        max_attempts: Tries of one request, the first included.
        initial_delay: Limit of the first pause in seconds (full jitter); it doubles each time.
        max_delay: The largest such limit in seconds.
        max_retry_after: A plain call does not wait for a ``Retry-After`` above this many seconds:
            it raises, and the error holds the number. A wait does wait. None is no limit.
    """

    max_attempts: int = 3
    initial_delay: float = 0.5
    max_delay: float = 8.0
    max_retry_after: float | None = 120.0

    def __attrs_post_init__(self) -> None:
        check_count("RetryPolicy.max_attempts", self.max_attempts)
        check_seconds("RetryPolicy.initial_delay", self.initial_delay)
        check_seconds("RetryPolicy.max_delay", self.max_delay)
        check_seconds("RetryPolicy.max_retry_after", self.max_retry_after, optional=True)
        if self.max_delay < self.initial_delay:
            raise ConfigError(
                "RetryPolicy.max_delay must not be less than RetryPolicy.initial_delay"
            )


@attrs.define(eq=False)
class RetryBudget:
    """What retries cost: 500 tokens, 14 for a transient and 5 for a throttled retry."""

    tokens: int = 500

    def pay(self, cost: int) -> bool:
        """Take the cost of a retry; False when there is not enough left."""
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True

    def refund(self, cost: int) -> None:
        """Give back: one token for a clean success, its last cost for a retried one."""
        self.tokens = min(500, self.tokens + cost)


@attrs.define(eq=False)
class Counters:
    """What has happened so far in one client."""

    requests: int = 0
    retries: int = 0


def is_transient(error: SieveError) -> bool:
    """Whether the same request may well succeed a little later."""
    match error:
        case TransportError():
            return error.is_transient
        case DecodeError():
            return True  # cut off, or a proxy's page
        case APIError(status=status) if status >= 500:
            return status not in _LASTING_SERVER_ERRORS
        case APIError(status=status):
            return status in _TRANSIENT_CLIENT_ERRORS
    return False


def is_throttled(error: SieveError) -> bool:
    """Whether the server said that it is asked too much."""
    return isinstance(error, RateLimitError) or asked_pause(error) is not None


def asked_pause(error: SieveError) -> float | None:
    """The ``Retry-After`` of an error on which it is honoured."""
    if isinstance(error, APIError) and error.status in _HONOURS_RETRY_AFTER:
        return error.retry_after
    return None


def retry_cost(error: SieveError) -> int:
    """What trying again after this error takes from the budget."""
    return 5 if is_throttled(error) else 14


@attrs.define(eq=False)
class Pauses:
    """The pauses of one call, one sequence for each reason to wait."""

    policy: RetryPolicy
    transient: Iterator[float] | None = None
    throttled: Iterator[float] | None = None

    def after(self, error: SieveError) -> float:
        """Seconds to wait before the next try.

        A connection that the server had closed while it was idle says nothing about the server's
        health: that try is repeated at once.
        """
        if isinstance(error, ConnectError) and error.reused_connection:
            return 0.0
        if is_throttled(error):
            self.throttled = self.throttled or delays.throttled()
            return next(self.throttled)
        if self.transient is None:
            self.transient = delays.transient(
                base=self.policy.initial_delay, cap=self.policy.max_delay
            )
        return next(self.transient)


class Retrier:
    """Sends requests through the gate until one is answered, or trying again is no use.

    Args:
        policy: What is tried again.
        gate: Who may send when.
        send: Sends a request once, at the latest until the given time of the loop.
        clock: The time of the loop.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        gate: Gate,
        send: Callable[[Request[Any], float | None], Awaitable[Response]],
        clock: Callable[[], float],
    ) -> None:
        self.budget = RetryBudget()
        self.counters = Counters()
        self._policy = policy
        self._gate = gate
        self._send = send
        self._clock = clock

    def call(
        self, request: Request[Model], read: Callable[[Request[Model], Response], Result]
    ) -> Coroutine[Any, Any, Result]:
        """Ask once, for a caller that waits for this one answer.

        Raises:
            SieveError: The last error, when trying again is no use, not allowed, or asked for so
                late that ``max_retry_after`` forbids to wait.
        """
        return self._run(request, read, None, self._policy.max_retry_after)

    def poll(
        self,
        request: Request[Model],
        read: Callable[[Request[Model], Response], Result],
        *,
        deadline: float | None,
        attempts: int | None = None,
    ) -> Coroutine[Any, Any, Result]:
        """Ask once, as one poll of a wait that ends at ``deadline`` (a time of the loop).

        Raises:
            SieveError: The last error; also when the deadline came first.
        """
        return self._run(request, read, deadline, None, attempts)

    async def _run(
        self,
        request: Request[Model],
        read: Callable[[Request[Model], Response], Result],
        deadline: float | None,
        patience: float | None,
        attempts: int | None = None,
    ) -> Result:
        started = self._clock()
        most = self._policy.max_attempts if attempts is None else attempts
        pauses: Pauses | None = None
        cost = 1
        attempt = 0
        while True:
            attempt += 1
            try:
                result = await self._attempt(request, read, deadline, patience)
            except (APIError, ResponseError, TransportError) as error:
                failure = error.with_traceback(None)
            else:
                self.budget.refund(cost)
                return result
            if attempt >= most or not is_transient(failure):
                break
            pauses = pauses or Pauses(self._policy)
            pause = pauses.after(failure)
            if not self._may_retry(failure, pause, deadline, patience):
                break
            cost = retry_cost(failure)
            self.counters.retries += 1
            await self._gate.sleep_until(self._clock() + pause)
        # A new error: the one that was caught hangs on the frames of the libraries below. One that
        # was not let through the gate has made no attempt.
        attempts = attempt - 1 + failure.attempts
        raise attrs.evolve(failure, attempts=attempts, elapsed=self._clock() - started)

    def _may_retry(
        self, failure: SieveError, pause: float, deadline: float | None, patience: float | None
    ) -> bool:
        earliest = max(pause, self._gate.held()[0])
        if deadline is not None and self._clock() + earliest >= deadline:
            return False
        asked = asked_pause(failure)
        if asked is not None and patience is not None and asked > patience:
            return False
        return self.budget.pay(retry_cost(failure))

    async def _attempt(
        self,
        request: Request[Model],
        read: Callable[[Request[Model], Response], Result],
        deadline: float | None,
        patience: float | None,
    ) -> Result:
        ticket = self._gate.enter_at_once()
        if ticket is None:
            ticket = await self._gate.enter(deadline=deadline, patience=patience)
        if ticket is None:
            raise self._not_admitted(request, patience)
        self.counters.requests += 1
        try:
            return read(request, await self._send(request, deadline))
        except APIError as error:
            asked = asked_pause(error)
            if asked is not None:
                self._gate.hold(asked, error.with_traceback(None))
            raise
        finally:
            self._gate.leave(ticket)

    def _not_admitted(
        self, request: Request[Model], patience: float | None
    ) -> APIError | TransportError:
        """What to say when nothing was sent: the server's own refusal, if that was the reason."""
        left, reason = self._gate.held()
        if reason is None or patience is None or left <= patience:
            why = "no slot became free before the deadline"
            return RequestTimeoutError(why, request.method, request.path, attempts=0)
        return attrs.evolve(
            reason, retry_after=left, method=request.method, path=request.path, attempts=0
        )
