"""Fault class G: large bodies that come at the same time."""

import asyncio
import json

import pytest

from helpers.raw_server import JOB, RawServer, Script, job_json
from sieve_async import Limits, Timeout

pytestmark = pytest.mark.looptime

MEGABYTE = 1024 * 1024
# More than the buffers of two sockets and of aiohttp take.
BODY = json.dumps(job_json()).encode().ljust(14 * MEGABYTE)


async def test_large_bodies_wait_for_each_other() -> None:
    """All large bodies together take 64 MiB at the most: the next is read when one is done."""
    sent: list[float] = []
    loop = asyncio.get_running_loop()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    slow: Script = [head, BODY[:-1], lambda: sent.append(loop.time()), 10.0, BODY[-1:]]
    # Each may be as large as all may be together.
    limits = Limits(max_response_bytes=64 * MEGABYTE)
    async with (
        RawServer(slow) as wire,
        wire.client(limits=limits, timeout=Timeout(request=None)) as one,
    ):
        jobs = await asyncio.gather(one.get_job(JOB), one.get_job(JOB), one.get_job(JOB))

    assert [each.succeeded for each in jobs] == [True] * 3
    assert [later - sent[0] for later in sent] == pytest.approx([0, 10, 20], abs=2)
