"""Storms of many waits in virtual time: half of the answers wrong, a server that comes and goes."""

import asyncio
import contextlib
from statistics import median

import pytest

from helpers.asserts import max_per_second
from helpers.leak_checks import KEY
from helpers.load_test import LoadTest, WaitMode
from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

CALM = PollPolicy(min_interval=10)
# Half of the looks fail, so one of thousands of waits fails a dozen times in a row, and is then
# looked at once a minute.
LATEST = 900
WAYS: tuple[tuple[WaitMode, str], ...] = (
    ("each", "poll"),
    ("each", "long_poll"),
    ("all", "poll"),
    ("all", "long_poll"),
    ("all", "list"),
)


def quick_and_large(*quick: tuple[WaitMode, str]) -> list[object]:
    """Some hundred waits in some ways, and 5,000 in all of them when there are minutes for it."""
    large = [pytest.param(5000, *how, marks=pytest.mark.campaign) for how in WAYS]
    return [*(pytest.param(500, *how) for how in quick), *large]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("number", "way", "strategy"),
    quick_and_large(("each", "poll"), ("all", "poll"), ("all", "list")),
)
async def test_half_of_the_answers_are_errors(
    sieve: FakeSieve, number: int, way: WaitMode, strategy: str
) -> None:
    """With every other request failing, each wait is told the truth, and soon."""
    storm = LoadTest(sieve)
    storm.add(number, ends_in=(0, 30))
    sieve.fault(status=500, probability=0.25)
    sieve.fault(drop="body", probability=1 / 3, seed=1)

    async with SieveClient(KEY, base_url=sieve.url, polling=CALM) as client:
        await storm.wait(client, way, strategy=strategy)
        storm.check(client)
        assert len(sieve.requests) == client.stats.requests

    asked = client.stats.requests
    assert asked <= 8 * number
    assert sieve.requests_after_terminal() == 0
    assert median(storm.delays()) <= 30
    assert max(storm.delays()) <= LATEST


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("number", "way", "strategy"), quick_and_large(("each", "poll"), ("all", "poll"))
)
async def test_flapping_server(sieve: FakeSieve, number: int, way: WaitMode, strategy: str) -> None:
    """A server that goes down and comes back every few seconds is believed."""
    storm = LoadTest(sieve)
    storm.add(number, ends_in=(0, 60))

    async def flap() -> None:
        while True:
            await asyncio.sleep(4)
            await sieve.stop()
            await asyncio.sleep(4)
            await sieve.start()

    async with SieveClient(KEY, base_url=sieve.url, polling=CALM) as client:
        flapping = asyncio.create_task(flap())
        await storm.wait(client, way, strategy=strategy)
        flapping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await flapping
        storm.check(client)

    assert client.stats.requests <= 9 * number
    assert median(storm.delays()) <= 30
    assert max(storm.delays()) <= LATEST


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("number", "way", "strategy"),
    [
        (2000, "each", "poll"),
        (5000, "all", "list"),
        pytest.param(5000, "all", "long_poll", marks=pytest.mark.campaign),
        pytest.param(20_000, "each", "poll", marks=pytest.mark.campaign),
        pytest.param(20_000, "all", "poll", marks=pytest.mark.campaign),
    ],
)
async def test_all_end_in_one_second(
    sieve: FakeSieve, number: int, way: WaitMode, strategy: str
) -> None:
    """When thousands of jobs end in one second, each is told of once, at the usual rate."""
    storm = LoadTest(sieve)
    storm.add(number, ends_in=(20, 21))
    limits = Limits(polls_per_second=1000)

    async with SieveClient(KEY, base_url=sieve.url, polling=CALM, limits=limits) as client:
        await storm.wait(client, way, strategy=strategy)
        storm.check(client)
        assert len(sieve.requests) == client.stats.requests

    assert sieve.requests_after_terminal() == 0
    assert max(storm.delays()) <= 12.5 + 1.1 * number / 1000
    assert sieve.max_in_flight <= 64
    if way == "all":
        assert max_per_second([entry.at for entry in sieve.requests]) <= 1000
