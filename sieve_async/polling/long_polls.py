"""`LongPollLimiter`: how many requests the server may hold at once, and whether it can hold any."""

import asyncio
import logging

from sieve_async.errors import APIError, RedirectError, SieveError
from sieve_async.retry import ErrorAction, classify

logger = logging.getLogger("sieve_async")

# Statuses that say plainly that there is no such endpoint.
_MISSING = frozenset({404, 405, 501})
# Where it has worked before, or the status says less: so many rejections in a row.
_MAX_REJECTIONS = 3
# After a rejection where it has never worked, none is begun for so many seconds: a thousand jobs do
# not find out one by one.
_DOUBT_SECONDS = 5.0


def is_rejection(error: SieveError) -> bool:
    """Whether the answer to a long poll may mean that there is no such endpoint."""
    is_answer = isinstance(error, (APIError, RedirectError))
    return is_answer and classify(error) is not ErrorAction.RETRY


class LongPollLimiter:
    """The long polls of one client.

    Attributes:
        holds: What ends the requests that the server holds, by poller.

    Args:
        slots: How many requests the client may have in flight. Held ones take at most half of
            them, so that other requests continue.
    """

    def __init__(self, slots: int) -> None:
        self.holds: dict[object, asyncio.Timeout] = {}
        self._max = slots // 2
        self._is_supported = True
        self._has_worked = False
        self._rejections = 0
        self._doubtful_until = float("-inf")

    def acquire(self, poller: object, now: float) -> asyncio.Timeout | None:
        """Begin one, if a slot is free and the server has the endpoint, as far as is known."""
        is_doubtful = now < self._doubtful_until and not self._has_worked
        if not self._is_supported or is_doubtful or len(self.holds) >= self._max:
            return None
        hold = self.holds[poller] = asyncio.timeout(None)
        return hold

    def release(self, poller: object) -> None:
        """End one."""
        del self.holds[poller]

    def record_supported(self) -> None:
        """Record that the server held a request."""
        self._has_worked, self._rejections = True, 0

    def record_refused(self, now: float) -> None:
        """Record that a long poll was refused; why, a plain poll of the job will show."""
        self._doubtful_until = now + _DOUBT_SECONDS

    def record_unsupported(self, error: SieveError) -> None:
        """Record that a long poll was refused while a plain poll of the same job was answered."""
        self._rejections += 1
        is_missing = isinstance(error, APIError) and error.status in _MISSING
        is_certain = is_missing and not self._has_worked
        if self._is_supported and (is_certain or self._rejections >= _MAX_REJECTIONS):
            self._is_supported = False
            logger.info("the server cannot hold requests, polling instead: %s", error)
