"""Waiting for many jobs: one heap of due times and few workers, for all calls of a client."""

from sieve_async.watching.batch import Batch
from sieve_async.watching.outcome import JobOutcome, OutcomeList, refusal
from sieve_async.watching.outcomes import JobWatch
from sieve_async.watching.watcher import STRATEGIES, Strategy, Watcher

__all__ = [
    "STRATEGIES",
    "Batch",
    "JobOutcome",
    "JobWatch",
    "OutcomeList",
    "Strategy",
    "Watcher",
    "refusal",
]
