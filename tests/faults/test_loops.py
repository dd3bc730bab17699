"""Fault class K: other loops and kinds of loops, other processes, and closed clients."""

import asyncio
import copy
import importlib.util
import json
import logging
import os
import pickle
import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from helpers.asserts import assert_idle, ids_of
from helpers.leak_checks import KEY, error_of
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    finished_job,
    job_document,
    respond,
    running_job,
    version_json,
)
from sieve_async import (
    ClientClosedError,
    InvalidArgumentError,
    Limits,
    PollPolicy,
    SieveClient,
    WaitTimeoutError,
)

Call: TypeAlias = Callable[[SieveClient], Awaitable[object]]

IDS = ["job-2", "job-3", "job-4"]
STRATEGIES: list[Any] = ["poll", "long_poll", "list"]


async def enter(client: SieveClient) -> None:
    """Enter its block."""
    await client.__aenter__()


async def watch(client: SieveClient) -> None:
    """Take the first step of a watch."""
    await anext(client.as_completed([JOB]))


async def watch_in_a_block(client: SieveClient) -> None:
    """Enter the block of a watch."""
    async with client.as_completed([JOB]):
        raise AssertionError


async def stream(client: SieveClient) -> None:
    """Take the first step of a stream."""
    await anext(client.stream_outputs(JOB))


CALLS: dict[str, Call] = {
    "get_job": lambda client: client.get_job(JOB),
    "get_version": lambda client: client.get_version("o", "f"),
    "wait_for_job": lambda client: client.wait_for_job(JOB),
    "wait_for_job, long_poll": lambda client: client.wait_for_job(JOB, strategy="long_poll"),
    "wait_until_ready": lambda client: client.wait_until_ready("o", "f"),
    "wait_for_jobs": lambda client: client.wait_for_jobs([JOB]),
    "wait_for_jobs, sweep": lambda client: client.wait_for_jobs([JOB], strategy="list"),
    "as_completed": watch,
    "as_completed in a block": watch_in_a_block,
    "stream_outputs": stream,
    "async with": enter,
}


async def refused(client: SieveClient) -> dict[str, str]:
    """What each call says that is refused."""
    said = {}
    for name, call in CALLS.items():
        error = await error_of(call(client))
        assert isinstance(error, ClientClosedError), name
        said[name] = str(error)
    assert_idle(client)
    return said


async def test_closed_client() -> None:
    """Every call of a closed client says so; wrong arguments are told of first."""
    async with ScriptedServer(lambda asked: finished_job(asked.job_id)) as stage:
        async with stage.client() as client:
            await client.get_job(JOB)
        before = len(stage.requests)

        said = await refused(client)

        assert set(said.values()) == {"the client is closed"}
        assert isinstance(await error_of(client.get_job("a/b")), InvalidArgumentError)
        await client.close()
        assert len(stage.requests) == before


async def test_client_that_was_never_used() -> None:
    """A client that is closed before it was used is closed all the same."""
    client = SieveClient(KEY, base_url="http://127.0.0.1:1")
    await client.close()

    assert set((await refused(client)).values()) == {"the client is closed"}


async def test_each_call_on_another_loop() -> None:
    """Every call on another loop says so, and leaves the client to its own loop."""
    async with (
        ScriptedServer(lambda asked: finished_job(asked.job_id)) as stage,
        stage.client() as client,
    ):
        await client.get_job(JOB)
        said = await asyncio.to_thread(asyncio.run, refused(client))
        closing = await asyncio.to_thread(asyncio.run, error_of(client.close()))

        assert all("another event loop" in reason for reason in {*said.values(), str(closing)})
        assert not client.closed
        assert (await client.get_job(JOB)).succeeded


def test_each_call_after_the_loop_has_ended() -> None:
    """Every call says so when the loop of the client is gone; it can still be closed."""
    client = SieveClient(KEY, base_url="http://127.0.0.1:1")
    asyncio.run(enter(client))

    said = asyncio.run(refused(client))
    asyncio.run(client.close())

    assert all("another event loop" in reason for reason in said.values())
    assert client.closed


