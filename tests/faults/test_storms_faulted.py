"""Thousands of waits whose requests meet all kinds of faults, held against the truth."""

import asyncio
import contextlib
import random
from collections import Counter

import pytest

from helpers.leak_checks import KEY
from helpers.load_test import LoadTest, WaitMode
from helpers.random_faults import add_random_faults, restart_randomly
from sieve_async import PollPolicy, SieveClient, Timeout
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

WAYS: tuple[tuple[WaitMode, str], ...] = (
    ("each", "poll"),
    ("each", "long_poll"),
    ("all", "poll"),
    ("all", "long_poll"),
    ("all", "list"),
)
# Of one server and one client; a hundred thousand jobs at once would prove no more.
CHUNK = 600


async def weather(seed: int, way: WaitMode, strategy: str) -> Counter[str]:
    """Wait for one chunk of jobs in bad weather, check each outcome, and count what happened."""
    dice = random.Random(seed)
    policy = PollPolicy(min_interval=dice.choice((0.5, 2.0)), max_interval=10.0)
    async with (
        FakeSieve(api_key=KEY) as sieve,
        SieveClient(
            KEY, base_url=sieve.url, polling=policy, timeout=Timeout(connect=5, request=8)
        ) as client,
    ):
        storm = LoadTest(sieve, seed)
        storm.add(CHUNK // 2, ends_in=(0, 1))
        storm.add(CHUNK // 3, ends_in=(0, 10))
        storm.add(CHUNK - CHUNK // 2 - CHUNK // 3, ends_in=(2, 30), restarts=1)
        add_random_faults(sieve, seed)
        restarting = asyncio.create_task(restart_randomly(sieve, seed))
        await storm.wait(client, way, strategy=strategy)
        restarting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await restarting
        storm.check(client)
        return Counter(
            waits=len(storm.received), requests=client.stats.requests, retries=client.stats.retries
        )


@pytest.mark.parametrize(("way", "strategy"), WAYS)
async def test_faulted_waits(way: WaitMode, strategy: str) -> None:
    """In any weather each wait ends once, and with the truth."""
    happened = await weather(1, way, strategy)

    assert happened["waits"] == CHUNK


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(10))
async def test_many_faulted_waits(part: int) -> None:
    """The same, 300,000 times in all."""
    happened = Counter[str]()
    for chunk in range(50):
        way, strategy = WAYS[chunk % len(WAYS)]
        happened += await weather(100 * (part + 1) + chunk, way, strategy)

    assert happened["waits"] == 50 * CHUNK
