"""``close()`` at any time: with calls of every kind in progress, and cancelled itself."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

import aiohttp
import pytest

from helpers.asserts import assert_idle, yield_to_loop
from helpers.cancellation import CancelWhen, each_suspension
from helpers.leak_checks import error_of
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    RawServer,
    Script,
    ScriptedServer,
    error_response,
    running_job,
)
from sieve_async import (
    ClientClosedError,
    JobOutcome,
    Limits,
    RequestTimeoutError,
    SieveClient,
    Strategy,
    Timeout,
)

pytestmark = pytest.mark.looptime

IDS = ["silent-1", "runs-1", "runs-2"]
STRATEGIES: list[Any] = ["poll", "long_poll", "list"]
FEW = Limits(max_connections=5)


def reply(request: RawRequest) -> Script:
    """Some jobs without any response, some that are processing; lists fail."""
    if request.is_list:
        return error_response(503)
    return [Action.SILENCE] if request.job_id.startswith("silent") else running_job(request.job_id)


async def start_calls(client: SieveClient) -> list[asyncio.Task[Any]]:
    """Start calls of every kind: some have responses, some sleep, some queue."""
    calls: list[Awaitable[Any]] = [
        client.get_job("silent-2"),
        client.get_job("silent-3"),
        client.wait_for_job("runs-4"),
        client.wait_for_job("silent-4", strategy="long_poll"),
        client.wait_until_ready("o", "f"),
        anext(client.stream_outputs("runs-3")),
        *(client.wait_for_jobs(IDS, strategy=strategy) for strategy in STRATEGIES),
    ]
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(3)
    return tasks


async def assert_closed(client: SieveClient, tasks: list[asyncio.Task[Any]]) -> None:
    """Assert that each result is a ClientClosedError, and that the client is idle."""
    results: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        outcomes = result if isinstance(result, list) else [JobOutcome("", None, result)]
        assert {type(outcome.error) for outcome in outcomes} == {ClientClosedError}
    assert_idle(client)


class CallerError(Exception):
    """An exception of the caller."""


async def close(client: SieveClient) -> None:
    await client.close()


async def leave_block(client: SieveClient) -> None:
    """Leave the client's block."""
    async with client:
        await asyncio.sleep(2)


async def raise_in_block(client: SieveClient) -> None:
    """Leave the client's block by an exception."""
    with suppress(CallerError):
        async with client:
            raise CallerError


Close: TypeAlias = Callable[[SieveClient], Awaitable[None]]


@pytest.mark.parametrize("when", CancelWhen)
@pytest.mark.parametrize("close_client", [close, leave_block, raise_in_block])
async def test_cancelled_close(close_client: Close, when: CancelWhen) -> None:
    """Every call ends with ClientClosedError, and another ``close()`` completes."""
    for driver in each_suspension(when, at_least=2):
        async with ScriptedServer(reply) as server:
            client = server.client(limits=FEW)
            tasks = await start_calls(client)
            task = await driver.run(partial(close_client, client))
            assert task.cancelled() is driver.is_cancelled
            assert driver.cancelling == (1 if driver.is_cancelled else None)
            assert client.closed or close_client is leave_block
            await client.close()
            await assert_closed(client, tasks)
            await yield_to_loop(3)
            assert server.foreign_tasks() == set()
            assert isinstance(await error_of(client.get_job(JOB)), ClientClosedError)


async def test_concurrent_close() -> None:
    async with ScriptedServer(reply) as server:
        client = server.client(limits=FEW)
        tasks = await start_calls(client)
        await asyncio.gather(*(client.close() for _ in range(50)))
        await assert_closed(client, tasks)


async def test_close_twice_as_a_request_times_out() -> None:
    loop = asyncio.get_running_loop()
    async with RawServer([Action.SILENCE]) as server:
        client = server.client(timeout=Timeout(request=5))
        call = asyncio.create_task(client.get_job(JOB))
        closing: list[asyncio.Task[None]] = []

        def close_twice() -> None:
            closing.extend(asyncio.create_task(client.close()) for _ in range(2))

        loop.call_at(loop.time() + 5, close_twice)
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.gather(*closing)
        assert isinstance(call.exception(), (ClientClosedError, RequestTimeoutError))
        assert client.closed


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
