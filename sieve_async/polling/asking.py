"""How the polls of a wait are asked."""

from collections.abc import Callable, Coroutine
from typing import Any

import attrs

from sieve_async.decode import PolledState, parse_state
from sieve_async.messages import Model, Request
from sieve_async.polling.long_polls import LongPolls
from sieve_async.polling.machine import Wait
from sieve_async.retry import Retrier


@attrs.frozen
class Asking:
    """How the polls of a wait are asked.

    Attributes:
        retrier: Sends them.
        clock: The time of the loop.
        attempt_limit: ``Timeout.request``: how long the only poll of a wait of 0 s may take.
        attempts: How often one poll is tried; None for as often as the retry policy says.
        long_polls: Lets the server hold the polls; None for not.
    """

    retrier: Retrier
    clock: Callable[[], float]
    attempt_limit: float | None
    attempts: int | None = None
    long_polls: LongPolls | None = None

    def poll(self, request: Request[Model], wait: Wait) -> Coroutine[Any, Any, PolledState[Model]]:
        """Ask once for the wait; a wait of 0 s is one whole look."""
        deadline, attempts = wait.deadline, self.attempts
        if wait.is_one_look:
            limit = self.attempt_limit
            deadline, attempts = None if limit is None else self.clock() + limit, 1
        if request.hold_time:
            attempts = 1
        return self.retrier.poll(request, parse_state, deadline=deadline, attempts=attempts)
