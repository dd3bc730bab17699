"""Thousands of waits at a server that says it is asked too much, in virtual time."""

import asyncio

import pytest

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.load_test import LoadTest, WaitMode
from helpers.rate_meter import RateMeter
from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

CALM = PollPolicy(min_interval=10)
BEFORE, STORM, PAUSE = 8.0, 120.0, 30


def most_in(seconds: int, counts: list[int]) -> int:
    """The largest sum of so many that follow one another."""
    return max(sum(counts[at : at + seconds]) for at in range(len(counts) - seconds + 1))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("took", "way", "strategy"),
    [
        (0.2, "each", "poll"),
        (0.2, "all", "poll"),
        pytest.param(0.0, "each", "poll", marks=pytest.mark.campaign),
        pytest.param(2.0, "each", "poll", marks=pytest.mark.campaign),
        pytest.param(2.0, "all", "poll", marks=pytest.mark.campaign),
        pytest.param(0.2, "all", "list", marks=pytest.mark.campaign),
    ],
)
async def test_told_when_to_come_back(
    sieve: FakeSieve, took: float, way: WaitMode, strategy: str
) -> None:
    """5,000 waits that are told to come back in 30 s send at most one request for each slot."""
    storm = LoadTest(sieve)
    storm.add(5000, ends_in=(0, BEFORE + STORM))
    if took:
        sieve.fault(delay=took)

    async with SieveClient(KEY, base_url=sieve.url, polling=CALM) as client:
        waiting = asyncio.create_task(storm.wait(client, way, strategy=strategy))
        await asyncio.sleep(BEFORE)
        throttled = sieve.fault(status=429, retry_after=PAUSE)
        await asyncio.sleep(took)  # what was asked before is answered as before
        async with RateMeter(client) as meter:
            await asyncio.sleep(STORM)
        throttled.remove()
        await waiting
        storm.check(client)

    assert most_in(PAUSE, meter.seconds()) <= 64
    # One asks whether it is over; the others do not wait for an answer that takes longer than 1 s.
    assert throttled.hits <= 64 + STORM / PAUSE * (1 if took < 1 else 64)
    assert sum(meter.seconds()) >= 3


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("number", "way", "strategy"),
    [
        (1000, "each", "poll"),
        (500, "all", "list"),
        pytest.param(5000, "each", "poll", marks=pytest.mark.campaign),
        pytest.param(5000, "all", "poll", marks=pytest.mark.campaign),
    ],
)
async def test_not_told_when_to_come_back(
    sieve: FakeSieve, number: int, way: WaitMode, strategy: str
) -> None:
    """Without a time to come back at, each wait slows down by itself."""
    storm = LoadTest(sieve)
    storm.add(number, ends_in=(3 * BEFORE, STORM))

    async with SieveClient(KEY, base_url=sieve.url, polling=CALM) as client:
        waiting = asyncio.create_task(storm.wait(client, way, strategy=strategy))
        async with RateMeter(client) as meter:
            await asyncio.sleep(3 * BEFORE)
            with sieve.fault(status=429):
                await asyncio.sleep(STORM)
        over = now()
        await waiting
        storm.check(client)

    healthy, sent = meter.rate(BEFORE, 3 * BEFORE), meter.seconds(3 * BEFORE)
    assert max(sent) <= 2 * max(healthy, 2)  # a sweep hardly asks anything
    if strategy == "poll":
        assert sum(sent[60:]) / len(sent[60:]) <= 0.25 * healthy
    assert max(at for [(at, _)] in storm.received.values()) <= over + 75


async def test_let_go_without_a_burst(sieve: FakeSieve) -> None:
    """Waits that queue up behind those that are let go after a pause do not leave all at once."""
    ids = [sieve.add_job(processing=3600) for _ in range(2000)]
    limits = Limits(polls_per_second=40)
    healthy = len(ids) / CALM.min_interval

    async with (
        SieveClient(KEY, base_url=sieve.url, polling=CALM, limits=limits) as client,
        RateMeter(client) as meter,
    ):
        waits = [asyncio.create_task(client.wait_for_job(job_id)) for job_id in ids]
        await asyncio.sleep(25)
        sieve.fault(status=429, retry_after=10, times=1)
        await asyncio.sleep(120)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)

    assert max(meter.tenths[250:]) <= 64 + 0.2 * healthy
    assert max(meter.seconds(25)) <= 2 * healthy
    assert meter.rate(125) >= 0.75 * healthy


async def test_full_slots_after_a_pause(sieve: FakeSieve) -> None:
    """Where the slots are what limits a client, they do so again soon after a pause."""
    ids = [sieve.add_job(processing=3600) for _ in range(100)]
    sieve.fault(delay=0.01)
    limits = Limits(max_connections=1, polls_per_second=20)
    often = PollPolicy(min_interval=0.5, max_interval=0.5)

    async with (
        SieveClient(KEY, base_url=sieve.url, polling=often, limits=limits) as client,
        RateMeter(client) as meter,
    ):
        waits = [asyncio.create_task(client.wait_for_job(job_id)) for job_id in ids]
        await asyncio.sleep(1)
        sieve.fault(status=429, retry_after=1, times=1)
        await asyncio.sleep(29)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)

    assert min(meter.seconds(15)) >= 90
    assert max(meter.seconds(15)) <= 101
