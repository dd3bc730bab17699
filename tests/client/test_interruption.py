"""Interruptions: exceptions of signal handlers, close under cancellation, contexts, own errors."""

import asyncio
import contextvars
import subprocess
import sys
import traceback
from pathlib import Path

import aiohttp
import anyio
import pytest

from helpers.asserts import assert_idle
from helpers.leak_checks import KEY
from helpers.raw_server import RawRequest, Script, ScriptedServer, job_document, respond
from sieve_async import AuthenticationError, Job, SieveClient, Strategy
from sieve_async.testing import FakeSieve


class StopRun(BaseException):
    """What a task runner raises out of its signal handler."""


PROGRAM = """
import asyncio, signal, threading, time
from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

class StopRun(BaseException): pass

def stop(*_):
    raise StopRun

def send_signal(sieve, thread):
    while len(sieve.requests) < 20:
        time.sleep(0.001)
    signal.pthread_kill(thread, signal.SIGUSR1)

async def watch(sieve, ids, strategy):
    limits, policy = Limits(polls_per_second=None), PollPolicy(min_interval=0.05, max_interval=0.05)
    settings = {"base_url": sieve.url, "limits": limits, "polling": policy}
    async with SieveClient(sieve.api_key, **settings) as client:
        await client.wait_for_jobs(ids, strategy=strategy)

signal.signal(signal.SIGUSR1, stop)
for strategy in ("poll", "list", "long_poll"):
    with FakeSieve.in_thread() as sieve:
        ids = [sieve.add_job(processing=3600) for _ in range(200)]
        threading.Thread(target=send_signal, args=(sieve, threading.get_ident())).start()
        try:
            asyncio.run(watch(sieve, ids, strategy))
        except StopRun:
            print(strategy, flush=True)
"""


def test_signal_handler() -> None:
    """What a signal handler raises, wherever it lands, reaches the caller; nothing hangs."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == ["poll", "list", "long_poll"]


@pytest.mark.looptime
@pytest.mark.parametrize("error", [StopRun(), LookupError("a bug")])
async def test_background_failure(
    sieve: FakeSieve, client: SieveClient, error: BaseException
) -> None:
    """It reaches every caller that waits there, and later watches of the same ids begin anew."""
    ids = [sieve.add_job(processing=100) for _ in range(3)]
    watches = [client.as_completed(ids) for _ in range(2)]
    waiting = [asyncio.ensure_future(anext(watch)) for watch in watches]
    await asyncio.sleep(10)

    client._background.fail(error)

    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [type(error)] * 2
    assert_idle(client)
    assert all(outcome.ok for outcome in await client.wait_for_jobs(ids))


@pytest.mark.looptime
async def test_consumers_of_one_watch(sieve: FakeSieve, client: SieveClient) -> None:
    """So it does when several tasks take from one watch."""
    watch = client.as_completed([sieve.add_job(processing=3600)])
    waiting = [asyncio.ensure_future(anext(watch)) for _ in range(3)]
    await asyncio.sleep(10)

    client._background.fail(StopRun())

    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [StopRun] * 3
    assert [outcome async for outcome in watch] == []


@pytest.mark.looptime
async def test_cancelled_close(sieve: FakeSieve) -> None:
    """Closing closes the connections, also when it is cancelled itself."""
    before = open_files()
    client = SieveClient(KEY, base_url=sieve.url)
    ids = [sieve.add_job(processing=3600) for _ in range(5)]
    watching = asyncio.ensure_future(client.wait_for_jobs(ids))
    await asyncio.sleep(10)

    closing = asyncio.ensure_future(client.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)

    assert client.closed
    outcomes = await watching
    assert {outcome.status for outcome in outcomes} == {"ClientClosedError"}
    await asyncio.sleep(1)
    assert open_files() == before


@pytest.mark.looptime
async def test_cancel_scope_around_the_client(sieve: FakeSieve) -> None:
    """A scope that cancels at each await leaves no connection open."""
    before = open_files()
    ids = [sieve.add_job(processing=3600) for _ in range(5)]
    with anyio.move_on_after(10):
        async with SieveClient(KEY, base_url=sieve.url) as client:
            await client.wait_for_jobs(ids)

    assert client.closed
    await asyncio.sleep(1)
    assert open_files() == before


def open_files() -> int:
    """The number of open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.looptime
async def test_own_exceptions() -> None:
    """Each outcome of a revoked key has an error of its own, which can be raised and logged."""
    refused = respond({"detail": "no"}, status=401)
    async with ScriptedServer(lambda _: refused) as server, server.client() as client:
        outcomes = await client.wait_for_jobs([f"j{n}" for n in range(5)])

    for outcome in outcomes:
        assert isinstance(outcome.error, AuthenticationError)
        with pytest.raises(AuthenticationError) as caught:
            outcome.result()
        assert len("".join(traceback.format_exception(caught.value)).splitlines()) < 20
    assert len({id(outcome.error) for outcome in outcomes}) == 5


request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


@pytest.mark.looptime
async def test_contexts(sieve: FakeSieve) -> None:
    """Polls of watches belong to no caller; callbacks and single calls belong to their own."""
    polled: set[str] = set()
    updated: set[str] = set()
    looked_up: set[str] = set()
    single = sieve.add_job("single")

    async def on_start(_: object, __: object, params: aiohttp.TraceRequestStartParams) -> None:
        (looked_up if params.url.path.endswith("single") else polled).add(request_id.get())

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(on_start)

    async def serve(name: str, session_client: SieveClient) -> None:
        request_id.set(name)
        ids = [sieve.add_job(processing=30) for _ in range(5)]

        async def on_update(_: Job) -> None:
            updated.add(request_id.get())

        await session_client.wait_for_jobs(ids, on_update=on_update)
        await session_client.wait_for_jobs(ids, strategy="list")
        await session_client.get_job(single)

    async with (
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        SieveClient(KEY, base_url=sieve.url, session=session) as client,
    ):
        await asyncio.gather(serve("one", client), serve("two", client))

    assert polled == {"none"}
    assert updated == looked_up == {"one", "two"}


@pytest.mark.looptime
async def test_session_that_its_owner_closes() -> None:
    """Watches end with errors at once when the caller closes the session, lists or not."""

    def reply(request: RawRequest) -> Script:
        if request.is_list:
            return respond({"data": [job_document(f"j{n}") for n in range(5)]})
        return respond(job_document(request.job_id))

    strategies: tuple[Strategy, ...] = ("poll", "list", "long_poll")
    for strategy in strategies:
        async with ScriptedServer(reply) as server, aiohttp.ClientSession() as session:
            client = server.client(session=session)
            ids = [f"j{n}" for n in range(5)]
            watching = asyncio.ensure_future(client.wait_for_jobs(ids, strategy=strategy))
            await asyncio.sleep(20)
            await session.close()

            async with asyncio.timeout(200):
                outcomes = await watching
            assert {outcome.status for outcome in outcomes} == {"ClientClosedError"}
            await client.close()
