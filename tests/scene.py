"""A pool of watched jobs at a time that the test sets, without any server."""

from typing import Any

import attrs

from sieve_async import ConnectError, PollPolicy, RetryPolicy
from sieve_async.gate import Gate
from sieve_async.messages import Response
from sieve_async.polling import Asking
from sieve_async.retry import Retrier
from sieve_async.watching.outcome import JobOutcome
from sieve_async.watching.watch import Pool, Watch

STEADY = PollPolicy(min_interval=2, growth=0.1, max_interval=10, jitter=0)


@attrs.define(eq=False)
class Caller:
    """Whoever waits: it has nothing to do here but to be there."""

    outcomes: list[JobOutcome] = attrs.field(factory=list)

    def conclude(self, watch: Watch, outcome: JobOutcome) -> None:
        """Keep the outcome."""
        assert watch.job_id == outcome.job_id
        self.outcomes.append(outcome)


@attrs.define(eq=False)
class Scene:
    """A pool at a time that the test sets, without any server."""

    now: float = 0.0
    pool: Pool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        def clock() -> float:
            return self.now

        async def send(*_: Any, **__: Any) -> Response:
            raise ConnectError("there is no server here")

        gate = Gate(slots=1, steady_rate=None, clock=clock)
        retrier = Retrier(RetryPolicy(max_attempts=1), gate, send, clock)
        self.pool = Pool(STEADY, is_one_look=False, asking=Asking(retrier, clock, None))

    def watch(self, job_id: str, due: float = 0.0) -> Watch:
        """One job that somebody waits for."""
        watch = self.pool.watch(job_id, (Caller(),))
        watch.due = due
        return watch
