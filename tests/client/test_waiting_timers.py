"""Timers, cancellations and answers that come in the same turn of the loop."""

import asyncio
import socket
import threading

import pytest

from helpers.raw_server import Action, RawServer, Script, job_json, respond
from sieve_async import Job, Limits, RetryPolicy, SieveClient, Timeout, WaitTimeoutError

ONCE = RetryPolicy(max_attempts=1)


def cancel_after(turns: int, tasks: list[asyncio.Task[Job]], accepted: list[bool]) -> None:
    """Cancel the tasks some turns of the loop from now, noting which took it."""
    if turns > 0:
        asyncio.get_running_loop().call_soon(cancel_after, turns - 1, tasks, accepted)
    else:
        accepted.extend(task.cancel() for task in tasks)


@pytest.mark.looptime
@pytest.mark.parametrize("is_set_first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("turns", range(5))
async def test_cancel_when_the_attempt_timer_fires(turns: int, *, is_set_first: bool) -> None:
    """A cancellation at the moment of the timer is never lost: 100 of 100, ten times over."""
    loop = asyncio.get_running_loop()
    accepted: list[bool] = []
    tasks: list[asyncio.Task[Job]] = []
    async with (
        RawServer([Action.SILENCE]) as wire,
        wire.client(
            timeout=Timeout(request=5), retry=ONCE, limits=Limits(max_connections=100)
        ) as client,
    ):
        if is_set_first:
            loop.call_at(loop.time() + 5, cancel_after, turns, tasks, accepted)
        tasks.extend(asyncio.create_task(client.get_job("job-1")) for _ in range(100))
        await asyncio.sleep(1)
        if not is_set_first:
            loop.call_at(loop.time() + 4, cancel_after, turns, tasks, accepted)

        await asyncio.gather(*tasks, return_exceptions=True)

    # A task that has ended refuses to be cancelled; each of the others must end as cancelled.
    assert [task.cancelled() for task in tasks] == accepted
    assert turns >= 2 or all(accepted)


@pytest.mark.looptime
async def test_cancel_when_the_deadline_comes() -> None:
    """The same for the deadline of a wait."""
    loop = asyncio.get_running_loop()
    accepted: list[bool] = []
    limits = Limits(max_connections=100)
    async with RawServer([Action.SILENCE]) as wire, wire.client(limits=limits) as client:
        tasks = [asyncio.create_task(client.wait_for_job("job-1", timeout=5)) for _ in range(100)]
        await asyncio.sleep(1)
        loop.call_at(loop.time() + 4, cancel_after, 0, tasks, accepted)

        await asyncio.gather(*tasks, return_exceptions=True)

    assert all(task.cancelled() for task in tasks)


@pytest.mark.looptime
@pytest.mark.parametrize("phase", ["slot", "headers", "body", "backoff", "between polls"])
async def test_deadline_in_each_phase(phase: str) -> None:
    """The deadline of a wait ends each phase of it, at most 0.1 s late."""
    loop = asyncio.get_running_loop()
    running = respond(job_json(status="processing"))
    cut_short = [step[:-10] for step in running if isinstance(step, bytes)]
    scripts: dict[str, Script] = {
        "slot": [Action.SILENCE],
        "headers": [Action.SILENCE],
        "body": [*cut_short, Action.SILENCE],
        "backoff": respond(status=503),
        "between polls": running,
    }
    retry = RetryPolicy(initial_delay=100, max_delay=100)
    async with (
        RawServer(scripts[phase]) as wire,
        wire.client(limits=Limits(max_connections=1), retry=retry) as client,
    ):
        blocker = asyncio.create_task(_hold_the_slot(client, phase))
        await asyncio.sleep(0)
        started = loop.time()

        with pytest.raises(WaitTimeoutError) as caught:
            await client.wait_for_job("job-1", timeout=7)

        assert 7 <= loop.time() - started <= 7.1
        assert caught.value.elapsed == pytest.approx(7, abs=0.1)
        blocker.cancel()
        await asyncio.gather(blocker, return_exceptions=True)


async def _hold_the_slot(client: SieveClient, phase: str) -> None:
    if phase == "slot":
        await client.get_job("job-2")


async def test_answer_that_comes_with_the_deadline() -> None:
    """An answer that has arrived wins over the deadline when a busy loop sees both at once."""
    loop = asyncio.get_running_loop()
    may_answer, has_answered = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    script = b"".join(
        step for step in respond(job_json(status="finished")) if isinstance(step, bytes)
    )

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, listener:
            connection.recv(65536)
            may_answer.wait()
            connection.sendall(script)
            has_answered.set()
            connection.recv(1)  # until the client has gone

    def be_busy_past_the_deadline() -> None:
        may_answer.set()
        has_answered.wait()
        while loop.time() < started + 0.25:
            pass

    async with SieveClient("k", base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
        serving = loop.run_in_executor(None, serve)
        started = loop.time()
        waiting = asyncio.create_task(client.wait_for_job("job-1", timeout=0.2))
        loop.call_at(started + 0.1, be_busy_past_the_deadline)

        ended = await waiting

    await serving
    assert ended.succeeded
