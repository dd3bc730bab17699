"""What happens in the watch of many jobs while something else is under way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from helpers.asserts import assert_no_more_requests, ids_of, max_per_second, warnings_of
from helpers.http_helpers import now
from helpers.raw_server import RawRequest, Script, ScriptedServer, job_document, respond
from sieve_async import Limits, PollPolicy, SieveClient, Strategy, WaitTimeoutError
from sieve_async.testing import FakeSieve

# The factory that begins a task at once, where there is one.
EAGER = getattr(asyncio, "eager_task_factory", None)


class StopRun(BaseException):
    """What ends a program, or a test of the caller's."""


def page_of(asked: RawRequest, ids: list[str]) -> Script:
    """One page of jobs that are processed."""
    rows = ids if asked.query["status"] == "processing" else []
    end = asked.offset + asked.limit
    data = [job_document(job_id) for job_id in rows[asked.offset : end]]
    return respond({"data": data, "next_offset": end if end < len(rows) else -1})


@pytest.mark.looptime
async def test_leaving_and_coming_again() -> None:
    """A job that is asked for again while a page is read is watched for whoever asks then."""
    swept = [f"a{number}" for number in range(20)]
    others = [f"x{number}" for number in range(5)]  # those that are on no page

    def play(asked: RawRequest) -> Script:
        if asked.is_list:
            return [1.0, *page_of(asked, swept)]
        ends = asked.job_id in others and now() >= 2
        return respond(job_document(asked.job_id, "finished" if ends else "processing"))

    policy = PollPolicy(min_interval=0.2, max_interval=0.3)
    async with ScriptedServer(play) as stage, stage.client(polling=policy) as client:
        async with client.as_completed(swept, strategy="list"):
            first = client.as_completed(others, strategy="list")
            await first.__aenter__()
            await asyncio.sleep(0.5)
            assert len(stage.lists) == 1

            await first.aclose()
            seen = await client.wait_for_jobs(others, strategy="list", timeout=30)

        assert [outcome.ok for outcome in seen] == [True] * 5
        await assert_no_more_requests(client, stage.requests)


@pytest.mark.looptime
@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_eager_tasks(sieve: FakeSieve, client: SieveClient, strategy: Strategy) -> None:
    """Where tasks begin at once, watches go on and end as they do elsewhere."""
    ids = [sieve.add_job(processing=number / 10) for number in range(100)]
    asyncio.get_running_loop().set_task_factory(EAGER)

    seen = await client.wait_for_jobs(ids, strategy=strategy, timeout=60)

    assert [outcome.ok for outcome in seen] == [True] * 100
    assert now() <= 20
    await assert_no_more_requests(client, sieve.requests)


@pytest.mark.looptime
async def test_deadline_in_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    """A deadline that comes while a list fails is a deadline, and other calls go on."""
    ids = [f"a{number}" for number in range(10)]
    deadline = 200.0

    def play(asked: RawRequest) -> Script:
        if 1 <= now() < 250:
            wait = deadline + 1 - now() if asked.is_list and now() >= 100 else 0.0
            return [wait, *respond({}, status=503)]
        if asked.is_list:
            return page_of(asked, ids)
        return respond(job_document(asked.job_id, "finished" if now() >= 250 else "processing"))

    async with ScriptedServer(play) as stage, stage.client() as client:
        other = asyncio.create_task(client.wait_for_jobs(["p"]))
        async with client.as_completed(ids, strategy="list", timeout=deadline) as outcomes:
            seen = [await anext(outcomes)]
            await asyncio.sleep(5)  # the failure of the list comes now
            seen += [outcome async for outcome in outcomes]
        rest = await other

    assert sorted(ids_of(seen)) == ids
    assert all(isinstance(outcome.error, WaitTimeoutError) for outcome in seen)
    assert [outcome.ok for outcome in rest] == [True]
    assert any("polls fail" in line for line in warnings_of(caplog))


@pytest.mark.looptime
async def test_failure_after_idleness() -> None:
    """One list that fails ends nobody, however long the source had nothing to watch before."""
    failures = 0

    def play(asked: RawRequest) -> Script:
        nonlocal failures
        if asked.is_list:
            failures += 1
            return respond({}, status=503) if failures == 1 else page_of(asked, [])
        return respond(job_document(asked.job_id, "finished"))

    async def source() -> AsyncIterator[str]:
        await asyncio.sleep(60)
        for number in range(5):
            yield f"a{number}"

    policy = PollPolicy(outage_timeout=30)
    async with ScriptedServer(play) as stage, stage.client(polling=policy) as client:
        seen = [outcome async for outcome in client.as_completed(source(), strategy="list")]

    assert failures >= 2
    assert [outcome.ok for outcome in seen] == [True] * 5


@pytest.mark.looptime
async def test_source_that_ends_the_program(sieve: FakeSieve, client: SieveClient) -> None:
    """What a source raises reaches whoever iterates, even where it is no common error."""
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


@pytest.mark.looptime
async def test_deadlines_of_a_shared_job(sieve: FakeSieve, client: SieveClient) -> None:
    """A deadline tells what was seen by then, though others have seen the job end since."""
    job = sieve.job(sieve.add_job("a", by="manual"))
    job.start()
    policy = PollPolicy(jitter=0)
    longer = asyncio.create_task(client.wait_for_jobs(["a"], polling=policy))

    async with client.as_completed(["a"], timeout=5, polling=policy) as outcomes:
        await asyncio.sleep(10)
        job.finish()
        shared = await longer
        error = (await anext(outcomes)).error

    assert shared[0].ok
    assert isinstance(error, WaitTimeoutError)
    assert error.last is not None
    assert error.last_status == "processing"
    assert error.polls <= 12


