"""Many waits at a server that answers 429."""

import asyncio

import pytest

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.load_test import LoadTest, WaitMode
from helpers.rate_meter import RateMeter
from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(600)]

SLOW = PollPolicy(min_interval=10)
BEFORE, THROTTLED, PAUSE = 8.0, 120.0, 30
RETRIES = 100  # requests that the retry budget allows in addition


def max_sum(length: int, counts: list[int]) -> int:
    """The largest sum of so many consecutive counts."""
    return max(sum(counts[at : at + length]) for at in range(len(counts) - length + 1))


@pytest.mark.parametrize(
    ("number", "response_time", "mode", "strategy"),
    [
        (200, 0.2, "each", "poll"),
        (200, 0.2, "all", "poll"),
        pytest.param(5000, 0.0, "each", "poll", marks=pytest.mark.campaign),
        pytest.param(5000, 0.2, "each", "poll", marks=pytest.mark.campaign),
        pytest.param(5000, 2.0, "each", "poll", marks=pytest.mark.campaign),
        pytest.param(5000, 2.0, "all", "poll", marks=pytest.mark.campaign),
        pytest.param(5000, 0.2, "all", "list", marks=pytest.mark.campaign),
    ],
)
async def test_retry_after(
    sieve: FakeSieve, number: int, response_time: float, mode: WaitMode, strategy: str
) -> None:
    """Under a Retry-After of 30 s a client sends at most one request per slot in 30 s."""
    load = LoadTest(sieve)
    load.add(number, ends_in=(0, BEFORE + THROTTLED))
    if response_time:
        sieve.fault(delay=response_time)

    async with SieveClient(KEY, base_url=sieve.url, polling=SLOW) as client:
        waiting = asyncio.create_task(load.wait(client, mode, strategy=strategy))
        await asyncio.sleep(BEFORE)
        throttled = sieve.fault(status=429, retry_after=PAUSE)
        await asyncio.sleep(response_time)  # earlier requests get their earlier answers
        async with RateMeter(client) as meter:
            await asyncio.sleep(THROTTLED)
        throttled.remove()
        await waiting
        load.check(client)

    assert max_sum(PAUSE, meter.seconds()) <= 64
    assert throttled.hits <= 64 * (1 + THROTTLED / PAUSE)
    assert sum(meter.seconds()) >= 3


@pytest.mark.parametrize(
    ("number", "mode", "strategy", "per_second"),
    [
        (100, "each", "poll", None),
        (100, "all", "list", 7),
        pytest.param(5000, "each", "poll", None, marks=pytest.mark.campaign),
        pytest.param(5000, "all", "poll", None, marks=pytest.mark.campaign),
    ],
)
async def test_no_retry_after(
    sieve: FakeSieve, number: int, mode: WaitMode, strategy: str, per_second: float | None
) -> None:
    """Without a Retry-After each wait slows down by itself."""
    load = LoadTest(sieve)
    load.add(number, ends_in=(3 * BEFORE, THROTTLED))
    limits = Limits(polls_per_second=per_second)

    async with SieveClient(KEY, base_url=sieve.url, polling=SLOW, limits=limits) as client:
        waiting = asyncio.create_task(load.wait(client, mode, strategy=strategy))
        async with RateMeter(client) as meter:
            await asyncio.sleep(3 * BEFORE)
            with sieve.fault(status=429):
                await asyncio.sleep(THROTTLED)
        over = now()
        await waiting
        load.check(client)

    healthy, sent = number / SLOW.min_interval, meter.seconds(3 * BEFORE)
    assert max(sent) <= (2 * healthy + RETRIES if per_second is None else per_second + 1)
    assert sum(sent[60:]) / len(sent[60:]) <= 0.3 * healthy
    assert max(at for [(at, _)] in load.received.values()) <= over + 75


@pytest.mark.parametrize("mode", ["each", "all"])
async def test_no_burst_after_a_pause(sieve: FakeSieve, mode: WaitMode) -> None:
    """Polls that were due during a pause leave evenly after it, at the usual rate."""
    load = LoadTest(sieve)
    load.add(150, ends_in=(3600, 7200))
    limits = Limits(polls_per_second=15)

    async with (
        SieveClient(KEY, base_url=sieve.url, polling=SLOW, limits=limits) as client,
        RateMeter(client) as meter,
    ):
        waiting = asyncio.create_task(load.wait(client, mode))
        await asyncio.sleep(25)
        sieve.fault(status=429, retry_after=10, times=1)
        await asyncio.sleep(65)
        waiting.cancel()
        await asyncio.wait([waiting])

    assert max(meter.tenths[250:]) <= 3
    assert max(meter.seconds(25)) <= 16
    assert meter.rate(60) >= 0.75 * 15


async def test_full_rate_after_a_pause(sieve: FakeSieve) -> None:
    """A pause that is over leaves no trace: the full rate is used again."""
    ids = [sieve.add_job(processing=3600) for _ in range(100)]
    sieve.fault(delay=0.01)
    limits = Limits(max_connections=1, polls_per_second=20)
    fast = PollPolicy(min_interval=0.5, max_interval=0.5)

    async with (
        SieveClient(KEY, base_url=sieve.url, polling=fast, limits=limits) as client,
        RateMeter(client) as meter,
    ):
        waits = [asyncio.create_task(client.wait_for_job(job_id)) for job_id in ids]
        await asyncio.sleep(1)
        sieve.fault(status=429, retry_after=1, times=1)
        await asyncio.sleep(29)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)

    assert min(meter.seconds(15)) >= 18
    assert max(meter.seconds(15)) <= 21
