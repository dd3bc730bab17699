"""Many waits at a healthy, failing, throttling or stopped server, in virtual time.

Each test runs with few waits, and for the campaign with thousands.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import log2
from statistics import median
from typing import Any, TypeAlias

import pytest

from helpers.asserts import assert_idle, max_per_second
from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.load_test import LoadTest, RateMeter, WaitMode, add_random_faults, restarting
from sieve_async import ClientClosedError, Limits, PollPolicy, SieveClient, Timeout
from sieve_async.testing import FakeSieve

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(1200)]

Mode: TypeAlias = tuple[WaitMode, str]

# The interval of jobs that have run for minutes.
SLOW = PollPolicy(min_interval=10)
MODES: list[Mode] = [
    ("each", "poll"),
    ("all", "poll"),
    ("all", "list"),
    ("each", "long_poll"),
    ("all", "long_poll"),
]


def few_or_many(*few: Any, many: list[Any]) -> pytest.MarkDecorator:
    """Parametrize a test by a number of waits and more."""
    campaign = [pytest.param(*each, marks=pytest.mark.campaign) for each in many]
    names = ("number", "mode", "strategy", "per_second", "kind")[: len(few[0])]
    return pytest.mark.parametrize(names, [*few, *campaign])


@asynccontextmanager
async def measured(
    sieve: FakeSieve, per_second: float | None, polling: PollPolicy = SLOW, slots: int = 64
) -> AsyncIterator[tuple[SieveClient, RateMeter]]:
    """A client of the server, and the rate of its requests."""
    limits = Limits(polls_per_second=per_second, max_connections=slots)
    async with (
        SieveClient(KEY, base_url=sieve.url, polling=polling, limits=limits) as client,
        RateMeter(client) as meter,
    ):
        yield client, meter


@few_or_many(
    (150, "each", "poll", 100),
    (300, "all", "poll", 100),
    # Without a rate only the jitter spreads the polls. With 800 jobs a tenth has 172 polls at most
    # on average, and the bound of 240 is 5.8 standard deviations away; with 200 it would be 2.3.
    (800, "all", "poll", None),
    many=[(5000, mode, "poll", rate) for mode in ("each", "all") for rate in (100, None)],
)
async def test_no_bursts(
    sieve: FakeSieve, number: int, mode: WaitMode, strategy: str, per_second: float | None
) -> None:
    """From the third poll on no tenth of a second has 1.5 times the mean of its second."""
    load = LoadTest(sieve)
    load.add(number, ends_in=(3600, 7200))
    seconds = max(3.0, number / (per_second or number) + 2)
    async with (
        measured(sieve, per_second, PollPolicy()) as (client, meter),
        load.waiting(client, mode, strategy=strategy),
    ):
        await asyncio.sleep(seconds + 0.05)
    # Intervals grow, so that the rate falls from second to second.
    for first in range(10, int(10 * seconds) - 9, 10):
        tenths = meter.tenths[first : first + 10]
        assert max(tenths) <= 0.15 * sum(tenths)
    if per_second is not None:
        assert max_per_second([entry.at for entry in sieve.requests]) <= per_second + 1


@few_or_many(
    (100, "each", "poll"),
    (100, "all", "poll"),
    (200, "all", "list"),
    many=[(5000, *MODES[4]), *((20_000, *mode) for mode in MODES[:2])],
)
async def test_all_jobs_end_in_one_second(
    sieve: FakeSieve, number: int, mode: WaitMode, strategy: str
) -> None:
    """When many jobs end in one second, each has one outcome, at the usual rate."""
    rate = number / 10
    load = LoadTest(sieve)
    load.add(number, ends_in=(20, 21))
    async with measured(sieve, rate) as (client, _):
        await load.wait(client, mode, strategy=strategy)
        load.check(client)
        assert len(sieve.requests) == client.stats.requests
    assert sieve.requests_after_terminal() == 0
    assert max(load.delays()) <= 12.5 + 1.1 * number / rate
    assert sieve.max_in_flight <= 64
    assert max_per_second([entry.at for entry in sieve.requests]) <= rate + 1


@few_or_many(
    (100, "each", "poll"), (100, "all", "poll"), many=[(5000, *mode) for mode in MODES[:3]]
)
async def test_retry_after(sieve: FakeSieve, number: int, mode: WaitMode, strategy: str) -> None:
    """Under a Retry-After of 30 s a client sends at most one request per slot in 30 s."""
    load = LoadTest(sieve)
    load.add(number, ends_in=(0, 128))
    sieve.fault(delay=0.2)
    async with SieveClient(KEY, base_url=sieve.url, polling=SLOW) as client:
        waiting = asyncio.create_task(load.wait(client, mode, strategy=strategy))
        await asyncio.sleep(8)
        throttled = sieve.fault(status=429, retry_after=30)
        await asyncio.sleep(0.2)  # earlier requests get their earlier answers
        async with RateMeter(client) as meter:
            await asyncio.sleep(120)
        throttled.remove()
        await waiting
        load.check(client)
    seconds = meter.seconds()
    assert max(sum(seconds[at : at + 30]) for at in range(len(seconds) - 29)) <= 64
    assert throttled.hits <= 64 * 5
    assert sum(seconds) >= 3


@pytest.mark.parametrize("mode", ["each", "all"])
async def test_no_burst_after_a_pause(sieve: FakeSieve, mode: WaitMode) -> None:
    """Polls that were due during a pause leave evenly after it, at the usual rate."""
    load = LoadTest(sieve)
    load.add(150, ends_in=(3600, 7200))
    async with measured(sieve, 15) as (client, meter), load.waiting(client, mode):
        await asyncio.sleep(25)
        sieve.fault(status=429, retry_after=10, times=1)
        await asyncio.sleep(65)
    assert max(meter.tenths[250:]) <= 3
    assert max(meter.seconds(25)) <= 16
    assert sum(meter.seconds(60)) >= 30 * 0.75 * 15


async def test_full_rate_after_a_pause(sieve: FakeSieve) -> None:
    """A pause that is over leaves no trace: the full rate is used again."""
    load = LoadTest(sieve)
    load.add(100, ends_in=(3600, 7200))
    sieve.fault(delay=0.01)
    fast = PollPolicy(min_interval=0.5, max_interval=0.5)
    async with measured(sieve, 20, fast, 1) as (client, meter), load.waiting(client, "each"):
        await asyncio.sleep(1)
        sieve.fault(status=429, retry_after=1, times=1)
        await asyncio.sleep(29)
    assert min(meter.seconds(15)) >= 18
    assert max(meter.seconds(15)) <= 21


KINDS = ["refused", "errors", "cut", "throttled"]


@few_or_many(
    (60, "each", "poll", None, "refused"),
    (60, "all", "poll", 3, "errors"),
    (60, "all", "list", 7, "cut"),
    (60, "each", "poll", None, "throttled"),
    many=[
        (5000, *mode, rate, kind) for mode in MODES[:3] for rate in (100, None) for kind in KINDS
    ],
)
async def test_total_outage(
    sieve: FakeSieve,
    number: int,
    mode: WaitMode,
    strategy: str,
    per_second: float | None,
    kind: str,
) -> None:
    """In an outage there are at most 0.3 of the healthy requests, and no wait is lost."""
    load = LoadTest(sieve)
    load.add(number, ends_in=(300, 400))
    async with measured(sieve, per_second) as (client, meter):
        waiting = asyncio.create_task(load.wait(client, mode, strategy=strategy))
        await asyncio.sleep(30)
        if kind == "refused":
            await sieve.stop()
        else:
            faults: dict[str, Any] = {"errors": {"status": 500}, "cut": {"drop": "before"}}
            sieve.fault(**faults.get(kind, {"status": 429}))
        await asyncio.sleep(400)
        sent = meter.seconds(30)
        await sieve.start()
        sieve.clear_faults()
        over = now()
        await waiting
        load.check(client)
    unlimited = number / SLOW.min_interval
    steady = sent[120:]  # the intervals of failing polls grow for two minutes
    assert sum(steady) / len(steady) <= 0.3 * unlimited
    # The retry budget allows 100 requests in addition.
    assert max(sent) <= (2 * unlimited + 100 if per_second is None else per_second + 1)
    latest = max(at for [(at, _)] in load.received.values())
    assert latest <= over + max(75.0, 1.1 * number / (per_second or number))


def check_delays(load: LoadTest, number: int) -> None:
    """Assert that outcomes are no later than polls that fail half of the time explain.

    The polls of a job are at most a minute apart, after lists two minutes, and each of them waits
    for the poll rate: k failures in a row are k minutes, and happen to one job in ``2**k``. More
    than three minutes for 30 of 60 jobs have a chance of 1e-10, and more than the number of minutes
    below for any job one of 1e-9.
    """
    delays = load.delays()
    minute = 60 + number / 100
    assert median(delays) <= 3 * minute
    assert max(delays) <= (log2(number * 1e9) + 2) * minute


@few_or_many(*((60, *mode) for mode in MODES[:3]), many=[(5000, *mode) for mode in MODES])
async def test_half_of_the_requests_fail(
    sieve: FakeSieve, number: int, mode: WaitMode, strategy: str
) -> None:
    """Each wait has its correct outcome, after few requests."""
    load = LoadTest(sieve)
    load.add(number, ends_in=(0, 30))
    sieve.fault(status=500, probability=0.25)
    sieve.fault(drop="body", probability=1 / 3, seed=1)
    async with measured(sieve, 100) as (client, _):
        await load.wait(client, mode, strategy=strategy)
        load.check(client)
        assert len(sieve.requests) == client.stats.requests <= 8 * number
    assert sieve.requests_after_terminal() == 0
    check_delays(load, number)


@few_or_many(*((100, *mode) for mode in MODES[:3]), many=[(5000, *mode) for mode in MODES])
async def test_close(sieve: FakeSieve, number: int, mode: WaitMode, strategy: str) -> None:
    """``close()`` ends many waits at once, each with one outcome."""
    load = LoadTest(sieve)
    load.add(number, ends_in=(3600, 7200))
    async with measured(sieve, None) as (client, _):
        waiting = asyncio.create_task(load.wait(client, mode, strategy=strategy))
        await asyncio.sleep(10)
        assert client.stats.waits == number
        await client.close()
        await waiting
        assert now() == pytest.approx(10, abs=0.01)
        assert load.received.keys() == load.expected.keys()
        for [(_, outcome)] in load.received.values():
            assert isinstance(outcome.error, ClientClosedError)
        assert_idle(client)


@pytest.mark.parametrize("number", [200, pytest.param(20_000, marks=pytest.mark.campaign)])
async def test_cancel(sieve: FakeSieve, number: int) -> None:
    """Each of many cancelled waits ends as cancelled, and the client still works."""
    load = LoadTest(sieve)
    load.add(number, ends_in=(3600, 7200))
    async with measured(sieve, None) as (client, _):
        waits = [asyncio.create_task(client.wait_for_job(job_id)) for job_id in load.expected]
        await asyncio.sleep(5)
        for place, wait in enumerate(random.Random(1).sample(waits, number)):
            wait.cancel()
            if place % 20 == 0:
                await asyncio.sleep(0.01)
        ended = await asyncio.gather(*waits, return_exceptions=True)
        assert Counter(map(type, ended)) == {asyncio.CancelledError: number}
        assert_idle(client)
        assert not (await client.get_job(next(iter(load.expected)))).is_terminal


async def run_with_random_faults(seed: int, number: int, mode: Mode) -> None:
    """Wait for some jobs under random faults, and check the outcomes."""
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
        async with restarting(sieve, (1, 8), (0, 2), seed):
            await load.wait(client, mode[0], strategy=mode[1])
        load.check(client)


@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_random_faults(mode: Mode) -> None:
    """Sixty waits in each mode."""
    await run_with_random_faults(1, 60, mode)


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(10))
async def test_random_faults_campaign(part: int) -> None:
    """In all parts together 300,000 waits."""
    for chunk in range(50):
        await run_with_random_faults(100 * (part + 1) + chunk, 600, MODES[chunk % len(MODES)])


async def call_repeatedly(client: SieveClient) -> None:
    """Look up a job that answers slowly, again and again."""
    while True:
        await client.get_job("slow")


async def test_polls_beside_calls_that_take_all_slots(sieve: FakeSieve) -> None:
    """Polls and plain calls take turns, and delayed polls do not leave in a burst."""
    load = LoadTest(sieve)
    load.add(100, ends_in=(600, 700))
    sieve.add_job("slow")
    sieve.fault(job="slow", delay=1)
    async with measured(sieve, 10, slots=4) as (client, _), load.waiting(client, "all"):
        calls = [asyncio.create_task(call_repeatedly(client)) for _ in range(8)]
        await asyncio.sleep(30)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        await asyncio.sleep(10)
    polls = [entry.at for entry in sieve.requests if not entry.path.endswith("/slow")]
    assert max_per_second(polls) <= 10
    assert len([at for at in polls if at < 30]) >= 10
    assert len([at for at in polls if at >= 30]) >= 80
