"""How much is remembered of jobs that run: whole answers, as far as a bound allows."""

import attrs

from sieve_async.watching.watch import Watch

# Of all watched jobs together: some thousand answers. What comes after has only its status.
_ROOM = 4 * 1024 * 1024
_OVERHEAD = 2000  # of an answer, besides its body: headers, the request, the objects


@attrs.define(eq=False)
class Evidence:
    """What the errors of a deadline may show later.

    Attributes:
        room: Bytes that are left.
    """

    room: int = _ROOM

    def keep(self, watch: Watch) -> None:
        """Keep what a watch has seen last, if there is room; its status is kept in any case."""
        self.release(watch)
        if watch.seen is None:
            return
        weight = len(watch.seen.response.body) + _OVERHEAD
        if weight <= self.room:
            watch.kept = weight
            self.room -= weight
            return
        watch.seen = None
        if not watch.wait.failures:
            watch.wait.last_error = None

    def release(self, watch: Watch) -> None:
        """Count what a watch has kept no longer."""
        self.room += watch.kept
        watch.kept = 0
