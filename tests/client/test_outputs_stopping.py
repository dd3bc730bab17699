"""How a stream of outputs stops: at its deadline, by its caller, with its client."""

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeAlias

import pytest

from helpers.http_helpers import now
from helpers.job_snapshots import (
    collect_outputs,
    finished,
    output_value,
    running,
    serve_snapshots,
    stream_job,
)
from helpers.leak_checks import check_error
from helpers.raw_server import Action, RawServer, respond
from sieve_async import ClientClosedError, PollPolicy, SieveClient, WaitTimeoutError
from sieve_async.testing import FakeSieve

Leave: TypeAlias = Callable[[SieveClient], Awaitable[None]]


def add_job(sieve: FakeSieve) -> str:
    """Add a job of a hundred seconds that makes an output every ten."""
    return sieve.add_job("job", processing=100, outputs=range(10), streams=True)


@pytest.mark.looptime
@pytest.mark.parametrize("limit", [35, timedelta(seconds=35)])
async def test_deadline(sieve: FakeSieve, client: SieveClient, limit: Any) -> None:
    """The deadline ends the stream, after all outputs that were there just before it."""
    job = add_job(sieve)
    found: list[Any] = []
    started = now()

    with pytest.raises(WaitTimeoutError) as caught:
        await collect_outputs(client.stream_outputs(job, timeout=limit), found)

    assert found == [0, 1, 2]
    assert 35 <= now() - started <= 35.1
    assert caught.value.target == job
    assert caught.value.polls == sieve.requests_for(job)
    assert caught.value.last is not None
    assert caught.value.last_status == "processing"
    check_error(caught.value)


@pytest.mark.looptime
async def test_deadline_in_a_look() -> None:
    """A look that is not answered by the deadline is cut off there; what came before has come."""
    scripts = respond(running("r", 1)), [Action.SILENCE]
    found: list[Any] = []
    async with RawServer(*scripts) as wire, wire.client() as client:
        started = now()
        with pytest.raises(WaitTimeoutError):
            await collect_outputs(stream_job(client, timeout=10), found)
        took = now() - started
        assert client.stats.waits == client.stats.in_flight == 0

    assert found == [1]
    assert took == pytest.approx(10, abs=0.1)


@pytest.mark.looptime
async def test_one_look(sieve: FakeSieve, client: SieveClient) -> None:
    """``timeout=0`` asks exactly once: what there is comes, and then the end or the deadline."""
    job = add_job(sieve)
    sieve.add_job("ended", outputs="ab")
    await asyncio.sleep(25)
    ended: list[Any] = []
    found: list[Any] = []

    await collect_outputs(client.stream_outputs("ended", timeout=0), ended)
    with pytest.raises(WaitTimeoutError) as caught:
        await collect_outputs(client.stream_outputs(job, timeout=0), found)

    assert (ended, found) == (["a", "b"], [0, 1])
    assert sieve.requests_for("ended") == sieve.requests_for(job) == caught.value.polls == 1


