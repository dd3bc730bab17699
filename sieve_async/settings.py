"""Settings of a client: immutable, and refused where they cannot work."""

from datetime import timedelta

import attrs

from sieve_async import delays
from sieve_async.config import (
    check_count,
    check_more_than_zero,
    check_seconds,
    is_finite,
    must_be,
)
from sieve_async.errors import ConfigError


def as_seconds(value: float | timedelta) -> float:
    """A duration in seconds; what is no duration is left to the checks."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def as_optional_seconds(value: float | timedelta | None) -> float | None:
    """A duration in seconds, or None for no limit."""
    return value.total_seconds() if isinstance(value, timedelta) else value


@attrs.frozen(kw_only=True)
class Timeout:
    """How long one request may take, in seconds; None is no limit.

    Not the deadline of a wait: that is the ``timeout`` argument of the wait itself.

    Attributes:
        connect: For opening one connection, TLS handshake included.
        request: For one request from looking up the host to the last byte of the body. It starts
            when the request has its slot, so that queueing causes no false timeouts.
    """

    connect: float | None = attrs.field(default=10.0, converter=as_optional_seconds)
    request: float | None = attrs.field(default=30.0, converter=as_optional_seconds)

    def __attrs_post_init__(self) -> None:
        check_more_than_zero("Timeout.connect", self.connect)
        check_more_than_zero("Timeout.request", self.request)


def as_timeout(timeout: Timeout | float | timedelta) -> Timeout:
    """The timeouts of a client; a plain duration is that of one request."""
    if isinstance(timeout, Timeout):
        return timeout
    seconds = as_seconds(timeout)
    if not is_finite(seconds) or seconds <= 0:
        accepted = "a Timeout, or seconds or a timedelta above 0"
        raise ConfigError(must_be("timeout", accepted, timeout))
    return Timeout(request=seconds)


@attrs.frozen(kw_only=True)
class Limits:
    """How much the client does at once.

    Attributes:
        max_connections: Requests, and so sockets, at the same time; others queue, first come first
            served.
        polls_per_second: Polls a second of all waits and watches together, evenly spread: n jobs
            are then polled every n / 100 seconds at the most. Also the rate at which requests
            leave that a ``Retry-After`` made wait. None is as fast as the slots allow. No rate is
            documented; a hundred is polite.
        max_pending_jobs: Jobs that one call watches at once, terminal ones included whose outcome
            was not taken yet. Further ids are taken from their source as outcomes are taken.
        max_response_bytes: Bytes of one answer, after decompression.
    """

    max_connections: int = 64
    polls_per_second: float | None = 100.0
    max_pending_jobs: int = 100_000
    max_response_bytes: int = 16 * 1024 * 1024

    def __attrs_post_init__(self) -> None:
        check_count("Limits.max_connections", self.max_connections)
        check_count("Limits.max_pending_jobs", self.max_pending_jobs)
        check_count("Limits.max_response_bytes", self.max_response_bytes)
        check_more_than_zero("Limits.polls_per_second", self.polls_per_second)


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often one request is tried, and how long to wait in between.

    Retried are connection errors, attempts that took too long, 408, 421, 425, 429, 5xx but 501 and
    505, and bodies that cannot be read. No other answer of the server is retried.

    Attributes:
        max_attempts: Tries of one request, the first included.
        initial_delay: Upper bound of the first delay in seconds (full jitter); it doubles each
            time.
        max_delay: The largest such bound in seconds.
        max_retry_after: A plain call does not wait for a ``Retry-After`` above this many seconds:
            it raises, and the error holds the number. A wait does wait. None is no limit.
    """

    max_attempts: int = 3
    initial_delay: float = attrs.field(default=0.5, converter=as_seconds)
    max_delay: float = attrs.field(default=8.0, converter=as_seconds)
    max_retry_after: float | None = attrs.field(default=120.0, converter=as_optional_seconds)

    def __attrs_post_init__(self) -> None:
        check_count("RetryPolicy.max_attempts", self.max_attempts)
        check_seconds("RetryPolicy.initial_delay", self.initial_delay)
        check_seconds("RetryPolicy.max_delay", self.max_delay)
        check_seconds("RetryPolicy.max_retry_after", self.max_retry_after, optional=True)
        if self.max_delay < self.initial_delay:
            raise ConfigError(
                "RetryPolicy.max_delay must not be less than RetryPolicy.initial_delay"
            )


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
            answer; time without a poll counts from the third failure in a row on. None is no limit.
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
