"""Waiting for one job or build: a state machine that decides, and the thin loop that drives it."""

from sieve_async.polling.loop import Poller, Subject, check_timeout
from sieve_async.polling.policy import PollPolicy

__all__ = ["PollPolicy", "Poller", "Subject", "check_timeout"]
