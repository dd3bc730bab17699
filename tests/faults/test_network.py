"""Networks with latency, little bandwidth, resets, and few connections."""

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
async def through_proxy(
    sieve: FakeSieve, link: Link, **settings: Any
) -> AsyncIterator[tuple[TcpProxy, CheckedClient]]:
    """A proxy in front of the server, and a client of the proxy."""
    async with TcpProxy(sieve.url, link) as proxy:
        settings = {"api_key": KEY, "base_url": proxy.url} | settings
        async with CheckedClient(**settings) as client:
            yield proxy, client


@pytest.mark.parametrize("latency", [0.2, 2.0, 9.0])
async def test_latency(sieve: FakeSieve, latency: float) -> None:
    """Each attempt is one request, and the end is noticed."""
    sieve.add_job("job", processing=30, outputs=OUTPUTS)
    async with through_proxy(sieve, Link(latency=latency)) as (proxy, client):
        ended = await client.wait_for_job("job")

        assert len(ended.outputs) == 40
        assert len(sieve.requests) == client.stats.requests
        assert proxy.connections == 1


async def test_latency_beyond_the_timeout(sieve: FakeSieve) -> None:
    """A response after ``Timeout.request`` is a timeout."""
    sieve.add_job("job")
    retry = RetryPolicy(max_attempts=1)
    settings = {"timeout": Timeout(request=5), "retry": retry}
    async with through_proxy(sieve, Link(latency=3), **settings) as (_, client):
        error = await error_of(client.get_job("job"))

        assert isinstance(error, RequestTimeoutError)
        assert 5 <= error.elapsed <= 5.1


@pytest.mark.parametrize("bandwidth", [100.0, 1000.0])
async def test_low_bandwidth(sieve: FakeSieve, bandwidth: float) -> None:
    """A slow response is complete if the timeout allows it."""
    sieve.add_job("job", outputs=OUTPUTS)
    unlimited = Timeout(request=600)
    async with through_proxy(sieve, Link(bandwidth=bandwidth), timeout=unlimited) as (_, client):
        seen = await client.get_job("job")

        assert len(seen.outputs) == 40
        assert asyncio.get_running_loop().time() >= 1000 / bandwidth


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
async def test_pieces(sieve: FakeSieve, piece: int) -> None:
    """It does not matter where a response is split."""
    sieve.add_job("job", outputs=OUTPUTS)
    async with through_proxy(sieve, Link(piece=piece)) as (_, client):
        seen = await client.get_job("job")
        missing = await error_of(client.get_job("other"))

        assert [str(number) in str(one) for number, one in enumerate(seen.outputs)] == [True] * 40
        assert "not found" in str(missing).lower()


@pytest.mark.parametrize("size", range(1, 560, 56))
async def test_reset_at_every_position(sieve: FakeSieve, size: int) -> None:
    """A response that is reset anywhere is no result, and the next one counts."""
    sieve.add_job("job", processing=0.5, outputs=OUTPUTS)
    polling = PollPolicy(min_interval=1, max_interval=2)
    async with through_proxy(sieve, Link(resets_after=size), polling=polling) as (proxy, client):
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
    """With fewer connections than slots all calls end, each with its own job."""
    ids = [sieve.add_job(queued=5, processing=20 + number) for number in range(20)]
    limits = Limits(polls_per_second=None)
    async with through_proxy(sieve, Link(max_connections=4), limits=limits) as (proxy, client):
        jobs = await asyncio.gather(*map(client.wait_for_job, ids))

        assert [job.id for job in jobs] == ids
        assert all(job.succeeded for job in jobs)
        assert proxy.max_open == 4


async def test_no_connections(sieve: FakeSieve) -> None:
    """A proxy that resets every connection is tried three times."""
    async with through_proxy(sieve, Link(max_connections=0)) as (proxy, client):
        error = await error_of(client.get_job("job"))

        assert isinstance(error, ConnectError)
        assert (error.attempts, proxy.connections, len(sieve.requests)) == (3, 3, 0)


@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_repeated_resets(sieve: FakeSieve, strategy: Any) -> None:
    """Resets of all connections every few seconds cost requests, and no outcome."""
    ids = [sieve.add_job(queued=3, processing=10 + number) for number in range(12)]
    async with through_proxy(sieve, Link(latency=0.05)) as (proxy, client):

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
    """A long poll that a load balancer closes when idle is continued."""
    sieve.add_job("job", processing=400)
    async with through_proxy(sieve, Link(idle=60), limits=Limits(max_connections=4)) as (_, client):
        ended = await client.wait_for_job("job", strategy="long_poll", timeout=500)

        assert ended.succeeded
        assert asyncio.get_running_loop().time() <= 402
        assert len(sieve.requests) <= 20
