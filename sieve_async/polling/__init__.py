"""Waiting for one job or build: a state machine that decides, and the thin loop that drives it."""

from sieve_async.config import check_timeout
from sieve_async.polling.asking import Asking
from sieve_async.polling.following import Follower, JobFollower, VersionFollower
from sieve_async.polling.long_polls import LongPolls
from sieve_async.polling.loop import Poller, Subject, timed_out, warn
from sieve_async.polling.machine import (
    AskAgain,
    Ended,
    GaveUp,
    Step,
    TimedOut,
    Verdict,
    Wait,
    verdict,
)
from sieve_async.polling.policy import PollPolicy
from sieve_async.polling.streams import OutputStream

__all__ = [
    "AskAgain",
    "Asking",
    "Ended",
    "Follower",
    "GaveUp",
    "JobFollower",
    "LongPolls",
    "OutputStream",
    "PollPolicy",
    "Poller",
    "Step",
    "Subject",
    "TimedOut",
    "Verdict",
    "VersionFollower",
    "Wait",
    "check_timeout",
    "timed_out",
    "verdict",
    "warn",
]
