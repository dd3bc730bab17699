"""One rate for all watches together."""

import attrs

# Below the rate that was asked for: never more in any second than allowed is promised of what
# arrives at the server, however late some of it may be.
_MARGIN = 1.02
# By so much, in seconds, a turn may come too early after one that was taken late; less than the
# margin of a second, or it would be spent.
_CATCHING_UP = 0.015
# So many failures in a row are not a bad job or two: the server is down. It is then asked so many
# times less often, however many jobs there are to ask for, until one good answer comes.
_DOWN = 20
_SLOWER = 5.0


@attrs.define(eq=False)
class Pace:
    """Spreads requests evenly.

    Attributes:
        per_second: How many may go in any second; None for no limit.
        next_at: When the next one may go.
    """

    per_second: float | None
    next_at: float = 0.0
    _failed: int = 0

    def reserve(self, now: float) -> float:
        """Take the next turn, and say when it is.

        The turns behind one that was taken late move too, but for a little: neither does the rate
        suffer from small delays, nor does a long one end in a burst.
        """
        if self.per_second is None:
            return now
        interval = _MARGIN / self.per_second
        if self._failed >= _DOWN:
            interval *= _SLOWER
        turn = max(self.next_at, now)
        self.next_at = max(self.next_at, now - min(_CATCHING_UP, interval / 2)) + interval
        return turn

    def came_back(self, *, failed: bool) -> None:
        """Take note of an answer, or that there was none."""
        self._failed = self._failed + 1 if failed else 0
