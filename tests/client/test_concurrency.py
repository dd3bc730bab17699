"""Many calls through one client: slots and connections are shared."""

import asyncio

import pytest

from helpers.leak_checks import KEY
from helpers.raw_server import JOB, Action, RawServer, job_json, respond
from sieve_async import ConnectError, Limits, SieveClient, Timeout, WaitTimeoutError
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("max_connections", [1, 16])
async def test_waits_beside_lookups(sieve: FakeSieve, max_connections: int) -> None:
    """Waits and lookups share ``max_connections`` connections."""
    jobs = [sieve.add_job(queued=1 + n % 7, processing=5 + n % 11) for n in range(60)]
    sieve.add_version("owner", "name", "v1")
    limits = Limits(max_connections=max_connections)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        waits = asyncio.gather(*map(client.wait_for_job, jobs))
        lookups = asyncio.gather(*map(client.get_job, jobs[:30]))
        versions = asyncio.gather(*(client.get_version("owner", "name") for _ in range(30)))

        ended = await waits

        assert [job.id for job in ended] == jobs
        assert all(job.succeeded for job in ended)
        assert [job.id for job in await lookups] == jobs[:30]
        assert {version.id for version in await versions} == {"v1"}
    assert sieve.connections <= max_connections
    assert sieve.max_in_flight <= max_connections
    assert len(sieve.requests) == client.stats.requests


async def test_no_timeouts(sieve: FakeSieve) -> None:
    """``None`` is no limit: a response may take a day."""
    day = 24 * 3600.0
    unlimited = Timeout(connect=None, request=None)
    async with (
        RawServer([day, *respond(job_json())]) as server,
        server.client(timeout=unlimited) as client,
    ):
        assert (await client.get_job(JOB)).id == JOB
    async with RawServer([Action.CLOSE]) as server, server.client(timeout=unlimited) as client:
        with pytest.raises(ConnectError):
            await client.get_job(JOB)
    sieve.add_job("job", processing=5)
    async with SieveClient(KEY, base_url=sieve.url, timeout=unlimited) as client:
        with pytest.raises(WaitTimeoutError):
            await client.wait_for_job("job", timeout=0)
