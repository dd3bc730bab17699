"""Jobs that are watched on Dask workers: real workers, each a process, on loopback."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from distributed import Client, LocalCluster

from helpers.leak_checks import KEY
from sieve_async import ConfigError, JobOutcome, Limits
from sieve_async.integrations.dask import as_completed
from sieve_async.testing import FakeSieve

pytestmark = [
    pytest.mark.dask,
    pytest.mark.asyncio,
    pytest.mark.filterwarnings("default"),  # those of distributed itself
]

FAST = Limits(polls_per_second=None)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSieve]:
    """A server in a thread of its own, which the workers find by their environment."""
    with FakeSieve.in_thread(api_key=KEY) as sieve:
        monkeypatch.setenv("SIEVE_API_KEY", sieve.api_key)
        monkeypatch.setenv("SIEVE_API_URL", sieve.url)
        yield sieve


@pytest.fixture
async def dask_client(server: FakeSieve) -> AsyncIterator[Client]:
    """A cluster of three worker processes."""
    async with (
        LocalCluster(
            n_workers=3,
            threads_per_worker=1,
            asynchronous=True,
            dashboard_address=None,
            memory_limit=None,
        ) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        yield client


async def collect(outcomes: AsyncIterator[JobOutcome]) -> Counter[tuple[str, str]]:
    """Count the outcomes by id and status."""
    return Counter([(outcome.job_id, str(outcome.status)) async for outcome in outcomes])


def expected(job_ids: list[str], server: FakeSieve) -> Counter[tuple[str, str]]:
    """What the outcomes of scripted jobs must be."""
    return Counter((job_id, str(server.job(job_id).final_status)) for job_id in job_ids)


async def test_every_job_has_one_outcome(server: FakeSieve, dask_client: Client) -> None:
    """Each job is reported once, with the status it ended in."""
    job_ids = server.add_jobs(300, seed=3, queued=0.2, processing=0.3)

    found = await collect(as_completed(dask_client, [*job_ids, *job_ids], limits=FAST, shards=5))

    assert found == expected(job_ids, server)


async def test_lost_worker(server: FakeSieve, dask_client: Client) -> None:
    """A worker that is killed loses nothing: its shards start anew on the others."""
    job_ids = server.add_jobs(2000, seed=4, queued=1.0, processing=4.0)
    found: Counter[tuple[str, str]] = Counter()

    async with as_completed(dask_client, job_ids, limits=FAST, strategy="list") as watch:
        async for outcome in watch:
            found[outcome.job_id, str(outcome.status)] += 1
            if found.total() == 50:
                workers = await dask_client.run(os.getpid)
                os.kill(next(iter(workers.values())), signal.SIGKILL)

    assert found == expected(job_ids, server)


async def test_leaving_early_stops_the_polling(server: FakeSieve, dask_client: Client) -> None:
    """After the block no worker polls any more."""
    ended = server.add_job(processing=0.1)
    job_ids = [server.add_job(status=None) for _ in range(20)]

    async with as_completed(dask_client, [ended, *job_ids], limits=FAST) as watch:
        async for _ in watch:
            break

    await asyncio.sleep(1.0)
    before = len(server.requests)
    await asyncio.sleep(2.0)
    assert len(server.requests) == before


async def test_timeout(server: FakeSieve, dask_client: Client) -> None:
    """Jobs that are pending at the deadline have an outcome that says so."""
    job_ids = [server.add_job(status=None) for _ in range(6)]

    found = await collect(as_completed(dask_client, job_ids, timeout=1.0, limits=FAST))

    assert found == Counter((job_id, "WaitTimeoutError") for job_id in job_ids)


async def test_key_stays_out_of_tasks(dask_client: Client) -> None:
    """A key among the options is refused, since tasks can be seen by everybody on the cluster."""
    with pytest.raises(ConfigError, match="api_key"):
        as_completed(dask_client, ["job"], client_options={"api_key": "secret"})


async def test_missing_key_is_raised(dask_client: Client, server: FakeSieve) -> None:
    """An error of the workers' settings reaches the caller."""

    def forget_key() -> None:
        os.environ.pop("SIEVE_API_KEY", None)
        os.environ["HOME"] = "/nonexistent"

    await dask_client.run(forget_key)

    with pytest.raises(ConfigError, match="no API key"):
        await collect(as_completed(dask_client, [server.add_job()]))
