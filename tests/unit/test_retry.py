"""Retries: the one table of errors, delays, budget, and stale connections."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import attrs
import pytest

from helpers.http_helpers import now
from sieve_async import RetryPolicy, errors
from sieve_async.background import Background
from sieve_async.endpoints import get_job
from sieve_async.limiter import RequestLimiter
from sieve_async.messages import Request, Response
from sieve_async.retry import (
    ErrorAction,
    Retrier,
    RetryBudget,
    RetryDelays,
    classify,
    requested_pause,
    retry_cost,
)

pytestmark = pytest.mark.looptime

RETRY, CONFIRM, RAISE = ErrorAction.RETRY, ErrorAction.CONFIRM, ErrorAction.RAISE

OTHERS: list[tuple[errors.SieveError, ErrorAction]] = [
    (errors.TransportError("cut off"), RETRY),
    (errors.TransportError("KeyError: 'x'", is_transient=False), RAISE),
    (errors.ConnectError("refused"), RETRY),
    (errors.ConnectError("the host name is invalid", is_transient=False), RAISE),
    (errors.RequestTimeoutError("late"), RETRY),
    (errors.TLSError("TLS: closed"), RETRY),
    (errors.TLSError("TLS: untrusted", is_certificate_error=True, is_transient=False), CONFIRM),
    (errors.ProxyError("the proxy answered 502", status=502), RETRY),
    (errors.ProxyError("the proxy answered 407", status=407, is_transient=False), CONFIRM),
    (errors.ResponseError("of an earlier run"), RETRY),
    (errors.DecodeError("not JSON"), RETRY),
    (errors.RedirectError("moved"), CONFIRM),
    (errors.ResponseTooLargeError("too large"), RAISE),
    (errors.ClientClosedError(), RAISE),
    (errors.InvalidArgumentError("job_id"), RAISE),
]


def test_statuses() -> None:
    """408, 421, 425, 429 and 5xx but 501 and 505 are transient; all others are to be confirmed."""
    for status in range(400, 600):
        transient = status in {408, 421, 425, 429} or (status >= 500 and status not in {501, 505})
        error = errors.api_error_class(status)(status, retry_after=2.5)
        assert classify(error) is (RETRY if transient else CONFIRM)
        assert requested_pause(error) == (2.5 if transient else None)


def test_other_errors() -> None:
    """Each class of error has its row in the table."""
    for error, action in OTHERS:
        assert classify(error) is action


def test_costs_and_delays() -> None:
    """429 and ``Retry-After`` say that there are too many requests: fewer tokens, longer delays."""
    throttled = [errors.RateLimitError(429), errors.ServerError(503, retry_after=1.0)]
    others = [errors.ServerError(503), errors.TransportError("cut off")]
    assert [retry_cost(error) for error in (*throttled, *others)] == [5, 5, 14, 14]
    policy = RetryPolicy(initial_delay=0.1)
    for error in throttled:
        assert RetryDelays(policy).next(error) >= 0.5
    for other in others:
        assert RetryDelays(policy).next(other) <= 0.1


def test_budget() -> None:
    """A retry needs its price; successes refill up to 500."""
    budget = RetryBudget(tokens=20)
    assert budget.try_spend(14)
    assert not budget.try_spend(14)
    assert budget.try_spend(5)
    assert budget.tokens == 1
    budget.deposit(1000)
    assert budget.tokens == 500


class Harness:
    """A retrier whose requests end as scripted; it records when each was sent."""

    def __init__(
        self, *ends: errors.SieveError | int, rate: float | None = None, **policy: Any
    ) -> None:
        self.sent: list[tuple[float, Request[Any]]] = []
        self.limiter = RequestLimiter(slots=4, polls_per_second=rate, background=Background())
        self.retrier = Retrier(RetryPolicy(**policy), self.limiter, self._send)
        self._ends = list(ends)

    async def _send(self, request: Request[Any], _: float | None) -> Response:
        self.sent.append((now(), request))
        end = self._ends.pop(0) if self._ends else 200
        if isinstance(end, errors.TransportError | errors.ClientClosedError):
            raise end
        return Response(end if isinstance(end, int) else 200, (), b"", lambda text: text)

    def parse(self, error: errors.APIError | None) -> Callable[[Request[Any], Response], str]:
        """A parser that raises this error for what is no success."""

        def parse(_: Request[Any], response: Response) -> str:
            if response.status >= 400 and error is not None:
                raise attrs.evolve(error)
            return "good"

        return parse


async def test_stale_connections_without_end() -> None:
    """Connections that die again and again are not repeated without end."""
    harness = Harness(*[errors.ConnectError("closed", reused_connection=True)] * 99)
    with pytest.raises(errors.ConnectError):
        await harness.retrier.call(get_job("a"), harness.parse(None))
    assert len(harness.sent) == 6


async def test_stale_connections_of_polls_obey_the_rate() -> None:
    """The repetition takes a turn in the poll rate, like any other poll."""
    stale = errors.ConnectError("closed", reused_connection=True)
    ends: list[errors.SieveError | int] = [stale, 200]
    harness = Harness(*ends * 10, rate=10)
    for _ in range(10):
        await harness.retrier.call(get_job("a"), harness.parse(None), poll=True)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(harness.sent)]
    assert len(harness.sent) == 20
    assert min(gaps) >= 0.08


async def test_pushes_are_never_repeated() -> None:
    """What must go out on a new connection is not repeated, whatever the transport says."""
    harness = Harness(errors.ConnectError("closed", reused_connection=True))
    request = attrs.evolve(get_job("a"), fresh_connection=True)
    with pytest.raises(errors.ConnectError):
        await harness.retrier.attempt(request, harness.parse(None), None)
    assert len(harness.sent) == 1
