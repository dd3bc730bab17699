"""Lists that are down, missing, forbidden or too large: jobs are looked at one by one, or later."""

import asyncio

import pytest

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.list_server import ListServer, watch_listed
from helpers.raw_server import RawRequest, Script, respond
from sieve_async import PollPolicy, SieveClient
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
