"""Interruptions: exceptions of signal handlers, close under cancellation, contexts, own errors."""

import asyncio
import contextvars
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
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
import asyncio, os, signal, sys, threading
from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

class StopRun(BaseException): pass

def stop(*_):
    raise StopRun

async def watch(sieve, ids, strategy):
    limits, policy = Limits(polls_per_second=None), PollPolicy(min_interval=0.05, max_interval=0.05)
    settings = {"base_url": sieve.url, "limits": limits, "polling": policy}
    async with SieveClient(sieve.api_key, **settings) as client:
        await client.wait_for_jobs(ids, strategy=strategy)

with FakeSieve.in_thread() as sieve:
    ids = [sieve.add_job(processing=3600) for _ in range(200)]
    signal.signal(signal.SIGUSR1, stop)
    here = threading.get_ident(), signal.SIGUSR1
    threading.Timer(float(sys.argv[1]), signal.pthread_kill, here).start()
    try:
        asyncio.run(watch(sieve, ids, sys.argv[2]))
    except StopRun:
        print("StopRun", flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize("strategy", ["poll", "list", "long_poll"])
@pytest.mark.parametrize("seconds", ["0.3", "0.41"])
def test_signal_handler(seconds: str, strategy: str) -> None:
    """What a signal handler raises, wherever it lands, reaches the caller; nothing hangs."""
    command = [sys.executable, "-c", PROGRAM, seconds, strategy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    assert done.stdout == "StopRun\n"


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
    ids = [sieve.add_job(processing=3600) for _ in range(30)]
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
    ids = [sieve.add_job(processing=3600) for _ in range(30)]
    with anyio.move_on_after(10):
        async with SieveClient(KEY, base_url=sieve.url) as client:
            await client.wait_for_jobs(ids)

    assert client.closed
    await asyncio.sleep(1)
    assert open_files() == before


def open_files() -> int:
    """The number of open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


class Source:
    """An async source of ids that holds something until it is closed."""

    def __init__(self, *ids: str, error: BaseException | None = None) -> None:
        self.closed = 0
        self._ids = list(ids)
        self._error = error

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        if self._ids:
            return self._ids.pop(0)
        if self._error is not None:
            raise self._error
        await asyncio.sleep(1e6)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give back what is held."""
        await asyncio.sleep(0)
        self.closed += 1


@pytest.mark.looptime
@pytest.mark.parametrize("end", ["block", "break", "close", "deadline", "error", "cancel"])
async def test_sources_are_closed(sieve: FakeSieve, end: str) -> None:
    """An async source is closed when the watch ends, however it ends."""
    sieve.add_job("a", processing=5)
    source = Source("a", error=LookupError() if end == "error" else None)
    async with SieveClient(KEY, base_url=sieve.url) as client:
        match end:
            case "block":
                async with client.as_completed(source) as watch:
                    await anext(watch)
            case "break":
                async for _ in client.as_completed(source):
                    break
            case "close":
                watch = client.as_completed(source)
                await anext(watch)
                await client.close()
            case "deadline":
                assert len(await client.wait_for_jobs(source, timeout=10)) == 1
            case "error":
                with pytest.raises(LookupError):
                    await client.wait_for_jobs(source)
            case "cancel":
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(3):
                        await client.wait_for_jobs(source)
        await asyncio.sleep(1)
        assert source.closed


async def test_source_of_a_watch_that_never_began(client: SieveClient) -> None:
    """Closing a watch before its first step closes its source, too."""
    source = Source("a")
    await client.as_completed(source).aclose()
    assert source.closed == 1


@pytest.mark.looptime
async def test_own_exceptions() -> None:
    """Each outcome of a revoked key has an error of its own, which can be raised and logged."""
    refused = respond({"detail": "no"}, status=401)
    async with ScriptedServer(lambda _: refused) as server, server.client() as client:
        outcomes = await client.wait_for_jobs([f"j{n}" for n in range(300)])

    for outcome in outcomes:
        assert isinstance(outcome.error, AuthenticationError)
        with pytest.raises(AuthenticationError) as caught:
            outcome.result()
        assert len("".join(traceback.format_exception(caught.value)).splitlines()) < 20
    assert len({id(outcome.error) for outcome in outcomes}) == 300


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
        ids = [sieve.add_job(processing=30) for _ in range(20)]

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
            return respond({"data": [job_document(f"j{n}") for n in range(20)]})
        return respond(job_document(request.job_id))

    strategies: tuple[Strategy, ...] = ("poll", "list", "long_poll")
    for strategy in strategies:
        async with ScriptedServer(reply) as server, aiohttp.ClientSession() as session:
            client = server.client(session=session)
            ids = [f"j{n}" for n in range(20)]
            watching = asyncio.ensure_future(client.wait_for_jobs(ids, strategy=strategy))
            await asyncio.sleep(20)
            await session.close()

            async with asyncio.timeout(200):
                outcomes = await watching
            assert {outcome.status for outcome in outcomes} == {"ClientClosedError"}
            await client.close()
