"""Load in real time, with the server or the client in a process of its own."""

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
from sieve_async import ClientClosedError, JobOutcome, Limits, PollPolicy, SieveClient, SieveError

FAST = PollPolicy(min_interval=0.2, max_interval=1.0)
NO_RATE = Limits(polls_per_second=None)


def ids_of(number: int) -> list[str]:
    """The ids of the first jobs."""
    return [f"job-{each}" for each in range(number)]


async def cancel_in_portions(tasks: Sequence[asyncio.Task[object]], portion: int) -> None:
    """Cancel tasks in a random order, some at a time."""
    shuffled = random.Random(1).sample(tasks, len(tasks))
    for first in range(0, len(shuffled), portion):
        for task in shuffled[first : first + portion]:
            task.cancel()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [400, pytest.param(20_000, marks=pytest.mark.campaign)])
def test_cancel_many_waits(number: int) -> None:
    """Each of many cancelled waits ends as cancelled, and nothing is left of them."""

    async def run(url: str) -> None:
        async with SieveClient(KEY, base_url=url, polling=FAST, limits=NO_RATE) as client:
            await client.get_job("job-0")
            waits = [
                asyncio.create_task(client.wait_for_job(job_id))
                for job_id in number // 100 * ids_of(100)
            ]
            await asyncio.sleep(0.5)
            assert client.stats.waits == number
            await cancel_in_portions(waits, number // 20)
            ended = await asyncio.gather(*waits, return_exceptions=True)

            assert Counter(map(type, ended)) == {asyncio.CancelledError: number}
            assert all(wait.cancelled() for wait in waits)
            assert_idle(client)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert (await client.get_job("job-0")).id == "job-0"

    with run_server(number=100, seconds=1e8) as url:
        asyncio.run(run(url))


async def outcome_of(client: SieveClient, job_id: str) -> JobOutcome:
    """The outcome of a wait for one job."""
    try:
        return JobOutcome(job_id, await client.wait_for_job(job_id, polling=FAST))
    except SieveError as error:
        return JobOutcome(job_id, None, error.with_traceback(None))


async def outcomes_of(client: SieveClient, ids: Sequence[str], mode: str) -> list[JobOutcome]:
    """The outcomes of many jobs, by one wait for each or by one watch."""
    if mode == "each":
        return await asyncio.gather(*(outcome_of(client, job_id) for job_id in ids))
    if mode == "list":
        watch = client.as_completed(ids, polling=FAST, strategy="list")
    else:
        watch = client.as_completed(ids, polling=FAST)
    return [outcome async for outcome in watch]


@pytest.mark.parametrize("mode", ["each", "list"])
@pytest.mark.parametrize("number", [200, pytest.param(5000, marks=pytest.mark.campaign)])
def test_close_with_many_waits(mode: str, number: int) -> None:
    """``close()`` ends many waits within 2 s, each with one outcome."""

    async def run(url: str) -> None:
        ids = ids_of(number)
        async with SieveClient(KEY, base_url=url) as client:
            waiting = asyncio.create_task(outcomes_of(client, ids, mode))
            while client.stats.waits < number or not client.stats.requests:  # noqa: ASYNC110 - stats have no event
                await asyncio.sleep(0.05)
            began = time.process_time()
            await client.close()
            took = time.process_time() - began
            outcomes = await waiting

            assert took <= 2
            assert sorted(outcome.job_id for outcome in outcomes) == sorted(ids)
            assert {type(outcome.error) for outcome in outcomes} == {ClientClosedError}
            assert_idle(client)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with run_server(number=number, seconds=1e8) as url:
        asyncio.run(run(url))


@pytest.mark.parametrize("mode", ["each", "all"])
def test_few_descriptors(mode: str) -> None:
    """A program with 32 file descriptors waits for 100 jobs, with little memory."""
    number = 100
    with (
        run_server(number=number, seconds=1) as url,
        run_program("wait", url, "--number", number, "--mode", mode, "--descriptors", 32) as waits,
    ):
        summary = json.loads(waits.communicate()[0])

    assert summary["ends"] == {f"job-{each}": status_of(each) for each in range(number)}
    assert summary["errors"] == {}
    assert (summary["outcomes"], summary["tasks"]) == (number, 0)
    assert summary["kilobytes"] <= 100 * 1024


def test_server_process_is_killed() -> None:
    """While the server is killed and started again twice, each job has its correct outcomes."""
    number = 50

    async def run(url: str) -> list[JobOutcome]:
        limits = Limits(polls_per_second=None)
        async with SieveClient(KEY, base_url=url, polling=FAST, limits=limits) as client:
            ids = ids_of(number)
            both = (outcomes_of(client, ids, mode) for mode in ("each", "poll"))
            outcomes = [one for found in await asyncio.gather(*both) for one in found]
            assert_idle(client)
            return outcomes

    with CrashingServer(0.7, 2, number=number, created=time.time(), seconds=4) as server:
        outcomes = asyncio.run(run(server.url))
        assert server.killed == 2

    assert sorted(outcome.job_id for outcome in outcomes) == sorted(2 * ids_of(number))
    ends = {outcome.job_id: outcome.job and outcome.job.status for outcome in outcomes}
    assert ends == {f"job-{each}": status_of(each) for each in range(number)}
