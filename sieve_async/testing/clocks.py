"""What time it is on the server, and how that is written."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import attrs


@attrs.define
class Clock:
    """Seconds since the server was first started, at the speed asked for.

    It stands at zero until it is told what to follow, and it never runs backwards: a source
    that jumps back (looptime does, between a fixture and its test) is followed from there on.
    A manual clock follows nothing, and stands wherever it was put.
    """

    speed: float = 1.0
    is_manual: bool = False
    _source: Callable[[], float] | None = attrs.field(default=None, init=False)
    _origin: float = attrs.field(default=0.0, init=False)
    _carried: float = attrs.field(default=0.0, init=False)
    _latest: float = attrs.field(default=0.0, init=False)
    _arrived: float = attrs.field(default=0.0, init=False)
    _wall: datetime = attrs.field(factory=lambda: datetime.now(UTC), init=False)

    def __attrs_post_init__(self) -> None:
        if not 0 < self.speed < float("inf"):
            message = f"speed must be a positive number, not {self.speed!r}"
            raise ValueError(message)

    def follow(self, source: Callable[[], float]) -> None:
        """Go on from the present reading at the pace of ``source``."""
        self._carried = self.now()
        self._source = source
        self._origin = self._latest = source()

    def now(self) -> float:
        """Read the clock."""
        if self._source is None:
            return self._arrived
        reading = self._source()
        if reading < self._latest:
            self._carried += (self._latest - self._origin) * self.speed
            self._origin = reading
        self._latest = reading
        return max(self._arrived, self._carried + (reading - self._origin) * self.speed)

    def arrive(self, moment: float) -> None:
        """Learn from a timer that it is this late at least, whatever rounding says."""
        self._arrived = max(self._arrived, moment)

    def http_date(self, moment: float) -> str:
        """Write a reading the way HTTP headers do: in whole seconds."""
        return format_datetime(self._wall + timedelta(seconds=moment), usegmt=True)

    def stamp(self, moment: float | None) -> str | None:
        """Write a reading the way Sieve's answers do: naive UTC with microseconds."""
        if moment is None:
            return None
        written = self._wall + timedelta(seconds=moment)
        return written.replace(tzinfo=None).isoformat(timespec="microseconds")
