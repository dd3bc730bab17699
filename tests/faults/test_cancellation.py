"""Calls and iterators cancelled at every suspension point."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import aiohttp
import attrs
import pytest
import trustme

from helpers.asserts import assert_idle, ids_of, yield_to_loop
from helpers.cancellation import CancellationDriver, CancelWhen, each_suspension
from helpers.network import FakeResolver, server_context
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    RawServer,
    Reply,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_json,
    respond,
    respond_chunked,
    running_job,
    version_json,
)
from sieve_async import Limits, RetryPolicy, SieveClient, Timeout

pytestmark = pytest.mark.looptime

Call: TypeAlias = Callable[[SieveClient], Awaitable[Any]]

IDS = ["job-1", "job-2", "job-3", "job-4"]
OTHER = "the-other-job"
# A cancellation is delivered in the next loop iteration, and counted in the one after.
ONE_TURN = 2


def respond_in_turn(*scripts: Script, then: Script | None = None) -> Reply:
    """Respond about each job with one script after the other; the last one repeats."""

    def reply(request: RawRequest) -> Script:
        if request.job_id == OTHER:
            return finished_job(OTHER)
        if request.times < len(scripts):
            return scripts[request.times]
        return scripts[-1] if then is None else then

    return reply


def slow_response(status: str, run: str | None = None, *outputs: str) -> Script:
    """A response about the job in two pieces with a delay between them."""
    document = job_json(status=status, run_id=run, outputs=[{"data": one} for one in outputs])
    (whole,) = respond(document)
    assert isinstance(whole, bytes)
    return [whole[:-9], 0.25, whole[-9:]]


BODY = json.dumps(job_json()).encode()
IN_PIECES = [step for one in respond_chunked(BODY) for step in (one, 0.1)]
HEADERS_LATE: Script = [2.0, *IN_PIECES]
READY = respond(version_json())


async def get_job(client: SieveClient) -> None:
    """Look up the job."""
    assert (await client.get_job(JOB)).succeeded


async def get_version(client: SieveClient) -> None:
    """Look up the version."""
    assert (await client.get_version("o", "f")).is_ready


async def on_update(_: object) -> None:
    """Take some time."""
    await asyncio.sleep(0.1)


async def wait_for_job(client: SieveClient, **how: Any) -> None:
    """Wait for the job, with a slow callback."""
    assert (await client.wait_for_job(JOB, on_update=on_update, timeout=900, **how)).succeeded


async def wait_until_ready(client: SieveClient) -> None:
    """Wait for the version, with a slow callback."""
    assert (await client.wait_until_ready("o", "f", on_update=on_update)).is_ready


async def get_queued(client: SieveClient) -> None:
    """Wait for the only slot."""
    other = asyncio.create_task(client.get_job(OTHER))
    try:
        await asyncio.sleep(0)
        await get_job(client)
    finally:
        other.cancel()
        other.add_done_callback(lambda one: one.cancelled() or one.exception())


async def stream_outputs(client: SieveClient) -> None:
    """Stream all outputs of the job."""
    async with client.stream_outputs(JOB, on_restart="continue", timeout=900) as outputs:
        assert len([output async for output in outputs]) == 5


def watch_by(strategy: Any) -> Call:
    """Take all outcomes of a watch."""

    async def watch(client: SieveClient) -> None:
        async with client.as_completed(IDS, strategy=strategy, timeout=900) as outcomes:
            assert sorted(ids_of([one async for one in outcomes])) == IDS

    return watch


async def wait_for_jobs(client: SieveClient) -> None:
    """Collect all outcomes by ``wait_for_jobs``."""
    assert ids_of(await client.wait_for_jobs([*IDS, "not/an/id"])) == [*IDS, "not/an/id"]


def respond_with_lists(request: RawRequest) -> Script:
    """Jobs that end one after the other, and lists of the running ones."""
    if request.is_list:
        rows = [{"id": job_id, "status": "processing"} for job_id in IDS[request.times :]]
        return [0.1, *respond({"data": rows, "next_offset": -1})]
    return [0.1, *finished_job(request.job_id)]


def respond_slowly(request: RawRequest) -> Script:
    """Jobs that end after two polls, with slow responses."""
    return [
        0.1,
        *(finished_job(request.job_id) if request.times > 1 else running_job(request.job_id)),
    ]


@attrs.frozen
class Scenario:
    """A call, and a server that leads it through many phases."""

    call: Call
    reply: Reply
    settings: dict[str, Any] = attrs.field(factory=dict)
    max_turns: int = ONE_TURN


THROTTLED = error_response(429, ("Retry-After", "3"))
CUT: Script = [b"HTTP/1.1 200 OK\r\nContent-Le", Action.RESET]
SILENT = {"timeout": Timeout(request=20), "retry": RetryPolicy(initial_delay=3)}
RESPONSES = [
    slow_response("queued", "r1"),
    slow_response("processing", "r1", "a"),
    error_response(503),
    CUT,
    [Action.SILENCE],
    THROTTLED,
    slow_response("processing", "r2"),
    error_response(404),
    slow_response("processing", "r2"),
    error_response(401),
    slow_response("finished", "r2", "a", "b"),
]
SCENARIOS: dict[str, Scenario] = {
    "get_job": Scenario(get_job, respond_in_turn(HEADERS_LATE)),
    "get_job, retried": Scenario(get_job, respond_in_turn(error_response(503), CUT, IN_PIECES)),
    "get_job, silent": Scenario(get_job, respond_in_turn([Action.SILENCE], IN_PIECES), SILENT),
    "get_job, throttled": Scenario(get_job, respond_in_turn(THROTTLED, IN_PIECES)),
    "get_job, queued": Scenario(
        get_queued,
        lambda request: [2.0, *finished_job(request.job_id)],
        {"limits": Limits(max_connections=1)},
    ),
    "get_version": Scenario(get_version, respond_in_turn(CUT, error_response(503), READY)),
    "wait_for_job": Scenario(wait_for_job, respond_in_turn(*RESPONSES), SILENT),
    "wait_for_job, long_poll": Scenario(
        partial(wait_for_job, strategy="long_poll"),
        respond_in_turn(
            [30.0, *error_response(408)],
            [9.0, *slow_response("processing", "r1", "a")],
            [9.0, *error_response(502)],
            *RESPONSES[:3],
            [40.0, Action.RESET],
            *RESPONSES[4:],
        ),
        SILENT,
    ),
    "wait_until_ready": Scenario(
        wait_until_ready,
        respond_in_turn(
            respond(version_json(build_status="queued")),
            error_response(503),
            respond(version_json(build_status="building")),
            READY,
        ),
    ),
    "stream_outputs": Scenario(
        stream_outputs,
        respond_in_turn(
            slow_response("queued", "r1"),
            slow_response("processing", "r1", "a", "b"),
            error_response(503),
            THROTTLED,
            slow_response("processing", "r2"),
            slow_response("processing", "r2", "c"),
            slow_response("finished", "r2", "d", "e"),
        ),
    ),
    # Leaving the block waits for the tasks of the watch.
    "as_completed": Scenario(watch_by("poll"), respond_slowly, max_turns=5),
    "as_completed, long_poll": Scenario(watch_by("long_poll"), respond_slowly, max_turns=5),
    "as_completed, list": Scenario(watch_by("list"), respond_with_lists, max_turns=5),
    "wait_for_jobs": Scenario(wait_for_jobs, respond_slowly, max_turns=5),
}


async def assert_clean(client: SieveClient, server: ScriptedServer) -> None:
    """Assert that no slot is in use, no task is left, and the client works."""
    assert_idle(client)
    await yield_to_loop(3)  # the server accepts pending connections
    assert server.foreign_tasks() == set()
    assert (await client.get_job(OTHER)).id == OTHER


@pytest.mark.parametrize("when", CancelWhen)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_cancelled_call(name: str, when: CancelWhen) -> None:
    """The cancellation passes at once, and nothing is left."""
    scenario = SCENARIOS[name]
    for driver in each_suspension(when, at_least=3):
        async with (
            ScriptedServer(scenario.reply) as server,
            server.client(**scenario.settings) as client,
        ):
            task = await driver.run(lambda: scenario.call(client))
            if not driver.is_cancelled:
                assert task.result() is None
                continue
            assert task.cancelled(), driver
            assert driver.cancelling == 1
            assert driver.turns <= scenario.max_turns, driver
            await assert_clean(client, server)


STRATEGIES = "poll", "long_poll", "list"

# The outputs of the job in each response; a script for a failing one.
STREAMED: list[Script | str] = [
    "",
    "ab",
    error_response(503),
    [b"HTTP/1.1 200 OK\r\nContent-Le", Action.RESET],
    "abc",
    error_response(429, ("Retry-After", "3")),
    "abcde",
]


def streaming(request: RawRequest) -> Script:
    """A job whose outputs come one after the other, each response in two pieces."""
    now = STREAMED[min(request.times, len(STREAMED) - 1)]
    if not isinstance(now, str):
        return now
    outputs = [{"data": one} for one in now[request.offset :]]
    status = "finished" if now is STREAMED[-1] else "processing"
    (whole,) = respond(job_json(status=status, outputs=outputs))
    assert isinstance(whole, bytes)
    return [whole[:-9], 0.25, whole[-9:]]


def finishing(request: RawRequest) -> Script:
    """Jobs that end one after the other, with failures, and lists of the running ones."""
    if request.is_list:
        rows = [{"id": job_id, "status": "processing"} for job_id in IDS[request.times :]]
        return [0.1, *respond({"data": rows, "next_offset": -1})]
    if request.times == 1:
        return error_response(502)
    return [
        0.1,
        *(finished_job(request.job_id) if request.times > 2 else running_job(request.job_id)),
    ]


async def collect(iterator: AsyncIterator[Any], into: list[Any]) -> None:
    """Append every item to a list."""
    async for one in iterator:
        into.append(one)  # noqa: PERF401 - a comprehension loses the items on a cancellation


Begin: TypeAlias = Callable[[SieveClient], Any]


async def cancel_and_continue(
    begin: Begin, client: SieveClient, driver: CancellationDriver
) -> list[Any]:
    """The items of an iterator of which one step was cancelled and then taken again."""
    found: list[Any] = []
    async with begin(client) as iterator:
        task = await driver.run(lambda: collect(iterator, found))
        if driver.is_cancelled:
            assert task.cancelled()
            assert driver.cancelling == 1
            await collect(iterator, found)
    assert_idle(client)
    return found


@pytest.mark.parametrize("when", CancelWhen)
async def test_cancelled_stream_step(when: CancelWhen) -> None:
    """No output is lost or repeated."""
    for driver in each_suspension(when, at_least=15):
        async with ScriptedServer(streaming) as server, server.client() as client:
            found = await cancel_and_continue(lambda one: one.stream_outputs(JOB), client, driver)
            assert "".join(output.data for output in found) == STREAMED[-1], driver


@pytest.mark.parametrize("when", CancelWhen)
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_cancelled_watch_step(strategy: Any, when: CancelWhen) -> None:
    """No outcome is lost or repeated."""
    for driver in each_suspension(when, at_least=3):
        async with ScriptedServer(finishing) as server, server.client() as client:
            found = await cancel_and_continue(
                lambda one: one.as_completed(IDS, strategy=strategy), client, driver
            )
            assert sorted(ids_of(found)) == IDS, driver
            assert all(outcome.ok for outcome in found)


@pytest.mark.parametrize("when", CancelWhen)
async def test_cancelled_while_connecting(authority: trustme.CA, when: CancelWhen) -> None:
    """The call ends at once, no task is left, and the next call works."""
    tls, trusting = server_context(authority, "sieve.test"), ssl.create_default_context()
    authority.configure_trust(trusting)
    for driver in each_suspension(when, at_least=4):
        connector = aiohttp.TCPConnector(
            resolver=FakeResolver(partial(asyncio.sleep, 1)), ssl=trusting
        )
        async with (
            RawServer([1.0, *respond()], tls=tls) as server,
            aiohttp.ClientSession(connector=connector) as session,
            server.client(
                base_url=server.url.replace("127.0.0.1", "sieve.test"), session=session
            ) as client,
        ):
            task = await driver.run(partial(client.get_job, JOB))
            if not driver.is_cancelled:
                assert task.result().succeeded
                continue
            assert task.cancelled()
            assert (driver.cancelling, driver.turns <= 3) == (1, True), driver
            assert_idle(client)
            await asyncio.sleep(3)  # the resolver cannot be cancelled
            await yield_to_loop(50)
            assert server.foreign_tasks() == set()
            assert (await client.get_job(JOB)).succeeded
