"""Jobs that are watched on Dask workers: real workers, each a process, on loopback."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import cycle
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from helpers.leak_checks import KEY
from sieve_async import ConfigError, InvalidArgumentError, Limits
from sieve_async.integrations import dask as module
from sieve_async.integrations.dask import DaskJobWatch, as_completed
from sieve_async.testing import FakeSieve

pytestmark = [
    pytest.mark.dask,
    pytest.mark.filterwarnings("default"),  # those of distributed itself
]

FAST = Limits(polls_per_second=None)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeSieve]:
    """A server in a thread of its own."""
    with FakeSieve.in_thread(api_key=KEY) as sieve:
        yield sieve


@pytest.fixture(scope="module")
def cluster(server: FakeSieve) -> Iterator[LocalCluster]:
    """Three worker processes, which find the server by their environment."""
    environment = {"SIEVE_API_KEY": KEY, "SIEVE_API_URL": server.url}
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": "4 s"}),
        LocalCluster(
            n_workers=3,
            threads_per_worker=1,
            dashboard_address=":0",
            memory_limit=None,
            env=environment,
        ) as made,
    ):
        yield made


@pytest.fixture
async def dask_client(cluster: LocalCluster) -> AsyncIterator[Client]:
    """A client of the cluster, when all of its workers are there."""
    address = cluster.scheduler_address
    async with Client(address, asynchronous=True) as client:
        await client.wait_for_workers(3)
        yield client


async def collect(watch: DaskJobWatch) -> Counter[tuple[str, str]]:
    """Count the outcomes by id and status."""
    return Counter([(outcome.job_id, outcome.status) async for outcome in watch])


def expected(job_ids: list[str], server: FakeSieve) -> Counter[tuple[str, str]]:
    """What the outcomes of scripted jobs must be."""
    return Counter((job_id, str(server.job(job_id).final_status)) for job_id in job_ids)


async def pids(dask_client: Client) -> list[int]:
    """The processes of the workers."""
    by_worker: dict[str, int] = await dask_client.run(os.getpid)
    return [*by_worker.values()]


async def test_every_job_has_one_outcome(server: FakeSieve, dask_client: Client) -> None:
    """Each job is reported once, with the status it ended in."""
    job_ids = server.add_jobs(300, prefix="seed-3", seed=3, queued=0.2, processing=0.3)
    found = await collect(as_completed(dask_client, [*job_ids, *job_ids], limits=FAST, shards=5))
    assert found == expected(job_ids, server)


async def test_blocking_client(server: FakeSieve, cluster: LocalCluster) -> None:
    """A client of Dask that is not asynchronous works in the same way."""
    job_ids = server.add_jobs(100, prefix="seed-5", seed=5, queued=0.2, processing=0.3)
    with Client(cluster) as dask_client:
        found = await collect(as_completed(dask_client, job_ids, limits=FAST))
    assert found == expected(job_ids, server)


async def test_lost_worker(server: FakeSieve, dask_client: Client) -> None:
    """A worker that is killed loses nothing: its shards start anew on the others."""
    job_ids = server.add_jobs(2000, prefix="seed-4", seed=4, queued=0.5, processing=1.0)
    found: Counter[tuple[str, str]] = Counter()
    async with as_completed(dask_client, job_ids, limits=FAST, strategy="list") as watch:
        async for outcome in watch:
            found[outcome.job_id, outcome.status] += 1
            if found.total() == 50:
                os.kill((await pids(dask_client))[0], signal.SIGKILL)
    assert found == expected(job_ids, server)


async def test_worker_that_lost_contact(server: FakeSieve, dask_client: Client) -> None:
    """A worker that stands still is given up by the scheduler; nothing is lost or doubled."""
    job_ids = server.add_jobs(200, prefix="seed-6", seed=6, queued=0.5, processing=2.0)
    found: Counter[tuple[str, str]] = Counter()
    stopped = (await pids(dask_client))[0]
    try:
        async with as_completed(dask_client, job_ids, limits=FAST) as watch:
            async for outcome in watch:
                found[outcome.job_id, outcome.status] += 1
                if found.total() == 20:
                    os.kill(stopped, signal.SIGSTOP)
    finally:
        with suppress(ProcessLookupError):  # it was restarted
            os.kill(stopped, signal.SIGCONT)
    assert found == expected(job_ids, server)


async def test_steps_on_changing_workers(
    server: FakeSieve, dask_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes of a watch that another worker has replaced are not handed out again."""
    job_ids = [server.add_job(processing=1.0 + each / 10) for each in range(60)]
    workers = cycle(await dask_client.ncores())
    step = module._Driver._step

    async def move(driver: Any, shard_id: str, start: Any, _: str) -> Any:
        return await step(driver, shard_id, start, next(workers))

    monkeypatch.setattr(module._Driver, "_step", move)
    found = await collect(as_completed(dask_client, job_ids, limits=FAST, shards=1))
    assert found == expected(job_ids, server)


