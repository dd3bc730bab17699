"""Fault classes A, C and D on the way: long, narrow, cut into pieces, reset, limited."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from helpers.leak_checks import KEY, CheckedClient, error_of
from helpers.tcp_proxy import Link, TcpProxy
from sieve_async import (
    ConnectError,
    Limits,
    PollPolicy,
    RequestTimeoutError,
    RetryPolicy,
    Timeout,
    TransportError,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

OUTPUTS = [{"data": f"output {number}"} for number in range(40)]


@contextlib.asynccontextmanager
async def behind(
    sieve: FakeSieve, way: Link, **settings: Any
) -> AsyncIterator[tuple[TcpProxy, CheckedClient]]:
    """A proxy before the server, and a client that knows only the proxy."""
    async with TcpProxy(sieve.url, way) as proxy:
        settings = {"api_key": KEY, "base_url": proxy.url} | settings
        async with CheckedClient(**settings) as client:
            yield proxy, client


@pytest.mark.parametrize("latency", [0.2, 2.0, 9.0])
async def test_long_way(sieve: FakeSieve, latency: float) -> None:
    """However far the server is, each attempt is one request, and the end is seen."""
    sieve.add_job("job", processing=30, outputs=OUTPUTS)
    async with behind(sieve, Link(latency=latency)) as (proxy, client):
        ended = await client.wait_for_job("job")

        assert len(ended.outputs) == 40
        assert len(sieve.requests) == client.stats.requests
        assert proxy.connections == 1


async def test_way_that_is_too_long(sieve: FakeSieve) -> None:
    """An answer that comes after ``Timeout.request`` has not come."""
    sieve.add_job("job")
    retry = RetryPolicy(max_attempts=1)
    settings = {"timeout": Timeout(request=5), "retry": retry}
    async with behind(sieve, Link(latency=3), **settings) as (_, client):
        error = await error_of(client.get_job("job"))

        assert isinstance(error, RequestTimeoutError)
        assert 5 <= error.elapsed <= 5.1


@pytest.mark.parametrize("bandwidth", [100.0, 1000.0])
async def test_narrow_way(sieve: FakeSieve, bandwidth: float) -> None:
    """An answer that takes its time is whole, as long as an attempt may last that long."""
    sieve.add_job("job", outputs=OUTPUTS)
    patient = Timeout(request=600)
    async with behind(sieve, Link(bandwidth=bandwidth), timeout=patient) as (_, client):
        seen = await client.get_job("job")

        assert len(seen.outputs) == 40
        assert asyncio.get_running_loop().time() >= 1000 / bandwidth


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
async def test_in_pieces(sieve: FakeSieve, piece: int) -> None:
    """Where the bytes of an answer are cut makes no difference."""
    sieve.add_job("job", outputs=OUTPUTS)
    async with behind(sieve, Link(piece=piece)) as (_, client):
        seen = await client.get_job("job")
        refused = await error_of(client.get_job("other"))

        assert [str(number) in str(one) for number, one in enumerate(seen.outputs)] == [True] * 40
        assert "not found" in str(refused).lower()


@pytest.mark.parametrize("size", range(1, 560, 19))
async def test_reset_at_every_place(sieve: FakeSieve, size: int) -> None:
    """Wherever an answer is cut off, nothing is taken from its half, and the next one counts."""
    sieve.add_job("job", processing=0.5, outputs=OUTPUTS)
    polling = PollPolicy(min_interval=1, max_interval=2)
    async with behind(sieve, Link(resets_after=size), polling=polling) as (proxy, client):
        waiting = asyncio.create_task(client.wait_for_job("job"))
        error = await error_of(client.get_job("job"))
        await asyncio.sleep(60)
        assert not waiting.done()
        proxy.link = Link()
        ended = await waiting

        assert isinstance(error, TransportError)
        assert len(ended.outputs) == 40
        assert len(sieve.requests) == client.stats.requests


async def test_few_connections(sieve: FakeSieve) -> None:
    """Where fewer connections are let through than slots, all calls end, each with its own job."""
    ids = [sieve.add_job(queued=5, processing=20 + number) for number in range(40)]
    async with behind(sieve, Link(max_connections=4)) as (proxy, client):
        jobs = await asyncio.gather(*map(client.wait_for_job, ids))

        assert [job.id for job in jobs] == ids
        assert all(job.succeeded for job in jobs)
        assert proxy.max_open == 4


async def test_no_connection_at_all(sieve: FakeSieve) -> None:
    """A way that lets nobody through is tried three times, not six."""
    async with behind(sieve, Link(max_connections=0)) as (proxy, client):
        error = await error_of(client.get_job("job"))

        assert isinstance(error, ConnectError)
        assert (error.attempts, proxy.connections, len(sieve.requests)) == (3, 3, 0)


@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_cut_again_and_again(sieve: FakeSieve, strategy: Any) -> None:
    """Connections that are all cut every few seconds cost requests, and no outcome."""
    ids = [sieve.add_job(queued=3, processing=20 + number) for number in range(30)]
    async with behind(sieve, Link(latency=0.05)) as (proxy, client):

        async def cut() -> None:
            while True:
                await asyncio.sleep(2.5)
                proxy.cut()

        cutting = asyncio.create_task(cut())
        outcomes = await client.wait_for_jobs(ids, strategy=strategy, timeout=600)
        cutting.cancel()

        assert [outcome.job_id for outcome in outcomes] == ids
        assert all(outcome.ok for outcome in outcomes)
        assert len(sieve.requests) <= client.stats.requests


async def test_idle_connections_are_closed(sieve: FakeSieve) -> None:
    """A long poll that is closed on the way, as load balancers do, means "not yet"."""
    sieve.add_job("job", processing=400)
    async with behind(sieve, Link(idle=60), limits=Limits(max_connections=4)) as (_, client):
        ended = await client.wait_for_job("job", strategy="long_poll", timeout=500)

        assert ended.succeeded
        assert asyncio.get_running_loop().time() <= 402
        assert len(sieve.requests) <= 20
