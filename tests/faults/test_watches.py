"""Watches of many jobs: failing responses, shared jobs, and how many requests they send."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from helpers.asserts import assert_no_more_requests
from helpers.http_helpers import now
from helpers.raw_server import (
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    job_document,
    respond,
    running_job,
)
from sieve_async import PollPolicy, SieveClient, Strategy, WaitTimeoutError
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


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


STRATEGIES: list[Strategy] = ["poll", "long_poll", "list"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("after", [None, 0.5])
async def test_tasks_after_closing(strategy: Strategy, after: float | None) -> None:
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
