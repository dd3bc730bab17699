"""Random faults for many waits; none of them changes the result of a job."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from sieve_async.testing import FakeSieve

# Each with the share of requests that it affects. None of them is a valid answer or a rejection:
# a 404 for a job without an earlier good answer correctly ends a wait.
FAULTS: tuple[tuple[float, Mapping[str, Any]], ...] = (
    (0.03, {"status": 500}),
    (0.02, {"status": 502, "body": "<html>Bad gateway</html>"}),
    (0.02, {"status": 503, "retry_after": 1}),
    (0.02, {"status": 504, "delay": 3.0}),
    (0.02, {"status": 408}),
    (0.01, {"status": 429}),
    (0.01, {"status": 429, "retry_after": 2}),
    (0.005, {"status": 429, "retry_after": 3, "as_date": True}),
    (0.03, {"drop": "before"}),
    (0.02, {"drop": "headers"}),
    (0.03, {"drop": "body"}),
    (0.03, {"truncate": True}),
    (0.02, {"body": "<html>Welcome to the hotel's network</html>"}),
    (0.01, {"body": b""}),
    (0.01, {"body": None, "status": 204}),
    (0.05, {"delay": 0.7}),
    (0.01, {"delay": 9.0}),
    (0.02, {"slow_body": 0.5}),
    (0.01, {"slow_body": 12.0}),
    (0.01, {"fields": {"status": None}}),
    (0.01, {"fields": {"status": 7}}),
    (0.01, {"fields": {"status": "pondering"}}),
    (0.01, {"fields": {"id": "another"}}),
    (0.01, {"fields": {"id": None}}),
    (0.005, {"body": "[]"}),
    (0.005, {"body": "null"}),
)


def add_random_faults(sieve: FakeSieve, seed: int) -> None:
    """Add all faults; the seed decides which requests they affect."""
    for number, (share, fault) in enumerate(FAULTS):
        sieve.fault(probability=share, seed=1000 * seed + number, **fault)


async def restart_randomly(sieve: FakeSieve, seed: int) -> None:
    """Stop and start the server at random times, until cancelled."""
    randomizer = random.Random(seed)
    while True:
        await asyncio.sleep(randomizer.uniform(1, 8))
        await sieve.stop()
        await asyncio.sleep(randomizer.uniform(0, 2))
        await sieve.start()
