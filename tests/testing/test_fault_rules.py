"""Which requests the faults of the fake server affect, and how they combine."""

import asyncio
import math

import aiohttp
import pytest

from helpers.http_helpers import Document, Get, get_raw, now, wait_until_in_flight
from sieve_async.testing import FakeSieve


async def test_faults_by_path_and_job(sieve: FakeSieve, get: Get) -> None:
    """A path may have a star; a job is met at its lookups and awaits, and nowhere else."""
    for name in ("a", "b", "c"):
        sieve.add_job(name)
    sieve.add_version("me", "mine", "v")
    job = sieve.fault(job="a", status=500)
    path = sieve.fault(path="/v2/jobs/b", status=501)
    star = sieve.fault(path="/v2/functions/*/versions/*", status=502)

    paths = ["jobs/a", "jobs/a/await", "jobs/b", "jobs/b/await", "jobs/c", "jobs"]
    paths += ["functions/me/mine/versions/v", "functions/sieve/demo/jobs"]
    seen = [(await get(f"/v2/{each}"))["http"] for each in paths]

    assert seen == [500, 500, 501, 200, 200, 200, 502, 200]
    assert (job.hits, path.hits, star.hits) == (2, 1, 1)


async def test_faults_are_counted_and_used_up(sieve: FakeSieve, get: Get) -> None:
    """Of two that answer, the second begins when the first is used up."""
    sieve.add_job("j")
    first = sieve.fault(status=503, times=2)
    second = sieve.fault(status=429, times=1)

    seen = [(await get("/v2/jobs/j"))["http"] for _ in range(5)]

    assert seen == [503, 503, 429, 200, 200]
    assert (first.hits, second.hits) == (2, 1)
    assert (first.is_used_up, second.is_used_up) == (True, True)


async def test_faults_are_removed(sieve: FakeSieve, get: Get) -> None:
    """One at a time, at the end of a block, or all together."""
    sieve.add_job("j")
    one = sieve.fault(status=500)
    seen = [(await get("/v2/jobs/j"))["http"]]

    with sieve.fault(status=501) as other:
        one.remove()
        one.remove()
        seen.append((await get("/v2/jobs/j"))["http"])
    seen.append((await get("/v2/jobs/j"))["http"])
    for status in (502, 503):
        sieve.fault(status=status)
    sieve.clear_faults()
    seen.append((await get("/v2/jobs/j"))["http"])

    assert seen == [500, 501, 200, 200]
    assert (one.hits, other.hits, one.is_removed) == (1, 1, True)


async def test_probability_is_seeded(sieve: FakeSieve, get: Get) -> None:
    """A share of the requests meets it, the same ones for the same seed."""

    async def met(seed: int) -> list[bool]:
        with sieve.fault(status=500, probability=0.3, seed=seed):
            return [(await get("/"))["http"] == 500 for _ in range(100)]

    first, again, other = await met(1), await met(1), await met(2)

    assert first == again != other
    assert 15 < sum(first) < 45


@pytest.mark.looptime
async def test_faults_have_their_effects_together(
    sieve: FakeSieve, session: aiohttp.ClientSession
) -> None:
    """What one answers may be late, and have headers, because of others."""
    sieve.add_job("j")
    sieve.fault(delay=3)
    sieve.fault(status=503, times=1)
    sieve.fault(headers={"X-Proxy": "new", "X-Other": "1"})
    sieve.fault(headers={"X-Proxy": "newer"}, retry_after=1)

    seen = []
    for _ in range(2):
        async with session.get("/v2/jobs/j") as response:
            headers = [response.headers[name] for name in ("X-Proxy", "X-Other", "Retry-After")]
            seen.append((response.status, headers, now()))

    assert seen == [(503, ["new", "1", "1"], 3), (200, ["new", "1", "1"], 6)]


async def test_stopping_ends_slow_answers(sieve: FakeSieve) -> None:
    """Delayed and dripping answers are not waited for."""
    sieve.fault(path="/late", delay=1e6)
    sieve.fault(path="/slow", slow_body=1e6)
    waiting = [asyncio.ensure_future(get_raw(sieve, path)) for path in ("/late", "/slow")]
    await wait_until_in_flight(sieve, 2)

    async with asyncio.timeout(2):
        await sieve.stop()
    received = await asyncio.gather(*waiting, return_exceptions=True)

    assert sieve.in_flight == 0
    assert not any(isinstance(each, bytes) and each.endswith(b"}") for each in received)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({}, "a fault must do something"),
        ({"times": 3, "job": "j", "as_date": True}, "a fault must do something"),
        ({"status": 99}, "status must be from 200 to 999, not 99"),
        ({"drop": "late"}, "drop must be one of 'before', 'after', 'headers', 'body', None"),
        ({"status": 500, "takes_effect": True, "drop": "before"}, 'use drop="after"'),
        ({"takes_effect": True}, "a fault must do something"),
        ({"delay": -1}, "delay must be zero or more"),
        ({"slow_body": math.nan}, "slow_body must be zero or more"),
        ({"retry_after": -0.5}, "retry_after must be zero or more"),
        ({"status": 500, "times": 0}, "times must be one or more"),
        ({"status": 500, "probability": 1.5}, "probability must be from 0 to 1"),
        ({"body": [object()]}, "body cannot be written as JSON"),
        ({"fields": {"x": math.inf}}, "x cannot be written as JSON"),
    ],
)
def test_invalid_fault_is_refused(fault: Document, message: str) -> None:
    """An invalid fault is reported when it is added."""
    with pytest.raises(ValueError, match=message):
        FakeSieve().fault(**fault)
