"""``list_jobs``."""

import asyncio
from typing import Any

import pytest

from helpers.raw_server import respond, serve
from sieve_async import ClientClosedError, DecodeError, Job, Limits, NotFoundError, SieveClient
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


async def ids_of(client: SieveClient, **filters: Any) -> list[str]:
    """The ids of a list."""
    return [job.id async for job in client.list_jobs(**filters)]


async def test_all_jobs(sieve: FakeSieve, client: SieveClient) -> None:
    """All pages are read, and each id comes once."""
    made = {sieve.add_job(processing=60) for _ in range(1201)}

    listed = await ids_of(client)

    assert len(listed) == 1201
    assert set(listed) == made
    assert len(sieve.requests) == 3


async def test_filters(sieve: FakeSieve, client: SieveClient) -> None:
    """The filters are those of the API."""
    sieve.add_job("a", function="me/mine", processing=60)
    sieve.add_job("b", function="me/mine")
    sieve.add_job("c", function="me/other", processing=60)

    assert sorted(await ids_of(client)) == ["a", "b", "c"]
    assert sorted(await ids_of(client, status="processing")) == ["a", "c"]
    assert sorted(await ids_of(client, function="me/mine")) == ["a", "b"]
    assert await ids_of(client, function="me/mine", status="finished") == ["b"]
    with pytest.raises(NotFoundError):
        await ids_of(client, function="me/unknown")


@pytest.mark.parametrize(("limit", "requests"), [(0, 0), (1, 1), (500, 1), (501, 2)])
async def test_limits(sieve: FakeSieve, client: SieveClient, limit: int, requests: int) -> None:
    """No more is listed than was asked for, and no more pages are read."""
    for _ in range(600):
        sieve.add_job(processing=60)

    assert len(await ids_of(client, limit=limit)) == limit
    assert len(sieve.requests) == requests


async def test_rows_that_shift(sieve: FakeSieve, client: SieveClient) -> None:
    """Jobs that are added while the list is read make no id come twice."""
    for _ in range(600):
        sieve.add_job(processing=60)
    listed = []

    async for job in client.list_jobs():
        listed.append(job.id)
        if len(listed) == 500:
            for _ in range(100):
                sieve.add_job(processing=60)

    assert len(listed) == len(set(listed))


async def test_pages_that_are_too_large(sieve: FakeSieve) -> None:
    """A page beyond the limit of an answer is asked for in halves."""
    for number in range(40):
        sieve.add_job(f"j{number}", outputs=["x" * 1000])
    async with SieveClient(
        sieve.api_key, base_url=sieve.url, limits=Limits(max_response_bytes=20_000)
    ) as client:
        listed = await ids_of(client)

    assert sorted(listed) == sorted(f"j{number}" for number in range(40))


async def test_a_cancelled_step_loses_nothing(sieve: FakeSieve, client: SieveClient) -> None:
    """A step that was cancelled can be made again."""
    sieve.add_job("j")
    sieve.fault(path="/v2/jobs", delay=10, times=1)
    listing = client.list_jobs()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await anext(listing)

    job: Job = await anext(listing)
    assert job.id == "j"


async def test_a_closed_client(client: SieveClient) -> None:
    """A list ends with its client."""
    listing = client.list_jobs()
    await client.close()

    with pytest.raises(ClientClosedError):
        await anext(listing)


@pytest.mark.parametrize("next_offset", [0, "500", 500.0, True, {}], ids=repr)
async def test_a_next_offset_that_leads_nowhere(next_offset: object) -> None:
    """A list is never cut short without a word."""
    rows = [{"id": "j", "status": "queued"}]
    async with serve(respond({"data": rows, "next_offset": next_offset})) as (_, client):
        with pytest.raises(DecodeError, match="next_offset"):
            await ids_of(client)


@pytest.mark.parametrize("next_offset", [None, -1, 0], ids=repr)
async def test_an_empty_list(next_offset: object) -> None:
    """An empty page that leads nowhere is the last one."""
    async with serve(respond({"data": [], "next_offset": next_offset})) as (_, client):
        assert await ids_of(client) == []
