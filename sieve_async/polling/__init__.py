"""Waiting for one job or version: a pure state that decides, and the loop that polls and sleeps."""

from sieve_async.polling.outputs import OutputStream

__all__ = ["OutputStream"]
