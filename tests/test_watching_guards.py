"""What guards the watch of many jobs: odd sources, thousands that end at once, a refused key."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from helpers.asserts import assert_idle, assert_no_more_requests, ids_of, yield_to_loop
from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.raw_server import RawRequest, Script, ScriptedServer, finished_job, running_job
from sieve_async import (
    AuthenticationError,
    Limits,
    PollPolicy,
    RetryPolicy,
    SieveClient,
    WaitTimeoutError,
)
from sieve_async.gate import Gate
from sieve_async.messages import Response
from sieve_async.polling import Asking, LongPolls
from sieve_async.retry import Retrier
from sieve_async.testing import FakeSieve
from sieve_async.watching import Strategy, Watcher


class OwnError(Exception):
    """An error of the caller."""


async def ids_then_silence(ids: list[str], error: BaseException | None) -> AsyncIterator[str]:
    """Give ids, then nothing; fail while it is stopped, if there is something to fail with."""
    for job_id in ids:
        yield job_id
    try:
        await asyncio.Event().wait()
    finally:
        if error is not None:
            raise error


@pytest.mark.looptime
@pytest.mark.parametrize("number", [3, 4500])
async def test_source_that_fails_when_stopped(number: int) -> None:
    """What a source raises while the deadline stops it comes after all outcomes, and once."""
    ids = [f"{place}" for place in range(number)]
    async with (
        ScriptedServer(lambda asked: running_job(asked.job_id)) as stage,
        stage.client() as client,
    ):
        outcomes = client.as_completed(ids_then_silence(ids, OwnError()), timeout=5)
        seen = []

        with pytest.raises(OwnError):  # noqa: PT012 - a loop is one statement
            async for outcome in outcomes:
                seen.append(outcome)  # noqa: PERF401 - the error would take a comprehension along

        assert sorted(ids_of(seen)) == sorted(ids)
        assert all(isinstance(outcome.error, WaitTimeoutError) for outcome in seen)
        assert [outcome async for outcome in outcomes] == []
        await assert_no_more_requests(client, stage.requests)


@pytest.mark.looptime
async def test_source_that_cancels_itself(sieve: FakeSieve, client: SieveClient) -> None:
    """A cancellation that comes out of the source itself ends the iterator as any error does."""
    sieve.add_job("a", processing=600)

    async def cancelled() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(3)
        raise asyncio.CancelledError

    outcomes = client.as_completed(cancelled())
    with pytest.raises(asyncio.CancelledError):
        await anext(outcomes)

    assert [outcome async for outcome in outcomes] == []
    await assert_no_more_requests(client, sieve.requests)


@pytest.mark.looptime
async def test_source_that_swallows_its_stop(sieve: FakeSieve, client: SieveClient) -> None:
    """A source that goes on after it was stopped has no further id taken from it."""
    taken: list[str] = []

    async def stubborn() -> AsyncIterator[str]:
        for number in itertools.count():
            taken.append(sieve.add_job(f"{number}", processing=600))
            yield taken[-1]
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                continue

    seen = [outcome async for outcome in client.as_completed(stubborn(), timeout=4.5)]

    assert ids_of(seen) == taken[:5]
    await assert_no_more_requests(client, sieve.requests)
    assert len(taken) <= 6


class Both:
    """An asynchronous source of known length that is no other iterable."""

    def __len__(self) -> int:
        return 3

    async def __aiter__(self) -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}"
            await asyncio.sleep(2)


@pytest.mark.looptime
async def test_asynchronous_source_of_known_length(sieve: FakeSieve, client: SieveClient) -> None:
    """At the deadline the ids that were not taken yet are left, though their number is known."""
    for number in range(3):
        sieve.add_job(f"{number}", processing=600)

    seen = [outcome async for outcome in client.as_completed(Both(), timeout=3)]

    assert ids_of(seen) == ["0", "1"]


@pytest.mark.looptime
@pytest.mark.parametrize("is_stopped", [False, True])
async def test_deadline_of_thousands(is_stopped: bool) -> None:  # noqa: FBT001
    """At a deadline of thousands others have their turn in between, and a stop then ends all."""
    ids = [f"{number}" for number in range(6500)]
    async with (
        ScriptedServer(lambda asked: running_job(asked.job_id)) as stage,
        stage.client() as client,
    ):
        outcomes = client.as_completed(ids, timeout=1)
        seen = [await anext(outcomes)]
        if is_stopped:
            assert 0 < client.stats.waits < len(ids)
            await outcomes.aclose()
        seen += [outcome async for outcome in outcomes]

        assert sorted(ids_of(seen)) == (ids_of(seen[:1]) if is_stopped else sorted(ids))
        await outcomes.aclose()
        await assert_no_more_requests(client, stage.requests)


@pytest.mark.looptime
@pytest.mark.parametrize("is_shared", [False, True])
async def test_stop_of_thousands(is_shared: bool) -> None:  # noqa: FBT001
    """Whoever stops watching thousands has left all of them when that is done, and no others."""
    ids = [f"{number}" for number in range(4500)]
    async with (
        ScriptedServer(lambda asked: running_job(asked.job_id)) as stage,
        stage.client() as client,
    ):
        other = client.as_completed(ids[:2500])
        async with client.as_completed(ids):
            await yield_to_loop(100)
            assert client.stats.waits == len(ids)
            if is_shared:
                await other.__aenter__()
                await yield_to_loop(100)
        assert client.stats.waits == (2500 if is_shared else 0)
        await other.aclose()
        await assert_no_more_requests(client, stage.requests)


@pytest.mark.looptime
async def test_end_of_all_tasks() -> None:
    """Whoever cancels every task of the program reaches those that wait for outcomes as well."""

    def reply(asked: RawRequest) -> Script:
        return [5.0, *running_job(asked.job_id)]

    async with ScriptedServer(reply) as stage, stage.client() as client:
        before = asyncio.all_tasks()
        async with client.as_completed(["a", "b"]) as outcomes:
            await asyncio.sleep(1)
            for task in asyncio.all_tasks() - before:
                if "Crew" in repr(task.get_coro()):
                    task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await anext(outcomes)
            assert [outcome async for outcome in outcomes] == []
        assert_idle(client)


@pytest.mark.looptime
@pytest.mark.parametrize("strategy", ["poll", "long_poll"])
async def test_revoked_key_costs_few_requests(sieve: FakeSieve, strategy: Strategy) -> None:
    """Once the key is refused, one look confirms it, and none is spent on the other jobs."""
    ids = [sieve.add_job(f"{number}", processing=3600) for number in range(100)]
    async with SieveClient(KEY, base_url=sieve.url) as client:
        waiting = asyncio.create_task(client.wait_for_jobs(ids, strategy=strategy))
        await asyncio.sleep(60)
        sieve.revoke_key()

        outcomes = await waiting

    assert {type(outcome.error) for outcome in outcomes} == {AuthenticationError}
    refused = sum(entry.status == 401 for entry in sieve.requests)
    assert refused <= 10


@pytest.mark.looptime
async def test_closing_after_the_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """What the deadline has ended stays so, though the client is closed before it is taken."""
    ids = [sieve.add_job(f"{number}", processing=600) for number in range(3)]

    async with client.as_completed(ids, timeout=5) as outcomes:
        await asyncio.sleep(10)
        await client.close()
        seen = [outcome async for outcome in outcomes]

    assert ids_of(seen) == ids
    for outcome in seen:
        assert isinstance(outcome.error, WaitTimeoutError)
        assert outcome.error.elapsed == pytest.approx(5, abs=0.1)


@pytest.mark.looptime
async def test_last_looks_of_a_slow_server() -> None:
    """However short the time, the last looks at a slow server begin so early that they count."""

    def reply(asked: RawRequest) -> Script:
        return [0.8, *(finished_job(asked.job_id) if asked.times else running_job(asked.job_id))]

    policy = PollPolicy(min_interval=60, max_interval=60)
    async with ScriptedServer(reply) as stage, stage.client(polling=policy) as client:
        outcomes = await client.wait_for_jobs([f"{number}" for number in range(20)], timeout=3)

    assert [outcome.ok for outcome in outcomes] == [True] * 20
    assert now() <= 3


@pytest.mark.looptime
async def test_broken_source_of_thousands() -> None:
    """What the source of thousands raises is raised, though looks come back at that moment."""
    limits = Limits(polls_per_second=None)

    async def broken() -> AsyncIterator[str]:
        for number in range(6500):
            yield f"{number}"
        await yield_to_loop(60)
        raise OwnError

    async with (
        ScriptedServer(lambda asked: finished_job(asked.job_id)) as stage,
        stage.client(limits=limits) as client,
        client.as_completed(broken()) as outcomes,
        asyncio.timeout(600),
    ):
        seen = []
        with pytest.raises(OwnError):  # noqa: PT012 - a loop is one statement
            async for outcome in outcomes:
                seen.append(outcome)  # noqa: PERF401 - the error would take a comprehension along
        assert all(outcome.ok for outcome in seen)
        assert [outcome async for outcome in outcomes] == []


@pytest.mark.looptime
@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_mistake_of_ours(strategy: Strategy) -> None:
    """An error that nobody has thought of reaches each call, and nobody waits on."""

    async def send(*_: Any, **__: Any) -> Response:
        raise OwnError

    gate = Gate(slots=4, steady_rate=None, clock=now)
    asking = Asking(Retrier(RetryPolicy(), gate, send, now), now, None)
    watcher = Watcher(asking, LongPolls(4), gate, most_workers=4, per_second=None)
    for seconds in (None, 600):
        batches = [
            watcher.begin(
                ["a", "b", "c"], most=10, policy=PollPolicy(), strategy=strategy, seconds=seconds
            )
            for _ in range(2)
        ]
        for batch in batches:
            with pytest.raises(OwnError):
                await batch.next()
            with pytest.raises(StopAsyncIteration):
                await batch.next()

    assert watcher.going_on == 0
    assert now() <= 0.5
