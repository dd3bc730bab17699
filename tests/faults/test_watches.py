"""Watches of many jobs: failing responses, shared jobs, and how many requests they send."""

import asyncio
import itertools
import math
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from helpers.asserts import assert_no_more_requests, ids_of, max_per_second
from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.raw_server import (
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_document,
    respond,
    running_job,
)
from sieve_async import (
    AuthenticationError,
    Limits,
    PollPolicy,
    RateLimitError,
    ServerError,
    SieveClient,
    Strategy,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

STRATEGIES: list[Strategy] = ["poll", "long_poll", "list"]
BAD: dict[str, Script] = {
    "500": error_response(500),
    "cut": [Action.RESET],
    "half": [b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"status": "fin', Action.CLOSE],
    "no json": [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{{{"],
    "other id": finished_job("another"),
}


def limited(sieve: FakeSieve, per_second: float | None, slots: int = 64) -> SieveClient:
    """A client with limits."""
    limits = Limits(polls_per_second=per_second, max_connections=slots)
    return SieveClient(KEY, base_url=sieve.url, limits=limits)


def times_of(sieve: FakeSieve) -> list[float]:
    """The time of each request."""
    return [entry.at for entry in sieve.requests]


@pytest.mark.parametrize("bad", BAD)
async def test_some_responses_fail(bad: str) -> None:
    """With some failing responses, each job has one correct outcome, and nothing is retried."""
    chance = random.Random(20)
    ids = [f"job-{number}" for number in range(60)]

    def reply(request: RawRequest) -> Script:
        if request.times == 3 and request.job_id in ids[::9]:
            return error_response(401)  # a replica that lags rejects once
        if request.times and chance.random() < 0.1:
            return BAD[bad]
        job_id = request.job_id
        return finished_job(job_id) if request.times >= 5 else running_job(job_id)

    async with ScriptedServer(reply) as server, server.client() as client:
        seen = [outcome async for outcome in client.as_completed(ids)]
        assert Counter(ids_of(seen)) == Counter(ids)
        assert [outcome.result().id for outcome in seen] == ids_of(seen)
        assert client.stats.retries == 0
        assert len(server.requests) == client.stats.requests <= 1.3 * 6 * 60


async def test_lasting_failures(sieve: FakeSieve, client: SieveClient) -> None:
    """A wrong key ends each job by its first poll, an outage after ``outage_timeout``."""
    policy = PollPolicy(outage_timeout=60)
    ids = [f"{number}" for number in range(30)]
    async with SieveClient("some-other-key", base_url=sieve.url) as other:
        outcomes = await other.wait_for_jobs(ids)
        assert {type(outcome.error) for outcome in outcomes} == {AuthenticationError}
        assert len(sieve.requests) <= 30
    kinds: list[tuple[int, Any]] = [(503, ServerError), (429, RateLimitError)]
    for status, kind in kinds:
        started = now()
        body = {"detail": f"no, and {KEY} is your key"}
        with sieve.fault(status=status, body=body, retry_after=30 if status == 429 else None):
            outcomes = await client.wait_for_jobs(ids, polling=policy)
        assert 60 <= now() - started <= (75 if status == 503 else 3600)
        assert {type(outcome.error) for outcome in outcomes} == {kind}
        assert not any(KEY in repr(outcome) + str(outcome.error) for outcome in outcomes)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_eager_tasks(sieve: FakeSieve, client: SieveClient, strategy: Strategy) -> None:
    """Watches work with the eager task factory, where there is one."""
    ids = [sieve.add_job(processing=number / 10) for number in range(30)]
    factory = getattr(asyncio, "eager_task_factory", None)
    asyncio.get_running_loop().set_task_factory(factory)
    seen = await client.wait_for_jobs(ids, strategy=strategy, timeout=60)
    assert [outcome.ok for outcome in seen] == [True] * 30
    assert now() <= 20
    await assert_no_more_requests(client, sieve.requests)


class StopRun(BaseException):
    """What ends a program, or a test of the caller's."""


async def test_source_that_ends_the_program(sieve: FakeSieve, client: SieveClient) -> None:
    """A BaseException of a source reaches the caller that iterates."""
    sieve.add_job("a", processing=600)

    async def source() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(3)
        raise StopRun

    outcomes = client.as_completed(source())
    async with asyncio.timeout(60):
        with pytest.raises(StopRun):
            await anext(outcomes)
    assert [outcome async for outcome in outcomes] == []
    await assert_no_more_requests(client, sieve.requests)


async def test_deadlines_of_a_shared_job(sieve: FakeSieve, client: SieveClient) -> None:
    """A deadline has the state at that time, even if another watch has seen the end since."""
    job = sieve.job(sieve.add_job("a", by="manual"))
    job.start()
    policy = PollPolicy(jitter=0)
    longer = asyncio.create_task(client.wait_for_jobs(["a"], polling=policy))
    async with client.as_completed(["a"], timeout=5, polling=policy) as outcomes:
        await asyncio.sleep(10)
        job.finish()
        [shared] = await longer
        error = (await anext(outcomes)).error
    assert shared.ok
    assert isinstance(error, WaitTimeoutError)
    assert error.last_status == "processing"
    assert error.polls <= 12


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("after", [None, 0.5])
async def test_tasks_after_closing(strategy: Strategy, after: float | None) -> None:
    """A closed client has no tasks."""
    ids = [f"a{number}" for number in range(10)]

    def reply(request: RawRequest) -> Script:
        return error_response(503) if request.is_list else [3.0, *running_job(request.job_id)]

    async with (
        ScriptedServer(reply) as server,
        aiohttp.ClientSession() as session,  # one of our own would take turns to be closed
        server.client(session=session) as client,
        client.as_completed(ids, strategy=strategy) as outcomes,
    ):
        if after is not None:  # else nothing has begun yet
            await asyncio.sleep(after)
        assert server.foreign_tasks() or strategy == "list"  # a sleeping lister has no task
        await client.close()
        assert not server.foreign_tasks()
        assert len([outcome async for outcome in outcomes]) == 10


async def test_shared_stream() -> None:
    """Tasks that share a stream of outputs get each of them once."""

    def reply(request: RawRequest) -> Script:
        ends = now() >= 5
        values = [{"data": number} for number in range(request.offset, 6 if ends else 3)]
        document = job_document("a", "finished" if ends else "processing", outputs=values)
        return [0.1, *respond(document)]

    seen: list[Any] = []
    async with ScriptedServer(reply) as server, server.client() as client:
        stream = client.stream_outputs("a")

        async def take() -> None:
            seen.extend([getattr(output, "data", None) async for output in stream])

        await asyncio.gather(take(), take(), take())
        assert sorted(seen) == [0, 1, 2, 3, 4, 5]
        await assert_no_more_requests(client, server.requests)


@pytest.mark.parametrize(("per_second", "number"), [(20, 120), (2.5, 20), (0.5, 3)])
async def test_rate(sieve: FakeSieve, per_second: float, number: int) -> None:
    """Polls are spread evenly over time and jobs, never above the rate in any second."""
    ids = [sieve.add_job(processing=600) for _ in range(number)]
    seconds = 30 * max(1.0, 2 / per_second)
    async with limited(sieve, per_second) as client:
        await client.wait_for_jobs(ids, timeout=seconds)
    times = times_of(sieve)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    polls = [sieve.requests_for(job_id) for job_id in ids]
    assert max_per_second(times) <= math.ceil(per_second)
    assert len(times) >= 0.9 * seconds * per_second
    assert min(gaps) >= 0.5 / per_second
    assert max(gaps) <= 1.6 / per_second
    assert max(polls) - min(polls) <= 4


async def test_two_calls_share_the_rate(sieve: FakeSieve) -> None:
    """The rate is that of the client, however many calls watch; unused rate is not saved."""
    batches = [[sieve.add_job(processing=600) for _ in range(50)] for _ in range(3)]

    async def later(ids: list[str], pause: float) -> None:
        await asyncio.sleep(pause)
        await client.wait_for_jobs(ids, timeout=12)

    async with limited(sieve, 20) as client:
        await asyncio.gather(*(later(ids, 7.0 * place) for place, ids in enumerate(batches)))
    assert max_per_second(times_of(sieve)) <= 20
    assert all(sieve.requests_for(job_id) for ids in batches for job_id in ids)


async def test_calls_beside_many_jobs(sieve: FakeSieve, client: SieveClient) -> None:
    """While 3,000 jobs are watched, lookups and waits are not delayed, and there are few tasks."""
    ids = [sieve.add_job(processing=3600) for _ in range(3000)]
    sieve.add_job("other", processing=3)
    async with client.as_completed(ids):
        for _ in range(10):
            await asyncio.sleep(0.5)
            began = now()
            assert (await client.get_job("other")).id == "other"
            assert now() - began <= 0.1
        assert (await client.wait_for_job("other", timeout=1)).succeeded
        assert client.stats.waits == 3000
        assert len(asyncio.all_tasks()) <= 2 * 64 + 10
        assert max_per_second(times_of(sieve)) <= 100 + 5
    sieve.fault(delay=0.5)
    async with limited(sieve, None, slots=4) as slow, slow.as_completed(ids):
        await asyncio.sleep(3.1)
        for _ in range(5):
            began = now()
            await slow.get_job("other")
            assert now() - began <= 1.1
        assert len(asyncio.all_tasks()) <= 20
