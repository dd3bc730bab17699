"""Waiting for one job or version: a pure state that decides, and the loop that polls and sleeps."""

from sieve_async.polling.outputs import OutputStream
from sieve_async.polling.policy import PollPolicy

__all__ = ["OutputStream", "PollPolicy"]
