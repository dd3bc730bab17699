"""Waits that meet trouble: refusals, outages and a client that is closed."""

import asyncio

import pytest

from helpers.http_helpers import now
from sieve_async import ClientClosedError, NotFoundError, SieveClient, SieveError
from sieve_async.testing import FakeSieve


async def test_unknown_job(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that was never there ends the wait at the first poll."""
    with pytest.raises(NotFoundError):
        await client.wait_for_job("nobody")

    assert sieve.requests_for("nobody") == 1


@pytest.mark.looptime
async def test_vanished_job(sieve: FakeSieve, client: SieveClient) -> None:
    """A 404 after the job was seen is confirmed by two more polls over five seconds."""
    sieve.add_job("job", processing=600)
    waiting = asyncio.create_task(client.wait_for_job("job"))
    await asyncio.sleep(100)
    sieve.remove_job("job")

    with pytest.raises(NotFoundError):
        await waiting

    refused = [entry.at for entry in sieve.requests if entry.status == 404]
    assert len(refused) == 3
    assert refused[-1] - refused[0] >= 5


@pytest.mark.looptime
async def test_stale_404(sieve: FakeSieve, client: SieveClient) -> None:
    """A 404 that passes (a replica that lags) does not end the wait."""
    sieve.add_job("job", processing=600)
    waiting = asyncio.create_task(client.wait_for_job("job"))
    await asyncio.sleep(100)
    sieve.remove_job("job")
    while sieve.requests[-1].status != 404:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0.1)
    sieve.add_job("job", processing=10)

    job = await waiting

    assert job.succeeded


@pytest.mark.looptime
async def test_revoked_key(sieve: FakeSieve, client: SieveClient) -> None:
    """A 401 after the job was seen is confirmed by two more polls."""
    sieve.add_job("job", processing=600)
    waiting = asyncio.create_task(client.wait_for_job("job"))
    await asyncio.sleep(100)
    sieve.revoke_key()

    with pytest.raises(SieveError, match="401"):
        await waiting

    assert sum(entry.status == 401 for entry in sieve.requests) == 3


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("processing", "latest"),
    [(3600, 3613), (1300, 1661)],
    ids=["ends long after it", "ends during it"],
)
async def test_outage(
    sieve: FakeSieve, client: SieveClient, processing: float, latest: float
) -> None:
    """Ten minutes without a server lose nothing: it is found within a minute of its return."""
    sieve.add_job("job", processing=processing, outputs=["x"])
    started = now()
    waiting = asyncio.create_task(client.wait_for_job("job"))
    await asyncio.sleep(1000)
    await sieve.stop()
    await asyncio.sleep(600)
    await sieve.start()

    job = await waiting

    assert job.succeeded
    assert processing <= now() - started <= latest


@pytest.mark.looptime
async def test_unreachable_for_too_long(sieve: FakeSieve, client: SieveClient) -> None:
    """Without any valid answer for ``outage_timeout`` the wait ends with the last error."""
    sieve.add_job("job", processing=7200)
    waiting = asyncio.create_task(client.wait_for_job("job"))
    await asyncio.sleep(100)
    await sieve.stop()
    stopped = now()

    with pytest.raises(SieveError, match="cannot connect"):
        await waiting

    assert 1785 <= now() - stopped <= 1802


@pytest.mark.looptime
async def test_close_ends_waits(sieve: FakeSieve) -> None:
    """Closing the client ends its waits with ``ClientClosedError``, whatever they are doing."""
    sieve.add_job("job", processing=600)
    client = SieveClient(sieve.api_key, base_url=sieve.url)
    waits = [asyncio.create_task(client.wait_for_job("job")) for _ in range(200)]
    await asyncio.sleep(0)  # all of them ask or queue
    sleeping = asyncio.create_task(client.wait_for_job("job"))
    await asyncio.sleep(5)
    assert client.stats.waits == 201
    asking = [asyncio.create_task(client.get_job("job")) for _ in range(200)]
    await asyncio.sleep(0)

    await client.close()
    await client.close()
    outcomes = await asyncio.gather(*waits, sleeping, *asking, return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {ClientClosedError}
    assert client.closed
    assert client.stats.waits == client.stats.in_flight == client.stats.queued == 0
    with pytest.raises(ClientClosedError):
        await client.wait_for_job("job")