@pytest.mark.looptime
async def test_last_looks_during_a_sweep() -> None:
    """When the last looks are due while pages are read, pages are read once more after that."""
    ids = [f"a{number}" for number in range(600)]

    def play(asked: RawRequest) -> Script:
        ended = ids[:3] if now() >= 8.8 else []  # a sweep of two pages goes on, from 8.05 to 9.05
        if asked.is_list:
            running = [job_id for job_id in ids if job_id not in ended]
            return [0.5, *page_of(asked, running)]
        return respond(
            job_document(asked.job_id, "finished" if asked.job_id in ended else "processing")
        )

    policy = PollPolicy(min_interval=4, max_interval=4)
    limits = Limits(polls_per_second=None)
    async with ScriptedServer(play) as stage, stage.client(polling=policy, limits=limits) as client:
        seen = await client.wait_for_jobs(ids, strategy="list", timeout=10.6)

        assert any(8 <= asked.at <= 8.3 for asked in stage.lists)
        assert ids_of(outcome for outcome in seen if outcome.ok) == ids[:3]


@pytest.mark.looptime
@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
@pytest.mark.parametrize("after", [None, 0.5])
async def test_tasks_after_closing(strategy: Strategy, after: float | None) -> None:
    """Once a client is closed, none of its tasks is there any more."""
    ids = [f"a{number}" for number in range(10)]

    def play(asked: RawRequest) -> Script:
        if asked.is_list:
            return respond({}, status=503)
        return [3.0, *respond(job_document(asked.job_id))]

    async with (
        ScriptedServer(play) as stage,
        aiohttp.ClientSession() as session,  # one of our own would take turns to be closed
        stage.client(session=session) as client,
    ):
        before = asyncio.all_tasks()
        async with client.as_completed(ids, strategy=strategy) as outcomes:
            if after is not None:  # else nothing has begun yet
                await asyncio.sleep(after)
            own = asyncio.all_tasks() - before - stage._tasks
            assert own or strategy == "list"  # a lister that sleeps has no task

            await client.close()

            assert not asyncio.all_tasks() & own
            assert len([outcome async for outcome in outcomes]) == 10


@asynccontextmanager
async def taken_slots(client: SieveClient, slots: int, until: float) -> AsyncIterator[None]:
    """Take all slots of a client with slow lookups until then, or until the block is left."""

    async def take() -> None:
        while now() < until:
            await client.get_job("slow")

    takers = [asyncio.create_task(take()) for _ in range(slots + 1)]
    await asyncio.sleep(0.2)
    yield
    for taker in takers:
        taker.cancel()
    await asyncio.gather(*takers, return_exceptions=True)


def play_slow(asked: RawRequest) -> Script:
    """Answer for jobs that run, for some of them slowly."""
    return [3.0 if asked.job_id == "slow" else 0.0, *respond(job_document(asked.job_id))]


@pytest.mark.looptime
async def test_no_burst_of_looks() -> None:
    """Looks that could not be made while others took all slots are not made up for at once."""
    limits = Limits(max_connections=64, polls_per_second=20)
    async with (
        ScriptedServer(play_slow) as stage,
        stage.client(limits=limits) as client,
        taken_slots(client, 64, until=1),
    ):
        await client.wait_for_jobs([f"a{number}" for number in range(200)], timeout=10)

        looks = [asked for asked in stage.polls if asked.job_id != "slow"]
        assert sum(3 <= asked.at < 3.25 for asked in looks) <= 10
        assert len(looks) >= 100


@pytest.mark.looptime
async def test_slots_that_are_always_taken() -> None:
    """Though others take all slots all the time, a watch gets on, at its own pace at the most."""
    limits = Limits(max_connections=4, polls_per_second=20)
    async with (
        ScriptedServer(play_slow) as stage,
        stage.client(limits=limits) as client,
        taken_slots(client, 4, until=1e9),
    ):
        await client.wait_for_jobs(["a", "b", "c"], timeout=60)

        looks = [asked for asked in stage.polls if asked.job_id != "slow"]
        assert {asked.job_id for asked in looks} == {"a", "b", "c"}
        assert 10 <= len(looks) <= 200
        assert max_per_second([asked.at for asked in looks]) <= 20


@pytest.mark.looptime
async def test_shared_stream() -> None:
    """Tasks that share a stream of outputs get each of them once."""

    def play(asked: RawRequest) -> Script:
        ends = now() >= 5
        count = 6 if ends else 3
        values = [{"data": number} for number in range(asked.offset, count)]
        return [
            0.1,
            *respond(job_document("a", "finished" if ends else "processing", outputs=values)),
        ]

    seen: list[Any] = []
    async with ScriptedServer(play) as stage, stage.client() as client:
        stream = client.stream_outputs("a")

        async def take() -> None:
            seen.extend([getattr(output, "data", None) async for output in stream])

        await asyncio.gather(take(), take(), take())

        assert sorted(seen) == [0, 1, 2, 3, 4, 5]
        await assert_no_more_requests(client, stage.requests)
