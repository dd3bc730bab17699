"""Storms in real time, with the server in a process of its own."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from helpers.asserts import assert_idle
from helpers.children.serve import status_of
from helpers.leak_checks import KEY
from helpers.processes import CrashingServer, run_program, run_server
from sieve_async import ClientClosedError, JobOutcome, PollPolicy, SieveClient, SieveError

OFTEN = PollPolicy(min_interval=0.2, max_interval=1.0)


def ids_of(number: int) -> list[str]:
    """The ids of the first jobs."""
    return [f"job-{each}" for each in range(number)]


def sockets_of(client: SieveClient) -> int:
    """How many connections are in use."""
    session = client._transport._session
    assert session is not None
    assert session.connector is not None
    return len(session.connector._acquired)


async def cancel_in_portions(tasks: Sequence[asyncio.Task[object]], portion: int) -> None:
    """Cancel tasks in any order, some at a time."""
    shuffled = random.Random(1).sample(tasks, len(tasks))
    for first in range(0, len(shuffled), portion):
        for task in shuffled[first : first + portion]:
            task.cancel()
        await asyncio.sleep(0.01)


def test_cancel_storm() -> None:
    """Of 20,000 waits that are cancelled, each ends so, and nothing is left of them."""

    async def storm(url: str) -> None:
        async with SieveClient(KEY, base_url=url, polling=OFTEN) as client:
            await client.get_job("job-0")
            waits = [
                asyncio.create_task(client.wait_for_job(job_id)) for job_id in 20 * ids_of(1000)
            ]
            await asyncio.sleep(0.5)
            assert client.stats.waits == 20_000
            assert client.stats.in_flight == 64
            await cancel_in_portions(waits, 1000)
            ended = await asyncio.gather(*waits, return_exceptions=True)

            assert Counter(map(type, ended)) == {asyncio.CancelledError: 20_000}
            assert all(wait.cancelled() for wait in waits)
            assert_idle(client)
            assert sockets_of(client) == 0
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert (await client.get_job("job-0")).id == "job-0"

    with run_server(number=1000, seconds=1e8) as url:
        asyncio.run(storm(url))


async def outcome_of(client: SieveClient, job_id: str) -> JobOutcome:
    """How the wait for one job ends."""
    try:
        return JobOutcome(job_id, await client.wait_for_job(job_id, polling=OFTEN))
    except SieveError as error:
        return JobOutcome(job_id, None, error.with_traceback(None))


async def outcomes_of(client: SieveClient, ids: Sequence[str], way: str) -> list[JobOutcome]:
    """How the waits for many jobs end."""
    if way == "each":
        return await asyncio.gather(*(outcome_of(client, job_id) for job_id in ids))
    if way == "list":
        watch = client.as_completed(ids, polling=OFTEN, strategy="list")
    else:
        watch = client.as_completed(ids, polling=OFTEN)
    return [outcome async for outcome in watch]


@pytest.mark.parametrize("way", ["each", "poll", "list"])
def test_close_in_a_storm(way: str) -> None:
    """With 5,000 waits going on ``close()`` takes 2 s at the most, and each has one outcome."""

    async def storm(url: str) -> None:
        ids = ids_of(5000)
        async with SieveClient(KEY, base_url=url) as client:
            waiting = asyncio.create_task(outcomes_of(client, ids, way))
            while client.stats.waits < 5000 or not client.stats.requests:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.1)
            began = time.monotonic()
            await client.close()
            took = time.monotonic() - began
            outcomes = await waiting

            assert took <= 2
            assert sorted(outcome.job_id for outcome in outcomes) == sorted(ids)
            assert {type(outcome.error) for outcome in outcomes} == {ClientClosedError}
            assert_idle(client)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with run_server(number=5000, seconds=1e8) as url:
        asyncio.run(storm(url))


@pytest.mark.parametrize("way", ["each", "all"])
def test_few_descriptors(way: str) -> None:
    """A program that may have 32 descriptors is told all the same, and by little memory."""
    number = 300
    with (
        run_server(number=number, seconds=2) as url,
        run_program("wait", url, "--number", number, "--mode", way, "--descriptors", 32) as waiting,
    ):
        told = json.loads(waiting.communicate()[0])

    assert told["ends"] == {f"job-{each}": status_of(each) for each in range(number)}
    assert told["errors"] == {}
    assert (told["outcomes"], told["tasks"]) == (number, 0)
    assert told["kilobytes"] <= 100 * 1024


@pytest.mark.parametrize("way", ["each", "poll"])
def test_server_killed_again_and_again(way: str) -> None:
    """While the server is killed every second and started again, each wait is told the truth."""
    number = 200

    async def storm(url: str) -> list[JobOutcome]:
        async with SieveClient(KEY, base_url=url, polling=OFTEN) as client:
            outcomes = await outcomes_of(client, ids_of(number), way)
            assert_idle(client)
            return outcomes

    with CrashingServer(1.0, 2, number=number, created=time.time(), seconds=5) as killed:
        outcomes = asyncio.run(storm(killed.url))
        assert killed.killed == 2

    assert sorted(outcome.job_id for outcome in outcomes) == sorted(ids_of(number))
    ends = {outcome.job_id: outcome.job and outcome.job.status for outcome in outcomes}
    assert ends == {f"job-{each}": status_of(each) for each in range(number)}
