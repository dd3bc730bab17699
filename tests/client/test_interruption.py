"""Interruptions: exceptions of signal handlers, close under cancellation, contexts, own errors."""

import asyncio
import contextvars
import socket
import subprocess
import sys
import threading
from pathlib import Path

import aiohttp
import pytest

from helpers.asserts import assert_idle
from helpers.leak_checks import KEY
from helpers.raw_server import RawRequest, Script, ScriptedServer, job_document, job_json, respond
from sieve_async import Job, SieveClient, Strategy, Timeout
from sieve_async.testing import FakeSieve


class StopRun(BaseException):
    """What a task runner raises out of its signal handler."""


PROGRAM = """
import asyncio, signal, threading, time, traceback
from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

class StopRun(BaseException): pass

def stop(*_):
    raise StopRun

def send_signal():
    while len(sieve.requests) < 20:
        time.sleep(0.001)  # real time: a real program in a process of its own
    signal.pthread_kill(main_thread, signal.SIGUSR1)

def on_logged(loop, context):
    # asyncio only logs what lands in a callback of its own, where the package has no part.
    places = traceback.extract_tb(context["exception"].__traceback__)
    if not any("sieve_async" in place.filename for place in places):
        threading.Thread(target=send_signal).start()

async def watch(sieve, ids, strategy):
    asyncio.get_running_loop().set_exception_handler(on_logged)
    limits, policy = Limits(polls_per_second=None), PollPolicy(min_interval=0.05, max_interval=0.05)
    settings = {"base_url": sieve.url, "limits": limits, "polling": policy}
    async with SieveClient(sieve.api_key, **settings) as client:
        await client.wait_for_jobs(ids, strategy=strategy)

main_thread = threading.get_ident()
signal.signal(signal.SIGUSR1, stop)
for strategy in ("poll", "list", "long_poll"):
    with FakeSieve.in_thread() as sieve:
        ids = [sieve.add_job(processing=3600) for _ in range(200)]
        threading.Thread(target=send_signal).start()
        try:
            asyncio.run(watch(sieve, ids, strategy))
        except StopRun:
            print(strategy, flush=True)
"""


@pytest.mark.programs
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
async def test_cancelled_close(sieve: FakeSieve) -> None:
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


def open_files() -> int:
    """The number of open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


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


async def test_answer_that_comes_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that has arrived wins over the deadline when a busy loop sees both at once."""
    loop = asyncio.get_running_loop()
    asked, may_answer, has_answered = asyncio.Event(), threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    script = b"".join(step for step in respond(job_json()) if isinstance(step, bytes))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, listener:
            connection.recv(65536)
            loop.call_soon_threadsafe(asked.set)
            may_answer.wait()
            connection.sendall(script)
            has_answered.set()
            connection.recv(1)  # until the client has gone

    url, no_limit = (
        f"http://127.0.0.1:{listener.getsockname()[1]}",
        Timeout(connect=None, request=None),
    )
    async with SieveClient("k", base_url=url, timeout=no_limit) as client:
        serving = loop.run_in_executor(None, serve)
        waiting = asyncio.create_task(client.wait_for_job("job-1", timeout=3600))
        await asked.wait()
        may_answer.set()
        has_answered.wait()
        real_time = loop.time  # the loop was busy for two hours
        monkeypatch.setattr(loop, "time", lambda: real_time() + 7200)
        job = await waiting
    await serving
    assert job.succeeded