@pytest.mark.looptime
async def test_nothing_is_asked_while_the_caller_is_busy(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """While the caller works on an output there is no request; what was made meanwhile follows."""
    job = add_job(sieve)
    found: list[Any] = []

    async for output in client.stream_outputs(job):
        found.append(output_value(output))
        before = len(sieve.requests)
        await asyncio.sleep(23)
        assert len(sieve.requests) == before

    assert found == list(range(10))


@pytest.mark.looptime
async def test_deadline_behind_a_busy_caller(sieve: FakeSieve, client: SieveClient) -> None:
    """When it passes while the caller is busy, what was fetched comes, and no more is asked."""
    job = add_job(sieve)
    await asyncio.sleep(35)
    found: list[Any] = []

    async def work() -> None:
        async for output in client.stream_outputs(job, timeout=10):
            found.append(output_value(output))
            await asyncio.sleep(60)

    with pytest.raises(WaitTimeoutError) as caught:
        await work()

    assert found == [0, 1, 2]
    assert caught.value.polls == len(sieve.requests) == 1


@pytest.mark.looptime
async def test_end_behind_a_busy_caller(sieve: FakeSieve, client: SieveClient) -> None:
    """An end that was seen in time is an end, however long the caller was busy with the outputs."""
    sieve.add_job("ended", outputs="abc")
    found: list[Any] = []

    async for output in client.stream_outputs("ended", timeout=10):
        found.append(output_value(output))
        await asyncio.sleep(60)

    assert found == ["a", "b", "c"]


@pytest.mark.looptime
async def test_timeout_counts_from_the_first_step(sieve: FakeSieve, client: SieveClient) -> None:
    """The time between the call and the first step does not count."""
    job = add_job(sieve)
    outputs = client.stream_outputs(job, timeout=30)
    await asyncio.sleep(60)
    found: list[Any] = []

    with pytest.raises(WaitTimeoutError) as caught:
        await collect_outputs(outputs, found)

    assert found == list(range(8))
    assert caught.value.elapsed == pytest.approx(30, abs=0.1)


async def leave_by_break(client: SieveClient) -> None:
    """Leave the loop at an output."""
    async for output in client.stream_outputs("job"):
        assert client.stats.waits == 1
        if output_value(output) == 2:
            break


async def leave_by_raising(client: SieveClient) -> None:
    """Leave the loop with an error of the caller's own."""
    with suppress(ZeroDivisionError):
        async for _ in client.stream_outputs("job"):
            raise ZeroDivisionError


async def leave_by_closing(client: SieveClient) -> None:
    """Close the stream in the middle."""
    outputs = client.stream_outputs("job")
    await anext(outputs)
    await outputs.aclose()
    assert client.stats.waits == 0


async def leave_by_dropping(client: SieveClient) -> None:
    """Drop the stream in the middle."""
    outputs = client.stream_outputs("job")
    await anext(outputs)
    del outputs


async def leave_by_cancelling(client: SieveClient) -> None:
    """Cancel a task that waits for the next output."""
    task = asyncio.create_task(collect_outputs(client.stream_outputs("job"), []))
    await asyncio.sleep(15)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.looptime
@pytest.mark.parametrize(
    "leave",
    [leave_by_break, leave_by_raising, leave_by_closing, leave_by_dropping, leave_by_cancelling],
)
async def test_left(sieve: FakeSieve, client: SieveClient, leave: Leave) -> None:
    """However the stream is left: no task, no wait, no request afterwards."""
    add_job(sieve)
    await client.get_job("job")  # the server has a task for the connection, which is kept
    before = asyncio.all_tasks()

    await leave(client)
    for _ in range(5):
        await asyncio.sleep(0)
    asked = len(sieve.requests)
    await asyncio.sleep(60)

    assert client.stats.waits == client.stats.in_flight == client.stats.queued == 0
    assert asyncio.all_tasks() == before
    assert len(sieve.requests) == asked
    assert (await client.get_job("job")).status == "processing"


async def test_cancelled_in_a_look(sieve: FakeSieve, client: SieveClient) -> None:
    """A cancellation passes in whichever turn of the loop it comes, and leaves no wait."""
    sieve.add_job("job", processing=60, outputs="ab", streams=True)
    for turns in range(30):
        task = asyncio.ensure_future(anext(client.stream_outputs("job")))
        for _ in range(turns):
            await asyncio.sleep(0)

        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        del task  # and with it the stream, which could be gone on with
        assert client.stats.waits == client.stats.in_flight == client.stats.queued == 0


@pytest.mark.looptime
async def test_closed_while_streaming(sieve: FakeSieve, client: SieveClient) -> None:
    """Closing the client ends a stream that sleeps at once, and one whose caller is busy next."""
    job = add_job(sieve)
    busy = client.stream_outputs(job)
    await anext(busy)
    sleeping = asyncio.create_task(collect_outputs(client.stream_outputs(job, offset=5), []))
    await asyncio.sleep(10)
    asked, closed_at = len(sieve.requests), now()

    await client.close()

    with pytest.raises(ClientClosedError):
        await sleeping
    with pytest.raises(ClientClosedError):
        await anext(busy)
    assert now() - closed_at < 0.1
    assert len(sieve.requests) == asked
    assert client.stats.waits == 0


@pytest.mark.looptime
async def test_close_keeps_what_was_fetched(sieve: FakeSieve, client: SieveClient) -> None:
    """What was fetched before the client was closed still comes; an end that was seen is one."""
    sieve.add_job("ended", outputs="abc")
    outputs = client.stream_outputs("ended")
    found = [output_value(await anext(outputs))]

    await client.close()
    await collect_outputs(outputs, found)

    assert found == ["a", "b", "c"]


@pytest.mark.looptime
async def test_a_stream_holds_no_output_that_it_handed_out() -> None:
    """The memory of a stream does not grow with what has passed through it."""
    data = ["x" * 100_000 + str(number) for number in range(100)]
    moments = [running("r", *data[:number]) for number in range(101)]
    async with serve_snapshots(*moments, finished("r", *data)) as server, server.client() as client:
        outputs = stream_job(client, polling=PollPolicy(min_interval=1))
        await anext(outputs)
        tracemalloc.start()
        async for _ in outputs:
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert server.offsets[-1] == "100"
    assert peak < 4_000_000  # of the 10 MB that came
