"""Requests that the server holds until a job ends: whom to wake, and when."""

import asyncio
from collections import defaultdict
from enum import Enum, auto

import attrs

from sieve_async.testing.clocks import Clock


class Wake(Enum):
    """Why a held request is answered."""

    ENDED = auto()
    REMOVED = auto()
    TOO_LONG = auto()


@attrs.define
class Holds:
    """The requests held now; each has one timer and nothing else has any.

    A timer that has gone off has decided: the clock is told what time it is then, instead of
    being asked, since it may read a rounding error less and would do so for ever in virtual time.
    """

    longest: float
    clock: Clock
    _waiting: dict[str, set[asyncio.Future[Wake]]] = attrs.field(
        factory=lambda: defaultdict(set), init=False
    )

    def __attrs_post_init__(self) -> None:
        if not self.longest >= 0:  # written so that NaN is refused too
            message = f"longest_await must be zero or more, not {self.longest!r}"
            raise ValueError(message)

    async def until_ended(self, job_id: str, *, ends_at: float) -> Wake:
        """Hold one request for a job that has not ended, and say why it ends being held."""
        now = self.clock.now()
        # The end wins over the limit when both come at once.
        limit = now + self.longest
        moment, reason = (ends_at, Wake.ENDED) if ends_at <= limit else (limit, Wake.TOO_LONG)
        woken: asyncio.Future[Wake] = asyncio.get_running_loop().create_future()
        self._waiting[job_id].add(woken)
        timer = self._set_timer(woken, moment, moment - now, reason)
        try:
            return await woken
        finally:
            if timer:
                timer.cancel()
            self._waiting[job_id].discard(woken)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def wake(self, job_id: str, reason: Wake) -> None:
        """Have all that wait for one job answered."""
        for woken in self._waiting.get(job_id, ()):
            if not woken.done():
                woken.set_result(reason)

    def _set_timer(
        self, woken: asyncio.Future[Wake], moment: float, delay: float, reason: Wake
    ) -> asyncio.TimerHandle | None:
        def go_off() -> None:
            self.clock.arrive(moment)
            if not woken.done():
                woken.set_result(reason)

        if delay == float("inf"):
            return None
        return asyncio.get_running_loop().call_later(delay / self.clock.speed, go_off)
