"""Other event loops and kinds of loops, other processes, closed clients, and a stopped process."""

import asyncio
import gc
import importlib.util
import json
import logging
import os
import signal
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
    RawServer,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_document,
    job_json,
    respond,
    running_job,
    version_json,
)
from sieve_async import (
    Limits,
    PollPolicy,
    RequestTimeoutError,
    RetryPolicy,
    SieveClient,
    WaitTimeoutError,
    errors,
)
from sieve_async.testing import FakeSieve

Call: TypeAlias = Callable[[SieveClient], Awaitable[object]]

IDS = ["job-2", "job-3", "job-4"]
STRATEGIES: list[Any] = ["poll", "long_poll", "list"]


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
    "wait_for_jobs, list": lambda client: client.wait_for_jobs([JOB], strategy="list"),
    "as_completed": lambda client: anext(client.as_completed([JOB])),
    "as_completed in a block": watch_in_a_block,
    "stream_outputs": stream,
    "async with": lambda client: client.__aenter__(),
}


async def messages_of_calls(
    client: SieveClient, expected: type[errors.SieveError] = errors.WrongEventLoopError
) -> dict[str, str]:
    """The error message of each call."""
    messages = {}
    for name, call in CALLS.items():
        error = await error_of(call(client))
        assert type(error) is expected, name
        messages[name] = str(error)
    assert_idle(client)
    return messages


async def test_closed_client() -> None:
    """Every call of a closed client raises ClientClosedError; arguments are checked first."""
    async with ScriptedServer(lambda request: finished_job(request.job_id)) as server:
        async with server.client() as client:
            await client.get_job(JOB)
        before = len(server.requests)
        messages = await messages_of_calls(client, errors.ClientClosedError)
        assert set(messages.values()) == {"the client is closed"}
        assert isinstance(await error_of(client.get_job("a/b")), errors.InvalidArgumentError)
        await client.close()
        assert len(server.requests) == before
    unused = SieveClient(KEY, base_url="http://127.0.0.1:1")
    await unused.close()
    messages = await messages_of_calls(unused, errors.ClientClosedError)
    assert set(messages.values()) == {"the client is closed"}


# A loop that is closed with pending tasks leaves them to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_close_after_the_loop_was_closed() -> None:
    """A client whose loop was closed during a wait can be closed."""

    def abandon(url: str) -> None:
        client = SieveClient("key", base_url=url)
        loop = asyncio.new_event_loop()
        task = loop.create_task(client.wait_for_job(JOB))
        loop.run_until_complete(asyncio.sleep(0.05))
        task.cancel()
        loop.close()
        asyncio.run(client.close())
        assert client.closed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sockets of a closed loop
        for script in ([Action.SILENCE], respond(job_json(status="processing"))):
            async with RawServer(script) as server:
                await asyncio.to_thread(abandon, server.url)
        gc.collect()


async def test_another_loop() -> None:
    """Every call on another loop raises, and the client still works on its own loop."""
    async with (
        ScriptedServer(lambda request: finished_job(request.job_id)) as server,
        server.client() as client,
    ):
        await client.get_job(JOB)
        messages = await asyncio.to_thread(asyncio.run, messages_of_calls(client))
        closing = await asyncio.to_thread(asyncio.run, error_of(client.close()))
        assert all("another event loop" in reason for reason in {*messages.values(), str(closing)})
        assert not client.closed
        assert (await client.get_job(JOB)).succeeded


def test_loop_that_is_closed() -> None:
    """Every call raises when the client's loop is closed; ``close()`` works."""
    retry = RetryPolicy(max_attempts=1)
    client = SieveClient(KEY, base_url="http://127.0.0.1:1", retry=retry)
    asyncio.run(error_of(client.get_job(JOB)))
    messages = asyncio.run(messages_of_calls(client))
    asyncio.run(client.close())
    assert all("another event loop" in reason for reason in messages.values())
    assert client.closed