def fork() -> int:
    """Fork, whatever other threads there may be: the child does without them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


async def test_each_call_in_a_fork() -> None:
    """Every call in a forked child says so, and the parent's connections go on."""
    async with (
        ScriptedServer(lambda asked: finished_job(asked.job_id)) as stage,
        stage.client() as client,
    ):
        await client.get_job(JOB)
        reading, writing = os.pipe()
        if fork() == 0:  # pragma: no cover - another process
            step = refused(client).__await__()
            try:
                next(step)
            except StopIteration as stop:
                os.write(writing, json.dumps(stop.value).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = json.loads(await asyncio.to_thread(pipe.read))
        await asyncio.to_thread(os.wait)

        assert said.keys() == CALLS.keys()
        assert all("another process" in reason for reason in said.values())
        assert (await client.get_job(JOB)).succeeded
        assert stage.connections == 1


def lively(asked: RawRequest) -> Script:
    """Jobs and versions that end at the third look, lists of those that run, one that is silent."""
    if asked.job_id == "silent":
        return [Action.SILENCE]
    if asked.is_list:
        rows = [job_document(job_id) for job_id in IDS[asked.times :]]
        return respond({"data": rows, "next_offset": -1})
    if asked.job_id == "v2":
        return respond(version_json(build_status="building" if asked.times < 2 else "ready"))
    return finished_job(asked.job_id) if asked.times >= 2 else running_job(asked.job_id)


async def everything() -> None:
    """Do once all that a client can do."""
    quick = PollPolicy(min_interval=0.05, max_interval=0.05)
    async with (
        ScriptedServer(lively) as stage,
        stage.client(polling=quick, limits=Limits()) as client,
    ):
        assert (await client.get_job(JOB)).id == JOB
        assert (await client.wait_until_ready("o", "f", timeout=20)).is_ready
        assert (await client.wait_for_job(JOB, timeout=20)).succeeded
        assert (await client.wait_for_job("job-9", strategy="long_poll", timeout=20)).succeeded
        for strategy in STRATEGIES:
            outcomes = await client.wait_for_jobs(IDS, strategy=strategy, timeout=20)
            assert ids_of(outcomes) == IDS
            assert all(outcome.ok for outcome in outcomes)
        assert len([output async for output in client.stream_outputs("job-7", timeout=20)]) == 1
        assert isinstance(await error_of(client.wait_for_job("silent", timeout=0.1)), TimeoutError)
        (outcome,) = await client.wait_for_jobs(["silent"], timeout=0.1)
        assert isinstance(outcome.error, WaitTimeoutError)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.get_job("silent")
        task = asyncio.create_task(client.wait_for_job("silent"))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        left = asyncio.create_task(client.wait_for_job("silent"))
        await asyncio.sleep(0.05)
        check_quiet_but_one(client)
    assert isinstance(await error_of(left), ClientClosedError)


def check_quiet_but_one(client: SieveClient) -> None:
    """One wait goes on."""
    assert (client.stats.waits, client.stats.in_flight, client.stats.queued) == (1, 1, 0)


def plain() -> asyncio.AbstractEventLoop:
    """The loop of the standard library."""
    return asyncio.SelectorEventLoop()


def eager() -> asyncio.AbstractEventLoop:
    """The same with tasks that begin at once."""
    loop = plain()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory", None))
    return loop


def debugging() -> asyncio.AbstractEventLoop:
    """The same, watching for mistakes."""
    loop = plain()
    loop.set_debug(True)
    loop.slow_callback_duration = 60.0  # other programs may be the slow ones
    return loop


LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [plain, debugging]
if sys.version_info >= (3, 12):
    LOOPS.append(eager)
if importlib.util.find_spec("uvloop") is not None:  # where somebody has it
    LOOPS.append(importlib.import_module("uvloop").new_event_loop)


@pytest.mark.parametrize("factory", LOOPS, ids=lambda factory: factory.__name__)
def test_each_kind_of_loop(
    factory: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    """All that a client can do works on each kind of loop, and no loop complains."""
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(everything())

    complaints = [
        record.getMessage()
        for record in caplog.records
        if record.name == "asyncio" and record.levelno >= logging.WARNING
    ]
    assert complaints == []


def copied(value: object) -> object:
    """Copy it."""
    return copy.copy(value)


def deeply_copied(value: object) -> object:
    """Copy it with all that it holds."""
    return copy.deepcopy(value)


@pytest.mark.parametrize("twin", [copied, deeply_copied, pickle.dumps])
async def test_copies(twin: Callable[[object], object]) -> None:
    """A client, a watch and a stream are one of a kind: what a copy would end, the other uses."""
    async with ScriptedServer(lively) as stage, stage.client() as client:
        outcomes, outputs = client.as_completed(IDS), client.stream_outputs(JOB)
        async with outcomes, outputs:
            for original in (client, outcomes, outputs):
                with pytest.raises(TypeError, match="cannot be copied or pickled") as caught:
                    twin(original)
                assert KEY not in str(caught.value)

            assert sorted(ids_of([outcome async for outcome in outcomes])) == IDS
        assert_idle(client)
