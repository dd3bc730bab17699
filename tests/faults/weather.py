"""What may go wrong with the requests of many waits, by dice: nothing of it changes the truth."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from sieve_async.testing import FakeSieve

# Each with the share of the requests that meet it. None of them is an answer that could be true,
# or a refusal: a 404 for a job that was never seen ends a wait, and rightly so.
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
    (0.02, {"drip": 0.5}),
    (0.01, {"drip": 12.0}),
    (0.01, {"fields": {"status": None}}),
    (0.01, {"fields": {"status": 7}}),
    (0.01, {"fields": {"status": "pondering"}}),
    (0.01, {"fields": {"id": "another"}}),
    (0.01, {"fields": {"id": None}}),
    (0.005, {"body": "[]"}),
    (0.005, {"body": "null"}),
)


def brew(sieve: FakeSieve, seed: int) -> None:
    """Let requests meet all of it from now on; which ones, the seed decides."""
    for number, (share, fault) in enumerate(FAULTS):
        sieve.fault(probability=share, seed=1000 * seed + number, **fault)


async def restart_now_and_then(sieve: FakeSieve, seed: int) -> None:
    """Have the server go down for a moment, again and again."""
    dice = random.Random(seed)
    while True:
        await asyncio.sleep(dice.uniform(1, 8))
        await sieve.stop()
        await asyncio.sleep(dice.uniform(0, 2))
        await sieve.start()
