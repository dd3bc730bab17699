"""Waiting for one job or version: a pure state that decides, and the loop that polls and sleeps."""

from sieve_async.polling.long_polls import LongPollLimiter
from sieve_async.polling.outputs import OutputStream
from sieve_async.polling.policy import PollPolicy
from sieve_async.polling.poller import JobPoller, PollContext, VersionPoller
from sieve_async.polling.state import DeadlineReached, Decision, Done, Failed, PollAt, PollState
from sieve_async.polling.waits import SingleWaits, notify

__all__ = [
    "DeadlineReached",
    "Decision",
    "Done",
    "Failed",
    "JobPoller",
    "LongPollLimiter",
    "OutputStream",
    "PollAt",
    "PollContext",
    "PollPolicy",
    "PollState",
    "SingleWaits",
    "VersionPoller",
    "notify",
]
