"""Thousands of waits on a good day, in virtual time: their requests do not come in waves."""

import asyncio
import contextlib

import pytest

from helpers.leak_checks import KEY
from helpers.load_test import LoadTest, WaitMode
from helpers.rate_meter import RateMeter
from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

INTERVAL = PollPolicy().min_interval


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("number", "way", "per_second", "seconds"),
    [
        (1000, "each", 100, 6 * INTERVAL),
        (5000, "all", 100, 15),
        pytest.param(5000, "each", 100, 15, marks=pytest.mark.campaign),
        pytest.param(5000, "each", None, 15, marks=pytest.mark.campaign),
        pytest.param(5000, "all", None, 15, marks=pytest.mark.campaign),
    ],
)
async def test_no_waves(
    sieve: FakeSieve, number: int, way: WaitMode, per_second: float | None, seconds: float
) -> None:
    """From the third look on those that began at once are mixed: no tenth of a second is fuller."""
    storm = LoadTest(sieve)
    storm.add(number, ends_in=(3600, 7200))
    limits = Limits(polls_per_second=per_second)

    async with (
        SieveClient(KEY, base_url=sieve.url, limits=limits) as client,
        RateMeter(client) as meter,
    ):
        waiting = asyncio.create_task(storm.wait(client, way))
        await asyncio.sleep(seconds + 0.05)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting

    first = 2 * INTERVAL
    while first + 1 <= seconds:  # the rate of young jobs falls from second to second
        assert meter.peak_to_mean(first, first + 1) <= 1.5
        first += 1
