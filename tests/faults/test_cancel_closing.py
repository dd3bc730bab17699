"""Fault class K: closing is cancelled at every point, with everything that a client can do open."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

import pytest

from helpers.asserts import assert_idle, yield_to_loop
from helpers.cancellation import CancelWhen, each_suspension
from helpers.leak_checks import error_of
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    running_job,
)
from sieve_async import ClientClosedError, JobOutcome, Limits, SieveClient

pytestmark = pytest.mark.looptime

IDS = ["silent-1", "runs-1", "runs-2"]
STRATEGIES: list[Any] = ["poll", "long_poll", "list"]


def reply(asked: RawRequest) -> Script:
    """Jobs that say nothing and jobs that run; no lists."""
    if asked.is_list:
        return error_response(503)
    return [Action.SILENCE] if asked.job_id.startswith("silent") else running_job(asked.job_id)


async def watch(client: SieveClient, strategy: Any) -> list[JobOutcome]:
    """Wait for a few jobs."""
    return await client.wait_for_jobs(IDS, strategy=strategy)


async def stream(client: SieveClient) -> None:
    """Wait for an output that never comes."""
    await anext(client.stream_outputs("runs-3"))


def busy(client: SieveClient) -> list[asyncio.Task[Any]]:
    """Begin with all that a client can do: some of it is answered, sleeps, or queues."""
    calls: list[Awaitable[Any]] = [
        client.get_job("silent-2"),
        client.get_job("silent-3"),
        client.wait_for_job("runs-4"),
        client.wait_for_job("silent-4", strategy="long_poll"),
        client.wait_until_ready("o", "f"),
        stream(client),
        *(watch(client, strategy) for strategy in STRATEGIES),
    ]
    return [asyncio.ensure_future(call) for call in calls]


class OwnError(Exception):
    """An error of the caller."""


async def close(client: SieveClient) -> None:
    """Close it."""
    await client.close()


async def leave(client: SieveClient) -> None:
    """Leave its block."""
    async with client:
        await asyncio.sleep(2)


async def raise_out(client: SieveClient) -> None:
    """Leave its block with an error."""
    with suppress(OwnError):
        async with client:
            raise OwnError


Way: TypeAlias = Callable[[SieveClient], Awaitable[None]]


@pytest.mark.parametrize("when", CancelWhen)
@pytest.mark.parametrize("way", [close, leave, raise_out])
async def test_closing_is_cancelled(way: Way, when: CancelWhen) -> None:
    """Wherever closing is cancelled, all waits end as closed, and to close once more ends it."""
    for stepper in each_suspension(when, at_least=2):
        async with ScriptedServer(reply) as stage:
            client = stage.client(limits=Limits(max_connections=5))
            tasks = busy(client)
            await asyncio.sleep(3)

            task = await stepper.run(partial(way, client))

            assert task.cancelled() is stepper.is_cancelled
            assert stepper.cancelling == (1 if stepper.is_cancelled else None)
            assert client.closed or way is leave
            await client.close()
            check_closed(await asyncio.gather(*tasks, return_exceptions=True))
            assert_idle(client)
            session = client._transport._session
            assert session is not None
            assert session.closed
            await yield_to_loop(3)
            assert asyncio.all_tasks() - stage._tasks - {asyncio.current_task()} == set()
            error = await error_of(client.get_job(JOB))
            assert isinstance(error, ClientClosedError)


def check_closed(results: list[Any]) -> None:
    """Whether each of them ended as closed."""
    for result in results:
        outcomes = result if isinstance(result, list) else [JobOutcome("", None, result)]
        assert {type(outcome.error) for outcome in outcomes} == {ClientClosedError}


async def test_closing_in_many_tasks() -> None:
    """Any number of tasks may close a client at once, and each returns when it is closed."""
    async with ScriptedServer(reply) as stage:
        client = stage.client(limits=Limits(max_connections=5))
        tasks = busy(client)
        await asyncio.sleep(3)

        await asyncio.gather(*(client.close() for _ in range(50)))

        check_closed(await asyncio.gather(*tasks, return_exceptions=True))
        assert_idle(client)
