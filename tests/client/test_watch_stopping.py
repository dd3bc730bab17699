"""Each way to stop watching many jobs: nothing is asked, held or running afterwards."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from helpers.asserts import assert_idle, assert_no_more_requests, ids_of, yield_to_loop
from helpers.raw_server import Action, RawRequest, Script, ScriptedServer, finished_job, running_job
from sieve_async import Job, Limits, SieveClient
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

IDS = ["ends", "runs", "hangs", "another"]


def reply(asked: RawRequest) -> Script:
    """One job ends soon, one never answers, the others run."""
    if asked.job_id == "hangs":
        return [Action.SILENCE]
    return (
        finished_job(asked.job_id)
        if asked.job_id == "ends" and asked.times
        else running_job(asked.job_id)
    )


async def leave_block(client: SieveClient) -> None:
    """Leave the block after one outcome."""
    async with client.as_completed(IDS) as outcomes:
        await anext(outcomes)


async def break_loop(client: SieveClient) -> None:
    """Break out of a loop without a block."""
    async for _ in client.as_completed(IDS):
        break


async def close_iterator(client: SieveClient) -> None:
    """Call ``aclose``, twice."""
    outcomes = client.as_completed(IDS)
    await anext(outcomes)
    await outcomes.aclose()
    assert_idle(client)
    await outcomes.aclose()


async def drop(client: SieveClient) -> None:
    """Drop the iterator."""
    outcomes = client.as_completed(IDS)
    await anext(outcomes)
    del outcomes


async def drop_after_deadline(client: SieveClient) -> None:
    """Drop the iterator when its deadline has come and most of its outcomes are not taken."""
    outcomes = client.as_completed(IDS, timeout=1)
    await anext(outcomes)
    await asyncio.sleep(2)
    assert client.stats.waits > 0
    del outcomes


async def drop_cycle(client: SieveClient) -> None:
    """Drop an iterator that is part of a cycle, and collect it."""
    outcomes = client.as_completed(IDS)
    await anext(outcomes)
    cycle: list[object] = [outcomes]
    cycle.append(cycle)
    del outcomes, cycle
    gc.collect()


async def drop_in_thread(client: SieveClient) -> None:
    """Drop the iterator in another thread."""
    held = [client.as_completed(IDS)]
    await anext(held[0])
    await asyncio.to_thread(held.clear)


STOPS = [
    *(leave_block, break_loop, close_iterator),
    *(drop, drop_after_deadline, drop_cycle, drop_in_thread),
]


@pytest.mark.parametrize("stop", STOPS)
async def test_stopped(stop: Callable[[SieveClient], Awaitable[None]]) -> None:
    """After each way to stop, no request is sent, no task is left, and the client works."""
    async with ScriptedServer(reply) as server, server.client() as client:
        tasks = asyncio.all_tasks()
        await stop(client)
        await yield_to_loop(20)
        assert_idle(client)
        assert server.in_flight == 0
        serving = len(asyncio.all_tasks()) - len(tasks)
        assert serving <= server.connections
        await assert_no_more_requests(client, server.requests)
        [outcome] = await client.wait_for_jobs(["ends"])
        assert outcome.ok


@pytest.mark.parametrize("closes", [True, False])
async def test_stop_at_every_turn(sieve: FakeSieve, *, closes: bool) -> None:
    """Whichever turn of the loop the stop comes in, the slots are free for the next watch."""
    sieve.add_job("runs", processing=600)
    sieve.add_job("ended")
    limits = Limits(max_connections=2, polls_per_second=None)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        for number in range(40):
            outcomes = client.as_completed(["runs", "ended"])
            await outcomes.__aenter__()
            await yield_to_loop(number)
            if closes:
                await outcomes.aclose()
            del outcomes
            await yield_to_loop(10)
            assert_idle(client)
        [outcome] = await client.wait_for_jobs(["ended"])
        assert outcome.ok


async def test_one_stop_leaves_the_other(sieve: FakeSieve, client: SieveClient) -> None:
    """Of two calls for the same ids, one that stops takes nothing from the other."""
    ids = [sieve.add_job(f"{number}", processing=20) for number in range(5)]
    waiting = asyncio.create_task(client.wait_for_jobs(ids))
    for pause in (0.0, 0.1, 5.0):
        async with client.as_completed(ids):
            await asyncio.sleep(pause)
    outcomes = await waiting
    assert ids_of(outcomes) == ids
    assert all(outcome.ok for outcome in outcomes)


async def test_callback_that_fails_while_its_watch_is_left(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """What the cleanup of a cancelled callback raises ends no other watch."""
    ids = [sieve.add_job(processing=30) for _ in range(2)]

    async def on_update(_: Job) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            raise LookupError

    other = asyncio.create_task(client.wait_for_jobs(ids))
    async with client.as_completed(ids, on_update=on_update):
        await asyncio.sleep(5)
    assert all(outcome.ok for outcome in await other)


async def test_watches_of_a_job_that_runs_on(sieve: FakeSieve, client: SieveClient) -> None:
    """A watch that was left is forgotten, also while another one waits for the same job."""
    sieve.add_job("runs", processing=600)
    held = contextvars.ContextVar[object]("held")

    async def watch_briefly(seconds: float | None) -> "weakref.ref[object]":
        kept = asyncio.Event()  # it is in the context that the watch copies
        held.set(kept)
        async with client.as_completed(["runs"], timeout=seconds):
            await asyncio.sleep(1)
        return weakref.ref(kept)

    async with client.as_completed(["runs"]):
        limits = (None, 0.5, 60, None)
        left = [await asyncio.create_task(watch_briefly(seconds)) for seconds in limits]
        await asyncio.sleep(100)
        async with client.as_completed(["runs"]):
            await asyncio.sleep(1)
            gc.collect()
            assert [ref() for ref in left] == [None] * len(left)


async def test_dropped_with_a_callback_that_knows_it(sieve: FakeSieve, client: SieveClient) -> None:
    """A watch whose callback refers to it can be dropped."""
    sieve.add_job("a", processing=600)

    class Monitor:
        def __init__(self) -> None:
            self.watch = client.as_completed(["a"], on_update=self.report)

        def report(self, _: Job) -> None:
            pass

    monitor = Monitor()
    await monitor.watch.take(within=1)
    del monitor
    gc.collect()
    await asyncio.sleep(1)
    before = len(sieve.requests)
    await asyncio.sleep(100)

    assert len(sieve.requests) == before
