"""Many waits at a server that fails half of the requests, or that stops every few seconds."""

import asyncio
import contextlib
from statistics import median

import pytest

from helpers.leak_checks import KEY
from helpers.load_test import LoadTest, WaitMode
from sieve_async import PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(1200)]

SLOW = PollPolicy(min_interval=10)
# A wait whose polls fail a dozen times in a row polls once a minute.
MAX_DELAY = 900
MODES: tuple[tuple[WaitMode, str], ...] = (
    ("each", "poll"),
    ("each", "long_poll"),
    ("all", "poll"),
    ("all", "long_poll"),
    ("all", "list"),
)


def quick_and_large(*quick: tuple[WaitMode, str]) -> list[object]:
    """A hundred waits in some modes, and for the campaign 5,000 in all modes."""
    large = [pytest.param(5000, *mode, marks=pytest.mark.campaign) for mode in MODES]
    return [*(pytest.param(100, *mode) for mode in quick), *large]


@pytest.mark.parametrize(
    ("number", "mode", "strategy"),
    quick_and_large(("each", "poll"), ("all", "poll"), ("all", "list")),
)
async def test_half_of_the_requests_fail(
    sieve: FakeSieve, number: int, mode: WaitMode, strategy: str
) -> None:
    """Each wait has its correct outcome, after few requests."""
    load = LoadTest(sieve)
    load.add(number, ends_in=(0, 30))
    sieve.fault(status=500, probability=0.25)
    sieve.fault(drop="body", probability=1 / 3, seed=1)

    async with SieveClient(KEY, base_url=sieve.url, polling=SLOW) as client:
        await load.wait(client, mode, strategy=strategy)
        load.check(client)
        assert len(sieve.requests) == client.stats.requests

    assert client.stats.requests <= 8 * number
    assert sieve.requests_after_terminal() == 0
    assert median(load.delays()) <= 30 + number / 100
    assert max(load.delays()) <= MAX_DELAY


@pytest.mark.parametrize(
    ("number", "mode", "strategy"), quick_and_large(("each", "poll"), ("all", "poll"))
)
async def test_server_that_stops_and_starts(
    sieve: FakeSieve, number: int, mode: WaitMode, strategy: str
) -> None:
    """The same when the server is down for 4 of 8 seconds."""
    load = LoadTest(sieve)
    load.add(number, ends_in=(0, 60))

    async def stop_and_start() -> None:
        while True:
            await asyncio.sleep(4)
            await sieve.stop()
            await asyncio.sleep(4)
            await sieve.start()

    async with SieveClient(KEY, base_url=sieve.url, polling=SLOW) as client:
        restarting = asyncio.create_task(stop_and_start())
        await load.wait(client, mode, strategy=strategy)
        restarting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await restarting
        load.check(client)

    assert client.stats.requests <= 9 * number
    assert median(load.delays()) <= 30 + number / 100
    assert max(load.delays()) <= MAX_DELAY
