"""Sweeps that cost more than they tell are made less often, and never given up for good."""

from sieve_async import PollPolicy

EVERY_SECOND = PollPolicy(min_interval=1, max_interval=1, growth=0, jitter=0)
