"""Waiting for many jobs: one heap of due times and one poll rate for all watches of a client."""

from typing import Literal, TypeAlias, get_args

from sieve_async.watch.jobs import Subscriber
from sieve_async.watch.scheduler import Scheduler
from sieve_async.watch.watch import JobWatch, PendingJob

Strategy: TypeAlias = Literal["poll", "long_poll", "list"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)

__all__ = [
    "STRATEGIES",
    "JobWatch",
    "PendingJob",
    "Scheduler",
    "Strategy",
    "Subscriber",
]
