"""How often to look."""

import attrs

from sieve_async import delays
from sieve_async.config import check_seconds
from sieve_async.errors import ConfigError


@attrs.frozen(kw_only=True)
class PollPolicy:
    """How often to look at something that takes seconds or hours.

    The pause is a share of the time waited since the status last changed, so that the delay in
    seeing the end stays in proportion to the duration. No pause is shorter than 0.05 s.

    Attributes:
        minimum: The shortest pause, in seconds.
        growth: The share of the time waited.
        maximum: The longest pause, in seconds.
        jitter: Each pause is multiplied by a random number from 1 - jitter to 1 + jitter; the first
            one with twice the jitter, so that waits which begin together do not go on together.
        max_unreachable: A wait ends with the last error after this many seconds without any valid
            answer, not counting time in which nobody asked; None is no limit.
    """

    minimum: float = 0.5
    growth: float = 0.05
    maximum: float = 10.0
    jitter: float = 0.25
    max_unreachable: float | None = 1800.0

    def __attrs_post_init__(self) -> None:
        for name in ("minimum", "growth", "maximum", "jitter"):
            check_seconds(f"PollPolicy.{name}", getattr(self, name))
        check_seconds("PollPolicy.max_unreachable", self.max_unreachable, optional=True)
        if self.maximum < self.minimum:
            raise ConfigError("PollPolicy.maximum must not be less than PollPolicy.minimum")
        if self.jitter >= 1:
            raise ConfigError("PollPolicy.jitter must be less than 1")

    def pause(self, waited: float) -> float:
        """The pause after a good answer that changed nothing, ``waited`` seconds after one did."""
        return delays.jittered(self.plain_pause(waited), self.jitter)

    def first_pause(self) -> float:
        """The pause after the first look."""
        return delays.jittered(self.plain_pause(0.0), min(1.0, 2 * self.jitter))

    def plain_pause(self, waited: float) -> float:
        """The same without the jitter."""
        return min(max(self.growth * waited, self.minimum), self.maximum)
