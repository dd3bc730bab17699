"""Many waits while the server is down for ten minutes: few requests, and no wait is lost."""

import asyncio

import attrs
import pytest

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.load_test import LoadTest, WaitMode
from helpers.rate_meter import RateMeter
from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(1200)]

# The interval of jobs that have run for minutes.
SLOW = PollPolicy(min_interval=10)
HEALTHY, OUTAGE = 30.0, 600.0
RETRIES = 35  # requests that the retry budget allows in addition


@attrs.frozen
class Case:
    """The waits, and how the server is down."""

    number: int
    mode: WaitMode
    strategy: str = "poll"
    kind: str = "refused"
    per_second: float | None = None

    def __str__(self) -> str:
        return "-".join(map(str, attrs.astuple(self)))

    async def begin(self, sieve: FakeSieve) -> None:
        """Begin the outage."""
        if self.kind == "refused":
            await sieve.stop()
        elif self.kind == "errors":
            sieve.fault(status=500)
        else:
            sieve.fault(drop="before")

    @property
    def seconds_per_round(self) -> float:
        """The time in which the rate allows one poll of each job."""
        return self.number / self.per_second if self.per_second else 0.0


MODES: tuple[tuple[WaitMode, str, float | None], ...] = (
    ("each", "poll", None),
    ("all", "poll", None),
    ("all", "poll", 100),
    ("all", "list", 100),
)
LARGE = [
    Case(5000, mode, strategy, kind, per_second)
    for kind in ("refused", "errors", "cut")
    for mode, strategy, per_second in MODES
]


@pytest.mark.parametrize(
    "case",
    [
        Case(100, "each"),
        Case(100, "all", kind="errors"),
        Case(150, "all", per_second=3),
        Case(100, "all", "list", "cut", 7),
        *(pytest.param(case, marks=pytest.mark.campaign) for case in LARGE),
    ],
    ids=str,
)
async def test_total_outage(sieve: FakeSieve, case: Case) -> None:
    """In an outage there are at most a quarter of the healthy requests, and no wait is lost."""
    load = LoadTest(sieve)
    load.add(case.number, ends_in=(300, HEALTHY + OUTAGE))
    limits = Limits(polls_per_second=case.per_second)
    async with SieveClient(KEY, base_url=sieve.url, polling=SLOW, limits=limits) as client:
        waiting = asyncio.create_task(load.wait(client, case.mode, strategy=case.strategy))
        async with RateMeter(client) as meter:
            await asyncio.sleep(HEALTHY)
            await case.begin(sieve)
            await asyncio.sleep(OUTAGE)
        await sieve.start()
        sieve.clear_faults()
        over = now()
        await waiting
        load.check(client)

    unlimited = case.number / SLOW.min_interval
    sent = meter.seconds(HEALTHY)
    steady = sent[120:]  # the intervals of failing polls grow for two minutes
    assert sum(steady) / len(steady) <= 0.25 * unlimited
    assert max(sent) <= 2 * unlimited + RETRIES
    if case.per_second is not None:
        assert max(sent) <= case.per_second + 1
    latest = max(at for [(at, _)] in load.received.values())
    assert latest <= over + max(75.0, 1.1 * case.seconds_per_round)
