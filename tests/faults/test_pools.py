"""Fault class D: a caller's session whose pool has less room than the client has slots."""

import asyncio
from typing import Any

import aiohttp
import pytest

from helpers.raw_server import JOB, respond, serve
from sieve_async import Limits, Timeout

pytestmark = pytest.mark.looptime

POOLS: dict[str, tuple[dict[str, int], int]] = {
    "few": ({"limit": 2}, 2),
    "few for each host": ({"limit": 50, "limit_per_host": 2}, 2),
    "few for each host of any number": ({"limit": 0, "limit_per_host": 2}, 2),
    "any number": ({"limit": 0}, 5),
    "many": ({"limit": 50}, 5),
}


@pytest.mark.parametrize(("pool", "most"), POOLS.values(), ids=POOLS)
async def test_waiting_for_room_is_no_timeout(pool: dict[str, Any], most: int) -> None:
    """Calls queue for room in the pool before their attempts begin, so that none is too late."""
    timeout, limits = Timeout(request=2), Limits(max_connections=5)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(**pool)) as session,
        serve([1.0, *respond()], session=session, timeout=timeout, limits=limits) as (wire, one),
    ):
        jobs = await asyncio.gather(*(one.get_job(JOB) for _ in range(20)))

        assert [job.succeeded for job in jobs] == [True] * 20
        assert (one.stats.requests, one.stats.retries) == (20, 0)
        assert (len(wire.requests), wire.connections) == (20, most)
