"""Many waits whose requests meet random faults: each has one correct outcome."""

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

MODES: tuple[tuple[WaitMode, str], ...] = (
    ("each", "poll"),
    ("each", "long_poll"),
    ("all", "poll"),
    ("all", "long_poll"),
    ("all", "list"),
)
QUICK, CHUNK = 100, 600


async def run(seed: int, number: int, mode: WaitMode, strategy: str) -> Counter[str]:
    """Wait for some jobs under random faults, check the outcomes, and count the requests."""
    randomizer = random.Random(seed)
    policy = PollPolicy(min_interval=randomizer.choice((0.5, 2.0)), max_interval=10.0)
    timeout = Timeout(connect=5, request=8)
    async with (
        FakeSieve(api_key=KEY) as sieve,
        SieveClient(KEY, base_url=sieve.url, polling=policy, timeout=timeout) as client,
    ):
        load = LoadTest(sieve, seed)
        load.add(number // 2, ends_in=(0, 1))
        load.add(number // 3, ends_in=(0, 10))
        load.add(number - number // 2 - number // 3, ends_in=(2, 30), restarts=1)
        add_random_faults(sieve, seed)
        restarting = asyncio.create_task(restart_randomly(sieve, seed))
        await load.wait(client, mode, strategy=strategy)
        restarting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await restarting
        load.check(client)
        return Counter(waits=len(load.received), requests=client.stats.requests)


@pytest.mark.parametrize(("mode", "strategy"), MODES)
async def test_random_faults(mode: WaitMode, strategy: str) -> None:
    """A hundred waits in each mode."""
    counts = await run(1, QUICK, mode, strategy)

    assert counts["waits"] == QUICK


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(10))
async def test_random_faults_campaign(part: int) -> None:
    """In all parts together 300,000 waits."""
    counts = Counter[str]()
    for chunk in range(50):
        mode, strategy = MODES[chunk % len(MODES)]
        counts += await run(100 * (part + 1) + chunk, CHUNK, mode, strategy)

    assert counts["waits"] == 50 * CHUNK
