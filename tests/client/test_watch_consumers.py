"""Taking the outcomes of many jobs: their order, several takers, and what comes after the end."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from helpers.asserts import assert_no_more_requests, ids_of, yield_to_loop
from helpers.http_helpers import now
from helpers.leak_checks import KEY
from sieve_async import (
    ClientClosedError,
    JobOutcome,
    JobWatch,
    Limits,
    PollPolicy,
    SieveClient,
    WrongEventLoopError,
)
from sieve_async.testing import FakeSieve


@pytest.mark.looptime
async def test_order_of_the_ends(sieve: FakeSieve, client: SieveClient) -> None:
    """Outcomes come as the ends are seen, each soon after its end, whatever the order asked."""
    ids = [sieve.add_job(f"{number}", processing=100 - 10 * number) for number in range(10)]
    started = now()

    outcomes = client.as_completed(ids)
    seen = [(outcome.job_id, now() - started) async for outcome in outcomes]

    assert [job_id for job_id, _ in seen] == ids[::-1]
    for job_id, at in seen:
        duration = 100 - 10 * int(job_id)
        assert duration <= at <= duration * 1.0625 + 0.7


@pytest.mark.looptime
async def test_block_begins_the_watch(sieve: FakeSieve, client: SieveClient) -> None:
    """The watch begins with the block; outcomes are kept until somebody takes them."""
    sieve.add_job("a", processing=1)
    sieve.add_job("b", processing=2)

    async with client.as_completed(["b", "a", "none"]) as outcomes:
        assert isinstance(outcomes, JobWatch)
        await asyncio.sleep(10)
        before = now()
        seen = [outcome async for outcome in outcomes]

    assert ids_of(seen) == ["none", "a", "b"]
    assert now() == before


@pytest.mark.looptime
async def test_after_the_end(sieve: FakeSieve, client: SieveClient) -> None:
    """An iterator that has ended, or was closed, stays so, and asks nothing."""
    sieve.add_job("a")
    outcomes = client.as_completed(["a"])
    closed = client.as_completed(["a"])
    never_used = client.as_completed(["a"])

    assert ids_of([outcome async for outcome in outcomes]) == ["a"]
    assert [outcome async for outcome in outcomes] == []
    await outcomes.aclose()
    await closed.aclose()
    assert [outcome async for outcome in outcomes] == []
    assert [outcome async for outcome in closed] == []

    del never_used
    assert len(sieve.requests) == 1
    await assert_no_more_requests(client, sieve.requests)


@pytest.mark.looptime
async def test_closed_with_outcomes_left(sieve: FakeSieve, client: SieveClient) -> None:
    """What was not taken before the iterator was closed is not handed out afterwards."""
    for job_id in "abc":
        sieve.add_job(job_id)

    async with client.as_completed(list("abc")) as outcomes:
        first = await anext(outcomes)
        await asyncio.sleep(1)

    assert first.ok
    with pytest.raises(StopAsyncIteration):
        await anext(outcomes)


@pytest.mark.looptime
async def test_two_takers(sieve: FakeSieve, client: SieveClient) -> None:
    """Several tasks may take from one iterator: each outcome once, and all of them end."""
    ids = [sieve.add_job(f"{number}", processing=number % 17) for number in range(300)]
    outcomes = client.as_completed(ids)

    async def take() -> list[str]:
        seen = []
        async for outcome in outcomes:
            seen.append(outcome.job_id)
            await asyncio.sleep(0.1)
        return seen

    takes = await asyncio.gather(*(take() for _ in range(5)))

    assert sorted(itertools.chain(*takes)) == sorted(ids)
    assert all(takes)


@pytest.mark.looptime
async def test_takers_of_a_closed_iterator(sieve: FakeSieve, client: SieveClient) -> None:
    """Closing the iterator ends all who wait for its next outcome."""
    sieve.add_job("a", processing=600)
    outcomes = client.as_completed(["a"])
    takers = [asyncio.create_task(anext(outcomes, None)) for _ in range(3)]
    await asyncio.sleep(5)

    await outcomes.aclose()

    assert await asyncio.gather(*takers) == [None, None, None]


@pytest.mark.looptime
async def test_takers_of_a_broken_source(client: SieveClient) -> None:
    """What the source raises is raised once, and the other takers end."""

    class OwnError(Exception):
        pass

    async def broken() -> AsyncIterator[str]:
        for job_id in await asyncio.sleep(1, ["a"]):
            if job_id == "a":
                raise OwnError
            yield job_id

    outcomes = client.as_completed(broken())
    takers = [asyncio.create_task(anext(outcomes, None)) for _ in range(3)]

    ends = await asyncio.gather(*takers, return_exceptions=True)

    assert sorted(type(end).__name__ for end in ends) == ["NoneType", "NoneType", "OwnError"]


@pytest.mark.looptime
async def test_cancelled_taker_loses_nothing(sieve: FakeSieve, client: SieveClient) -> None:
    """Whoever gives up waiting for the next outcome takes none away from the next who asks."""
    ids = [sieve.add_job(f"{number}", processing=number / 10) for number in range(100)]
    seen: list[str] = []

    async with client.as_completed(ids) as outcomes:
        while len(seen) < len(ids):
            try:
                seen.append((await asyncio.wait_for(anext(outcomes), 0.03)).job_id)
            except TimeoutError:
                continue
        with pytest.raises(StopAsyncIteration):
            await anext(outcomes)

    assert sorted(seen) == sorted(ids)


async def test_cancelled_taker_at_every_turn(sieve: FakeSieve, client: SieveClient) -> None:
    """Whichever turn the cancellation of a taker comes in, no outcome is lost."""
    ids = [sieve.add_job(f"{number}") for number in range(60)]
    seen: list[str] = []

    async with client.as_completed(ids) as outcomes:
        for number in range(60):
            taker: asyncio.Future[JobOutcome] = asyncio.ensure_future(anext(outcomes))
            await yield_to_loop(number)
            taker.cancel()
            await asyncio.wait([taker])
            if not taker.cancelled():
                seen.append(taker.result().job_id)
        seen += [outcome.job_id async for outcome in outcomes]

    assert sorted(seen) == sorted(ids)


@pytest.mark.looptime
@pytest.mark.parametrize("max_pending_jobs", [100_000, 10])
@pytest.mark.parametrize("pause", [0, 0.0001, 0.5, 10])
async def test_closing_the_client(sieve: FakeSieve, max_pending_jobs: int, pause: float) -> None:
    """When the client is closed, each job of a list has one outcome, those untaken as well."""
    ids = [sieve.add_job(f"{number}", processing=600) for number in range(200)]
    sieve.add_job("early", processing=0)
    ids.insert(0, "early")
    limits = Limits(max_pending_jobs=max_pending_jobs)
    client = SieveClient(KEY, base_url=sieve.url, limits=limits)

    async with client.as_completed(ids) as outcomes:
        listed = asyncio.create_task(client.wait_for_jobs([*ids, "early"]))
        await asyncio.sleep(pause)
        before = len(sieve.requests)
        await client.close()
        seen = [outcome async for outcome in outcomes]
        for some, expected in ((seen, ids), (await listed, [*ids, "early"])):
            assert sorted(ids_of(some)) == sorted(expected)
            for outcome in some:
                is_early = outcome.job_id == "early" and pause > 0.1
                assert outcome.ok == is_early or outcome.job_id == "early"
                assert outcome.ok or isinstance(outcome.error, ClientClosedError)

    await assert_no_more_requests(client, sieve.requests)
    assert len(sieve.requests) <= before + 2


@pytest.mark.parametrize("number_of_jobs", [3, 250])
async def test_closing_at_every_turn(sieve: FakeSieve, number_of_jobs: int) -> None:
    """Whichever turn the client is closed in, each job has one outcome, and nobody waits on."""
    ids = [sieve.add_job(f"{number}", processing=600) for number in range(number_of_jobs)]
    ids.append(sieve.add_job("ended"))
    limits = Limits(max_connections=2, polls_per_second=None)
    for number in range(60):
        client = SieveClient(KEY, base_url=sieve.url, limits=limits)
        async with asyncio.timeout(5), client.as_completed(ids) as outcomes:
            await yield_to_loop(number)
            await client.close()
            seen = [outcome async for outcome in outcomes]

        assert sorted(ids_of(seen)) == sorted(ids)
        assert {type(o.error) for o in seen} <= {ClientClosedError, type(None)}


async def test_closed_client(sieve: FakeSieve, client: SieveClient) -> None:
    """A client that was closed watches nothing, and says so at the first step."""
    await client.close()

    with pytest.raises(ClientClosedError):
        await anext(client.as_completed(["a"]))
    with pytest.raises(ClientClosedError):
        async with client.as_completed(["a"]):
            pass
    with pytest.raises(ClientClosedError):
        await client.wait_for_jobs(["a"])

    assert not sieve.requests


async def test_another_loop(sieve: FakeSieve, client: SieveClient) -> None:
    """A client that lives on one loop says so when many jobs are watched on another."""
    sieve.add_job("a")
    assert (await client.wait_for_jobs(["a"]))[0].ok

    async def take() -> None:
        await anext(client.as_completed(["a"]))

    def on_another_loop() -> None:
        for call in (take(), client.wait_for_jobs(["a"])):
            with pytest.raises(WrongEventLoopError):
                asyncio.run(call)

    await asyncio.to_thread(on_another_loop)
    assert (await client.wait_for_jobs(["a"]))[0].ok


PROGRAM = """
import asyncio
from sieve_async import SieveClient
from sieve_async.testing import FakeSieve

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # the machine may be slow
    async with FakeSieve() as sieve:
        client = SieveClient(sieve.api_key, base_url=sieve.url)
        ids = [sieve.add_job(processing=600) for _ in range(500)]
        global left
        left = client.as_completed(ids)
        taking = asyncio.create_task(anext(left))
        await asyncio.sleep(0.5)
        {end}

asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["await client.close()", "await client.close(); taking.cancel()"])
def test_end_of_the_program(end: str) -> None:
    """A program that ends while it watches ends at once and in silence."""
    program = [sys.executable, "-X", "dev", "-c", PROGRAM.format(end=end)]
    ran = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.looptime
async def test_policy_of_the_call(sieve: FakeSieve, client: SieveClient) -> None:
    """The ``polling`` of a call replaces that of the client."""
    sieve.add_job("a", processing=100)
    policy = PollPolicy(min_interval=20, max_interval=20, growth=0, jitter=0)

    await client.wait_for_jobs(["a"], polling=policy)

    assert sieve.requests_for("a") == 6
