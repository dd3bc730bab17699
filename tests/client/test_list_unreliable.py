"""Lists that are down, missing, forbidden or too large: jobs are looked at one by one, or later."""

import asyncio
import random

import pytest

from helpers.asserts import max_per_second, warnings_of
from helpers.http_helpers import now
from helpers.leak_checks import KEY, check_error
from helpers.list_server import ListServer, watch_listed
from helpers.raw_server import Action, RawRequest, Script, respond
from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

LIST = "/v2/jobs"


def add_jobs(sieve: FakeSieve, ends: dict[str, float]) -> dict[str, float]:
    """Add jobs that finish at these times, and whose outputs say whose they are."""
    for job_id, ends_at in ends.items():
        sieve.add_job(job_id, processing=ends_at, outputs=[f"of {job_id}"])
    return ends


def lists(sieve: FakeSieve) -> int:
    """How many pages were asked for."""
    return sieve.requests_for(LIST)


def looks(sieve: FakeSieve) -> int:
    """How many requests were for one job."""
    return sieve.requests.total - lists(sieve)


@pytest.mark.looptime
@pytest.mark.parametrize("status", [400, 403, 404, 405, 422, 501, 505, 302])
async def test_no_lists(
    sieve: FakeSieve, client: SieveClient, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Where lists are not to be had, jobs are polled, and one line says so."""
    ends = add_jobs(sieve, {f"j{n}": 20.0 + n for n in range(60)})
    sieve.fault(path=LIST, status=status, body={"detail": "no"})

    await watch_listed(client, ends)

    assert len(warnings_of(caplog)) == 1
    assert lists(sieve) <= 2
    assert now() <= 79 * 1.07 + 2


@pytest.mark.looptime
@pytest.mark.parametrize(
    "bad",
    [
        respond({"detail": "oops"}, status=500),
        respond(b"<html>Bad Gateway</html>", status=502),
        respond(b"<html>Welcome</html>"),
        respond(b""),
        respond([]),  # type: ignore[arg-type] # that is the point
        respond({"data": None}),
        respond({"data": {"id": "j1"}}),
        respond({"jobs": []}),
        [Action.CLOSE],
        [Action.RESET],
        respond(b'{"data": [{"id": "j1", "status": "fin', Action.CLOSE, length=100),
    ],
    ids=lambda bad: repr(bad)[:60],
)
async def test_lists_are_down(bad: Script) -> None:
    """Lists that fail for ever while lookups work keep no job waiting for long."""
    village = ListServer(
        ends={f"j{n}": 120.0 + n for n in range(60)},
        fault=lambda asked: bad if asked.is_list else None,
    )

    await village.watch(PollPolicy(outage_timeout=100))

    assert now() <= 179 * 1.07 + 2
    assert len(village.server.lists) <= 20
    assert max_per_second(village.server.times) <= 101


@pytest.mark.looptime
@pytest.mark.parametrize("ended", [1, 30, 60])
async def test_lists_are_down_and_jobs_have_ended(
    sieve: FakeSieve, client: SieveClient, ended: int
) -> None:
    """Lists that fail for ever keep no job waiting, also when some jobs have ended already."""
    ends = add_jobs(sieve, {f"j{n}": 0.0 if n >= 60 - ended else 300.0 + n for n in range(60)})
    down = sieve.fault(path=LIST, status=500)

    await watch_listed(client, ends)

    assert down.hits
    assert now() <= 360 + 13


@pytest.mark.looptime
async def test_lists_are_down_and_a_job_is_missing(sieve: FakeSieve, client: SieveClient) -> None:
    """Nor when one of the ids does not exist."""
    ends = add_jobs(sieve, {f"j{n}": 100.0 + n for n in range(20)})
    down = sieve.fault(path=LIST, status=500)

    outcomes = await client.wait_for_jobs([*ends, "missing"], strategy="list")

    assert [outcome.ok for outcome in outcomes] == [True] * 20 + [False]
    assert down.hits
    assert now() <= 120 + 13


@pytest.mark.looptime
async def test_one_status_is_down() -> None:
    """Lists of one status that fail are as bad as all of them."""
    down = respond({}, status=500)
    village = ListServer(
        ends={f"j{n}": 100.0 + n for n in range(40)},
        fault=lambda asked: down if asked.query.get("status") == "processing" else None,
    )

    await village.watch()

    assert now() <= 140 + 13


@pytest.mark.looptime
@pytest.mark.parametrize("share", [0.05, 0.3])
async def test_random_failures(share: float) -> None:
    """Failures at random lose nothing, duplicate nothing and invent nothing."""
    dice = random.Random(5)
    half = b'{"id": "j1", "status": "finished", "data": ['
    failures = [respond({}, status=500), [Action.RESET], respond(half, Action.CLOSE, length=99)]
    village = ListServer(
        ends={f"j{n}": 5.0 + n / 3 for n in range(600)},
        fault=lambda _: dice.choice(failures) if dice.random() < share else None,
    )

    await village.watch()

    assert len(village.server.requests) <= (3000 if share < 0.1 else 15_000)
    assert now() <= 205 + (60 if share < 0.1 else 600)


@pytest.mark.looptime
async def test_lists_fail_now_and_then() -> None:
    """A list that fails every third time is still worth reading."""

    def trouble(asked: RawRequest) -> Script | None:
        is_third = asked.is_list and asked.times % 3 == 2
        return respond({}, status=500) if is_third else None

    village = ListServer(ends={f"j{n}": 30.0 + n for n in range(200)}, fault=trouble)

    await village.watch()

    assert len(village.server.polls) <= 200 * 2
    assert now() <= 230 + 30


@pytest.mark.looptime
async def test_lists_are_down_for_a_while(sieve: FakeSieve, client: SieveClient) -> None:
    """Lists that fail for ten seconds of an hour are read again after that."""
    ends = add_jobs(sieve, {f"j{n}": 3600.0 + n / 10 for n in range(100)})

    async def break_down() -> None:
        await asyncio.sleep(60)
        with sieve.fault(path=LIST, status=503) as fault:
            await asyncio.sleep(10)
        assert fault.hits

    await asyncio.gather(watch_listed(client, ends), break_down())

    assert looks(sieve) <= 100 * 40  # a tenth of what polling needs


@pytest.mark.looptime
async def test_outage_and_recovery(sieve: FakeSieve) -> None:
    """A total outage delays, and loses nothing; what failed meanwhile is told once a minute."""
    ids = [sieve.add_job(processing=10 + n) for n in range(300)]
    policy = PollPolicy(outage_timeout=900)

    async def break_down() -> None:
        await asyncio.sleep(100)
        await sieve.stop()
        await asyncio.sleep(600)
        await sieve.start()

    async with (
        SieveClient(KEY, base_url=sieve.url, polling=policy) as client,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(break_down())
        outcomes = await client.wait_for_jobs(ids, strategy="list")

    assert all(outcome.ok for outcome in outcomes)
    assert now() <= 700 + 75
    assert sieve.requests.total <= 2000


@pytest.mark.looptime
async def test_outage_without_end(sieve: FakeSieve, client: SieveClient) -> None:
    """When nothing valid comes for ``outage_timeout``, each job has the error as its outcome."""
    ids = [sieve.add_job(processing=1e6) for _ in range(50)]
    policy = PollPolicy(outage_timeout=300)

    waiting = asyncio.create_task(client.wait_for_jobs(ids, strategy="list", polling=policy))
    await asyncio.sleep(50)
    sieve.fault(status=500, body={"detail": f"{KEY} is your key"})
    outcomes = await waiting

    for outcome in outcomes:
        assert outcome.error is not None
        check_error(outcome.error)
    assert 340 <= now() <= 50 + 300 + 130
    assert max_per_second([entry.at for entry in sieve.requests if entry.at > 60]) <= 10


@pytest.mark.looptime
async def test_page_too_large() -> None:
    """A page over ``Limits.max_response_bytes`` is asked for in smaller ones, which suffice."""
    village = ListServer(ends={f"j{n}": 30.0 + n for n in range(400)})

    await village.watch(limits=Limits(max_response_bytes=4000))

    assert {asked.limit for asked in village.server.lists} > {500}
    assert len(village.server.polls) <= 400 * 1.5
    assert now() <= 430 + 13


@pytest.mark.looptime
async def test_retry_after(sieve: FakeSieve, client: SieveClient) -> None:
    """A pause that a list asks for is kept by all, and then the sweeps go on."""
    ends = add_jobs(sieve, {f"j{n}": 30.0 + n for n in range(100)})

    async def ask_for_a_pause() -> None:
        await asyncio.sleep(20)
        sieve.fault(path=LIST, times=1, status=429, retry_after=60)

    await asyncio.gather(watch_listed(client, ends), ask_for_a_pause())

    [since] = [entry.at for entry in sieve.requests if entry.status == 429]
    assert not [entry for entry in sieve.requests if since + 0.1 < entry.at < since + 60]
    assert now() <= 130 + 30
