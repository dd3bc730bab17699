"""What is logged of many jobs: thousands of them may share one outage."""

import logging
from collections.abc import Callable

from sieve_async.errors import SieveError
from sieve_async.messages import shorten
from sieve_async.watching.watch import Watch

logger = logging.getLogger("sieve_async")

# Seconds from one line to the next.
_PAUSE = 60.0


class Troubles:
    """At most one line a minute for polls that fail, and one for each unknown word.

    Args:
        clock: The time of the loop.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed = 0
        self._silent_until = float("-inf")
        self._words: set[str] = set()

    def note(self, watch: Watch) -> None:
        """Take note of a job that is looked at again."""
        wait = watch.wait
        if wait.failures and wait.last_error is not None:
            self.note_failure(wait.last_error)
        elif wait.status is not None and not wait.status.is_known:
            word = shorten(wait.status)
            if word not in self._words and len(self._words) < 100:
                self._words.add(word)
                logger.warning("job %s: unknown status %a, going on", watch.job_id, word)

    def note_failure(self, error: SieveError) -> None:
        """Take note of a request that failed."""
        self._failed += 1
        if (now := self._clock()) >= self._silent_until:
            self._silent_until = now + _PAUSE
            reason = shorten(str(error))
            logger.warning("polls fail (%d), going on: %s", self._failed, reason)
            self._failed = 0
