"""Requests that the server holds until a job ends: whom to wake, and when."""

import asyncio
from collections import defaultdict
from enum import Enum, auto
from functools import partial

import attrs

from sieve_async.testing.alarms import Alarms


class Wake(Enum):
    """Why a held request is answered."""

    ENDED = auto()
    REMOVED = auto()
    TOO_LONG = auto()


@attrs.define
class Holds:
    """The requests held now; each has one alarm, and nothing else has any."""

    longest: float
    alarms: Alarms
    _waiting: dict[str, set[asyncio.Future[Wake]]] = attrs.field(
        factory=lambda: defaultdict(set), init=False
    )

    def __attrs_post_init__(self) -> None:
        if not self.longest >= 0:  # written so that NaN is refused too
            message = f"max_await must be zero or more, not {self.longest!r}"
            raise ValueError(message)

    async def until_ended(self, job_id: str, *, ends_at: float) -> Wake:
        """Hold one request for a job that has not ended, and say why it ends being held."""
        # The end wins over the limit when both come at once.
        limit = self.alarms.clock.now() + self.longest
        moment, reason = (ends_at, Wake.ENDED) if ends_at <= limit else (limit, Wake.TOO_LONG)
        woken: asyncio.Future[Wake] = asyncio.get_running_loop().create_future()
        self._waiting[job_id].add(woken)
        try:
            with self.alarms.ringing(moment, partial(_tell, woken, reason)):
                return await woken
        finally:
            self._waiting[job_id].discard(woken)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def wake(self, job_id: str, reason: Wake) -> None:
        """Have all that wait for one job answered."""
        for woken in self._waiting.get(job_id, ()):
            _tell(woken, reason)


def _tell(woken: asyncio.Future[Wake], reason: Wake) -> None:
    """Say why, to one that may have been told another reason in this turn of the loop."""
    if not woken.done():
        woken.set_result(reason)
