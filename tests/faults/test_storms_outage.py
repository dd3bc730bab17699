"""Many waits while the server is down for ten minutes, in virtual time."""

import asyncio

import attrs
import pytest

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.load_test import LoadTest, WaitMode
from helpers.rate_meter import RateMeter
from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve
from sieve_async.watching.pace import Pace

pytestmark = pytest.mark.looptime

# Jobs that have run for minutes are looked at this often: the rate that an outage is held against.
GROWN_UP = PollPolicy(min_interval=10)
HEALTHY, OUTAGE = 30.0, 600.0


def test_pace_in_an_outage() -> None:
    """After a row of failures the pace is a fifth, and the first good answer ends that."""
    pace = Pace(10)
    gaps = []
    for failed in [True] * 40 + [False] * 5:
        before = pace.next_at
        pace.reserve(before)
        gaps.append(pace.next_at - before)
        pace.came_back(failed=failed)

    assert gaps[:20] + gaps[41:] == pytest.approx([0.102] * 24)
    assert gaps[20:41] == pytest.approx([0.51] * 21)


def test_pace_among_failures() -> None:
    """A pace that has good answers now and then stays as it is."""
    pace = Pace(10)
    for number in range(200):
        pace.came_back(failed=number % 19 != 0)

    pace.reserve(0.0)

    assert pace.next_at == pytest.approx(0.102)


@attrs.frozen
class Outage:
    """Who waits, how, and how the server is down."""

    number: int
    way: WaitMode
    strategy: str = "poll"
    kind: str = "refused"
    per_second: float | None = 100

    def __str__(self) -> str:
        return "-".join(map(str, attrs.astuple(self)))

    async def begin(self, sieve: FakeSieve) -> None:
        """Go down."""
        if self.kind == "refused":
            await sieve.stop()
        elif self.kind == "errors":
            sieve.fault(status=500)
        else:
            sieve.fault(drop="before")

    @property
    def seconds_for_all(self) -> float:
        """How long it takes to look at all jobs once, if that is limited."""
        return self.number / self.per_second if self.per_second else 0.0


WAYS: tuple[tuple[WaitMode, str, float | None], ...] = (
    ("each", "poll", None),
    ("all", "poll", None),
    ("all", "poll", 100),
    ("all", "list", 100),
)
LARGE = [
    Outage(5000, way, strategy, kind, per_second)
    for kind in ("refused", "errors", "cut")
    for way, strategy, per_second in WAYS
]


@pytest.mark.parametrize(
    "outage",
    [
        Outage(5000, "all", per_second=40),
        Outage(500, "all", kind="errors", per_second=20),
        Outage(800, "each"),
        Outage(800, "all", "list", "cut"),
        *(pytest.param(outage, marks=pytest.mark.campaign) for outage in LARGE),
    ],
    ids=str,
)
@pytest.mark.timeout(1200)
async def test_total_outage(sieve: FakeSieve, outage: Outage) -> None:
    """In an outage a quarter of the healthy requests are sent at the most, and nobody is lost."""
    storm = LoadTest(sieve)
    storm.add(outage.number, ends_in=(300, HEALTHY + OUTAGE))
    limits = Limits(polls_per_second=outage.per_second)
    async with SieveClient(KEY, base_url=sieve.url, polling=GROWN_UP, limits=limits) as client:
        waiting = asyncio.create_task(storm.wait(client, outage.way, strategy=outage.strategy))
        async with RateMeter(client) as meter:
            await asyncio.sleep(HEALTHY)
            await outage.begin(sieve)
            await asyncio.sleep(OUTAGE)
        await sieve.start()
        sieve.clear_faults()
        over = now()
        await waiting
        storm.check(client)

    healthy = outage.number / max(GROWN_UP.min_interval, outage.seconds_for_all)
    sent = meter.seconds(HEALTHY)
    if outage.strategy == "poll":  # a sweep is cheaper than that in good times and in bad
        assert sum(sent) / len(sent) <= 0.25 * healthy
        assert max(sent) <= 2 * healthy
    else:
        assert sum(sent) / len(sent) <= 1
    latest = max(at for [(at, _)] in storm.received.values())
    assert latest <= over + max(75.0, 1.1 * outage.seconds_for_all)
