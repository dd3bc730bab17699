"""Many waits at a healthy server: requests are spread evenly over time."""

import asyncio
import contextlib

import pytest

from helpers.asserts import max_per_second
from helpers.leak_checks import KEY
from helpers.load_test import LoadTest, WaitMode
from helpers.rate_meter import RateMeter
from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(1200)]

INTERVAL = PollPolicy().min_interval


@pytest.mark.parametrize(
    ("number", "mode", "per_second", "seconds"),
    [
        (100, "each", 100, 5.0),
        (600, "all", 100, 8),
        pytest.param(400, "all", None, 6 * INTERVAL),
        pytest.param(5000, "each", 100, 60, marks=pytest.mark.campaign),
        pytest.param(5000, "all", 100, 60, marks=pytest.mark.campaign),
        pytest.param(5000, "each", None, 15, marks=pytest.mark.campaign),
        pytest.param(5000, "all", None, 15, marks=pytest.mark.campaign),
    ],
)
async def test_no_bursts(
    sieve: FakeSieve, number: int, mode: WaitMode, per_second: float | None, seconds: float
) -> None:
    """From the third poll on no tenth of a second has 1.5 times the mean of its second."""
    load = LoadTest(sieve)
    load.add(number, ends_in=(3600, 7200))
    limits = Limits(polls_per_second=per_second)

    async with (
        SieveClient(KEY, base_url=sieve.url, limits=limits) as client,
        RateMeter(client) as meter,
    ):
        waiting = asyncio.create_task(load.wait(client, mode))
        await asyncio.sleep(seconds + 0.05)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting

    first = 2 * INTERVAL
    while first + 1 <= seconds:  # intervals grow, so that the rate falls from second to second
        assert meter.peak_to_mean(first, first + 1) <= 1.5
        first += 1
    if per_second is not None:
        assert max_per_second([entry.at for entry in sieve.requests]) <= per_second + 1


@pytest.mark.parametrize(
    ("number", "mode", "strategy"),
    [
        (150, "each", "poll"),
        (400, "all", "list"),
        pytest.param(5000, "all", "long_poll", marks=pytest.mark.campaign),
        pytest.param(20_000, "each", "poll", marks=pytest.mark.campaign),
        pytest.param(20_000, "all", "poll", marks=pytest.mark.campaign),
    ],
)
async def test_all_jobs_end_in_one_second(
    sieve: FakeSieve, number: int, mode: WaitMode, strategy: str
) -> None:
    """When thousands of jobs end in one second, each has one outcome, at the usual rate."""
    rate = number / 10
    load = LoadTest(sieve)
    load.add(number, ends_in=(20, 21))
    limits = Limits(polls_per_second=rate)
    slow = PollPolicy(min_interval=10)

    async with SieveClient(KEY, base_url=sieve.url, polling=slow, limits=limits) as client:
        await load.wait(client, mode, strategy=strategy)
        load.check(client)
        assert len(sieve.requests) == client.stats.requests

    assert sieve.requests_after_terminal() == 0
    assert max(load.delays()) <= 12.5 + 1.1 * number / rate
    assert sieve.max_in_flight <= 64
    assert max_per_second([entry.at for entry in sieve.requests]) <= rate + 1