async def test_step_that_comes_too_late(server: FakeSieve, dask_client: Client) -> None:
    """Dask may run a step after its watch was closed; that leaves nothing behind."""
    job_id = server.add_job(status=None)
    settings = module._Settings("poll", FAST, ())
    await dask_client.run(module._close_shards, ["late"])
    start = module._Start((job_id,), None, settings)
    await dask_client.submit(module._take_portion, "late", start, pure=False)
    assert server.requests_for(job_id) > 0
    await assert_no_more_requests(server)


async def test_leaving_early_stops_the_polling(server: FakeSieve, dask_client: Client) -> None:
    """After the block no worker polls any more."""
    ended = server.add_job(processing=0.1)
    job_ids = [server.add_job(status=None) for _ in range(20)]
    async with as_completed(dask_client, [ended, *job_ids], limits=FAST) as watch:
        async for _ in watch:
            break
    assert [outcome async for outcome in watch] == []
    await assert_no_more_requests(server)


async def test_dropping_the_iterator_stops_the_polling(
    server: FakeSieve, dask_client: Client
) -> None:
    """An iterator without a block is closed when it is dropped."""
    job_ids = [server.add_job(processing=0.1), *(server.add_job(status=None) for _ in range(20))]
    async for _ in as_completed(dask_client, job_ids, limits=FAST):
        break
    await asyncio.sleep(1.0)
    await assert_no_more_requests(server)


async def test_shard_from_which_no_step_takes(
    server: FakeSieve, dask_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker closes a shard by itself when its driver has gone."""
    job_ids = [server.add_job(status=None) for _ in range(5)]
    await dask_client.run(setattr, module, "_LAPSE_SECONDS", 1.0)
    monkeypatch.setattr(module._Driver, "_close_shards", asyncio.sleep)  # as a killed driver
    watch = as_completed(dask_client, job_ids, limits=FAST)
    first = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(1.5)
    assert server.requests_for(job_ids[0]) > 0
    first.cancel()
    await watch.aclose()
    await asyncio.sleep(1.5)
    await assert_no_more_requests(server)
    await dask_client.run(setattr, module, "_LAPSE_SECONDS", 30.0)


async def test_timeout(server: FakeSieve, dask_client: Client) -> None:
    """Jobs that are pending at the deadline have an outcome that says so."""
    job_ids = [server.add_job(status=None) for _ in range(6)]
    found = await collect(as_completed(dask_client, job_ids, timeout=1.0, limits=FAST))
    assert found == Counter((job_id, "WaitTimeoutError") for job_id in job_ids)


async def test_timeout_of_busy_workers(
    server: FakeSieve, dask_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver keeps the deadline also when no worker has time for it."""
    monkeypatch.setattr(module, "_DEADLINE_MARGIN", 0.5)
    busy = dask_client.map(time.sleep, [6.0] * 3, pure=False)
    await asyncio.sleep(0.5)
    began = asyncio.get_running_loop().time()
    found = await collect(as_completed(dask_client, [server.add_job()], timeout=0.5))
    assert [status for _, status in found] == ["WaitTimeoutError"]
    assert asyncio.get_running_loop().time() - began < 5.0
    await dask_client.gather(busy)


async def test_invalid_ids(server: FakeSieve, dask_client: Client) -> None:
    """What cannot be an id has an outcome that says so, as in the watch of a client."""
    job_id = server.add_job()
    found = await collect(as_completed(dask_client, [job_id, 7, ""], limits=FAST))
    assert found == Counter(
        [(job_id, "finished"), ("7", "InvalidArgumentError"), ("", "InvalidArgumentError")]
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"client_options": {"api_key": "secret"}}, ConfigError),
        ({"client_options": {"limits": FAST}}, ConfigError),
        ({"client_options": {"session": None}}, ConfigError),
        ({"strategy": "guess"}, InvalidArgumentError),
        ({"timeout": -1}, InvalidArgumentError),
        ({"shards": 0}, ConfigError),
        ({"job_ids": "abc"}, InvalidArgumentError),
    ],
    ids=str,
)
async def test_invalid_arguments(
    dask_client: Client, arguments: dict[str, Any], error: type[Exception]
) -> None:
    """Arguments are checked before anything is sent; a key is none of them."""
    with pytest.raises(error):
        as_completed(dask_client, **{"job_ids": ["job"], **arguments})


async def test_errors_of_workers_are_raised(server: FakeSieve, dask_client: Client) -> None:
    """An error of the workers' settings reaches the caller, after which the watch is over."""
    options = {"base_url": "ftp://example.com"}
    watch = as_completed(dask_client, [server.add_job()], client_options=options)
    with pytest.raises(ConfigError, match="base URL"):
        await collect(watch)
    assert [outcome async for outcome in watch] == []


async def test_cluster_without_workers(server: FakeSieve) -> None:
    """Without a worker the first step raises."""
    async with (
        LocalCluster(n_workers=0, asynchronous=True, dashboard_address=":0") as empty,
        Client(empty, asynchronous=True) as dask_client,
    ):
        with pytest.raises(ConfigError, match="no workers"):
            await collect(as_completed(dask_client, [server.add_job()]))


async def assert_no_more_requests(server: FakeSieve) -> None:
    """Check that the server gets no request for two seconds."""
    await asyncio.sleep(1.0)
    before = len(server.requests)
    await asyncio.sleep(2.0)
    assert len(server.requests) == before
