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
        min_interval: The shortest pause, in seconds.
        growth: The share of the time waited.
        max_interval: The longest pause, in seconds.
        jitter: Each pause is multiplied by a random number from 1 - jitter to 1 + jitter; the first
            one with twice the jitter, so that waits which begin together do not go on together.
        outage_timeout: A wait ends with the last error after this many seconds without any valid
            answer, not counting time in which nobody asked; None is no limit.
    """

    min_interval: float = 0.5
    growth: float = 0.05
    max_interval: float = 10.0
    jitter: float = 0.25
    outage_timeout: float | None = 1800.0

    def __attrs_post_init__(self) -> None:
        for name in ("min_interval", "growth", "max_interval", "jitter"):
            check_seconds(f"PollPolicy.{name}", getattr(self, name))
        check_seconds("PollPolicy.outage_timeout", self.outage_timeout, optional=True)
        if self.max_interval < self.min_interval:
            raise ConfigError(
                "PollPolicy.max_interval must not be less than PollPolicy.min_interval"
            )
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
        return min(max(self.growth * waited, self.min_interval), self.max_interval)