def fork() -> int:
    """Fork without a warning about threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


async def test_forked_process() -> None:
    """Every call in a forked process raises; the parent's connections still work."""
    async with (
        ScriptedServer(lambda request: finished_job(request.job_id)) as server,
        server.client() as client,
    ):
        await client.get_job(JOB)
        reading, writing = os.pipe()
        if fork() == 0:  # pragma: no cover - another process
            step = messages_of_calls(client).__await__()
            try:
                next(step)
            except StopIteration as stop:
                os.write(writing, json.dumps(stop.value).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            messages = json.loads(await asyncio.to_thread(pipe.read))
        await asyncio.to_thread(os.wait)
        assert messages.keys() == CALLS.keys()
        assert all("another process" in reason for reason in messages.values())
        assert (await client.get_job(JOB)).succeeded
        assert server.connections == 1


def reply(request: RawRequest) -> Script:
    """Targets that end at the third poll, lists of the running jobs, and a silent job."""
    if request.job_id == "silent":
        return [Action.SILENCE]
    if request.is_list:
        rows = [job_document(job_id) for job_id in IDS[request.times :]]
        return respond({"data": rows, "next_offset": -1})
    if request.job_id == "v2":
        return respond(version_json(build_status="building" if request.times < 2 else "ready"))
    return finished_job(request.job_id) if request.times >= 2 else running_job(request.job_id)


async def use_everything() -> None:
    """Make every kind of call."""
    quick = PollPolicy(min_interval=0.05, max_interval=0.05)
    async with (
        ScriptedServer(reply) as server,
        server.client(polling=quick, limits=Limits()) as client,
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
        assert isinstance(outcome.error, errors.WaitTimeoutError)
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
        assert (client.stats.waits, client.stats.in_flight, client.stats.queued) == (1, 1, 0)
    async with (
        ScriptedServer(reply) as server,
        server.client(limits=Limits(polls_per_second=None)) as client,
    ):
        outcomes = await client.wait_for_jobs(
            [f"many-{number}" for number in range(300)], polling=quick
        )
        assert all(outcome.ok for outcome in outcomes)
    assert isinstance(await error_of(left), errors.ClientClosedError)


def debug_loop() -> asyncio.AbstractEventLoop:
    """A loop in debug mode."""
    loop = asyncio.SelectorEventLoop()
    loop.set_debug(True)
    loop.slow_callback_duration = 60.0  # other processes may slow this one down
    return loop


def eager_loop() -> asyncio.AbstractEventLoop:
    """A loop with eager tasks, where there are any."""
    loop = asyncio.SelectorEventLoop()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory", None))
    return loop


LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [debug_loop]
if sys.version_info >= (3, 12):
    LOOPS.append(eager_loop)
if importlib.util.find_spec("uvloop") is not None:  # it has no wheel for every interpreter
    LOOPS.append(importlib.import_module("uvloop").new_event_loop)
    LOOPS[-1]().close()  # the first one opens descriptors that the process keeps


@pytest.mark.parametrize("factory", LOOPS, ids=lambda factory: factory.__name__)
def test_each_kind_of_loop(
    factory: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    """Every kind of call works on each kind of loop, without a warning of asyncio."""
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(use_everything())
    warnings_ = [
        record.getMessage()
        for record in caplog.records
        if record.name == "asyncio" and record.levelno >= logging.WARNING
    ]
    assert warnings_ == []


# All kinds of waits, a wait with a deadline, and calls within timeouts of the program. These are
# long enough for a slow machine to send all requests before, and pass while the process is stopped.
PROGRAM = """
import asyncio, json, sys
from sieve_async import *

async def result_of(kind, waiting):
    try:
        found = await waiting
    except BaseException as error:
        return kind, type(error).__name__
    return kind, [str(each) for each in found]

async def one(client, **how):
    job = await client.wait_for_job("job", **how)
    return [job.status, *(output.data for output in job.outputs)]

async def many(client, strategy):
    (outcome,) = await client.wait_for_jobs(["job"], strategy=strategy)
    return [outcome.result().status, *(output.data for output in outcome.job.outputs)]

async def outputs(client):
    return ["finished"] + [output.data async for output in client.stream_outputs("job")]

async def limited(client, number):
    async with asyncio.timeout(5):
        return await client.get_job(f"silent-{number}")

async def main():
    timeout = Timeout(request=5)
    polling = PollPolicy(min_interval=0.2, growth=0, jitter=0, outage_timeout=6)
    async with SieveClient(timeout=timeout, polling=polling) as client:
        waits = {
            "poll": one(client),
            "long poll": one(client, strategy="long_poll"),
            "many": many(client, "poll"),
            "many, long poll": many(client, "long_poll"),
            "list": many(client, "list"),
            "outputs": outputs(client),
            "deadline": client.wait_for_job("never", timeout=5),
        } | {f"limited {number}": limited(client, number) for number in range(20)}
        found = await asyncio.gather(*(result_of(kind, wait) for kind, wait in waits.items()))
        stats = client.stats
        left = len(asyncio.all_tasks()) - 1
    print(json.dumps(dict(found) | {"left": [stats.waits, stats.in_flight, stats.queued, left]}))

asyncio.run(main())
"""
EXPECTED = ["finished", "first", "second"]


async def wait_until_requested(sieve: FakeSieve, number: int) -> None:
    """Wait until the server is answering so many requests."""
    while sieve.in_flight < number:  # noqa: ASYNC110 - the server has no event for this
        await asyncio.sleep(0.01)


async def run_stopped(sieve: FakeSieve, seconds: float) -> dict[str, Any]:
    """Run the program, stop it during its requests, and end the job meanwhile."""
    job = sieve.job(sieve.add_job("job", by="manual"))
    sieve.add_job("never", status=None)
    for number in range(20):
        sieve.fault(job=f"silent-{number}", delay=60)
    job.start()
    job.yield_output("first")
    environment = os.environ | {"SIEVE_API_KEY": sieve.api_key, "SIEVE_API_URL": sieve.url}
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", PROGRAM),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    await wait_until_requested(sieve, 22)  # the silent ones and two long polls
    program.send_signal(signal.SIGSTOP)
    job.yield_output("second")
    job.finish()
    await asyncio.sleep(seconds)
    program.send_signal(signal.SIGCONT)
    stdout, stderr = await program.communicate()
    assert (program.returncode, stderr) == (0, b"")
    found: dict[str, Any] = json.loads(stdout)
    return found


async def test_stopped_and_continued(sieve: FakeSieve) -> None:
    """Each wait ends correctly, each deadline passes, and no cancellation is lost."""
    found = await run_stopped(sieve, 7)
    assert found.pop("left") == [0, 0, 0, 0]
    assert found.pop("deadline") == "WaitTimeoutError"
    for kind in ("poll", "long poll", "many", "many, long poll", "list", "outputs"):
        assert (kind, found.pop(kind)) == (kind, EXPECTED)
    assert set(found.values()) == {"TimeoutError"}


def _fire_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all timers fire a little early, as uvloop's do: its clock has whole milliseconds."""
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def early(when: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
        return call_at(when - 0.0005, *args, **options)

    monkeypatch.setattr(loop, "call_at", early)


@pytest.mark.looptime
async def test_a_push_that_gets_no_slot_where_timers_fire_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It fails with the deadline, not with what asked for a pause that was over long ago."""
    pause = error_response(503, ("Retry-After", "1"))
    async with (
        RawServer(pause, respond(), [Action.SILENCE]) as server,
        server.client(limits=Limits(max_connections=1)) as client,
    ):
        await client.get_job(JOB)
        await asyncio.sleep(60)
        held = asyncio.create_task(client.get_job("other"))
        await asyncio.sleep(1)
        _fire_early(monkeypatch)
        with pytest.raises(RequestTimeoutError):
            await client.run("o/f", timeout=2)
        held.cancel()
        await asyncio.wait([held])


@pytest.mark.looptime
async def test_a_deadline_where_timers_fire_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that the deadline cut off says nothing, also when it was cut off a little early."""
    async with RawServer([Action.SILENCE]) as server, server.client() as client:
        _fire_early(monkeypatch)
        with pytest.raises(WaitTimeoutError) as caught:
            await client.wait_for_job(JOB, timeout=5)
    assert caught.value.last_error is None
