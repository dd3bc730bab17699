"""`PollPolicy`: how often to poll."""

import attrs

from sieve_async import delays
from sieve_async.config import as_optional_seconds, as_seconds, check_seconds
from sieve_async.errors import ConfigError


@attrs.frozen(kw_only=True)
class PollPolicy:
    """How often to poll something that takes seconds or hours.

    The interval is a share of the time since the last change of status, so that the delay in seeing
    the end stays in proportion to the duration. No interval is shorter than 0.05 s.

    Attributes:
        min_interval: The shortest interval, in seconds.
        growth: The share of the time since the last change of status.
        max_interval: The longest interval, in seconds.
        jitter: Each interval is multiplied by a random number from 1 - jitter to 1 + jitter; the
            first one with twice the jitter, so that waits which begin together soon differ.
        outage_timeout: A wait ends with the last error after this many seconds without any valid
            answer, not counting time without a poll; None is no limit.
    """

    min_interval: float = attrs.field(default=0.5, converter=as_seconds)
    growth: float = 0.05
    max_interval: float = attrs.field(default=10.0, converter=as_seconds)
    jitter: float = 0.25
    outage_timeout: float | None = attrs.field(default=1800.0, converter=as_optional_seconds)

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

    def interval(self, unchanged_for: float) -> float:
        """The interval without jitter, so many seconds after the last change of status."""
        return min(max(self.growth * unchanged_for, self.min_interval), self.max_interval)

    def delay(self, unchanged_for: float) -> float:
        """The same with jitter."""
        return delays.jittered(self.interval(unchanged_for), self.jitter)

    def first_delay(self, unchanged_for: float) -> float:
        """The same after the first answer, with twice the jitter."""
        return delays.jittered(self.interval(unchanged_for), min(1.0, 2 * self.jitter))
