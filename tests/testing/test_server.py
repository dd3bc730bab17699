"""The fake server itself: its request log, starting and stopping, and a thread of its own."""

import asyncio
import contextlib
import json
import logging
import resource
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import aiohttp
import pytest

from helpers.http_helpers import Document, Get, host_and_port, wait_until_in_flight
from sieve_async.testing import FakeSieve, LoggedRequest, RequestLog
from sieve_async.testing.answers import Answer


async def test_log_keeps_every_request(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """An entry says what was asked and how it was answered."""
    job_id = sieve.add_job("a b")
    async with session.get("/v2/jobs/a b", params={"offset": "2"}) as response:
        body = await response.read()
    [entry] = sieve.requests
    asked = (entry.method, entry.path, entry.query, entry.key_accepted)
    assert asked == ("GET", f"/v2/jobs/{job_id}", {"offset": "2"}, True)
    assert (entry.status, entry.body_bytes) == (200, len(body))
    assert 0 <= entry.at < 60
    assert sieve.api_key not in repr(entry)


async def test_log_never_holds_the_key(
    sieve: FakeSieve, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever a program puts the key by mistake, it is not kept; nothing is logged at all."""
    key = sieve.api_key
    caplog.set_level(logging.INFO)
    for path in (f"/v2/jobs/{key}?key={key}&{key}=1", f"/x-{key}", f"/x?auth=Bearer%20{key}"):
        async with session.get(path):
            pass
    entry = sieve.requests[0]
    assert (entry.path, entry.query) == ("/v2/jobs/[key]", {"key": "[key]", "[key]": "1"})
    assert key not in repr([vars(sieve.requests), list(sieve.requests), sieve])
    assert sieve.requests_for(key) == sieve.requests_for(f"/v2/jobs/{key}") == 1
    assert sieve.bytes_for(key) == entry.body_bytes
    assert caplog.records == []


async def test_requests_are_counted_by_subject(sieve: FakeSieve, get: Get) -> None:
    """Jobs count also while unknown, versions by whatever name, and paths as they are."""
    version_id = sieve.add_version("me", "mine", "v1")
    path = "/v2/functions/me/mine/versions/"
    for asked in ("/v2/jobs/gone", "/v2/jobs/gone", path + "latest", path + "v1", path + "x"):
        await get(asked)
    subjects = ("gone", version_id, path + "latest", path + "x", "never")
    assert [sieve.requests_for(subject) for subject in subjects] == [2, 2, 1, 1, 0]
    assert sieve.requests.by_status == {404: 3, 200: 2}
    assert sieve.requests.total == 5


async def test_requests_after_the_end_are_counted(sieve: FakeSieve, get: Get) -> None:
    """Requests for a job that was shown as terminal are counted, until the id is a new job's.

    Those that were in flight then do not count, nor an end that could not be read.
    """
    for name in ("a", "b"):
        sieve.add_job(name, queued=1, by="polls")
    sieve.add_job("spoilt")
    sieve.add_job("odd", fields={"status": "started"})
    held = sieve.job(sieve.add_job("held", by="manual"))
    waiting = [asyncio.ensure_future(get("/v2/jobs/held/await")) for _ in range(2)]
    await wait_until_in_flight(sieve, 2)
    held.finish()
    await asyncio.gather(*waiting)
    with sieve.fault(fields={"status": "napping"}):
        await get("/v2/jobs/spoilt")
    for name in ("spoilt", "a", "a", "a", "b", "odd", "odd", "a", "a/await", "x", "x"):
        await get(f"/v2/jobs/{name}")
    await get("/v2/jobs")
    names = ("a", "b", "odd", "x", "spoilt", None)
    before = [sieve.requests_after_terminal(name) for name in names]
    sieve.remove_job("a")
    await get("/v2/jobs/a")
    assert before == [3, 0, 0, 0, 0, 3]
    assert sieve.requests_after_terminal("a") == 3


def test_log_forgets_entries_but_not_totals() -> None:
    """Memory is bounded; counts are exact; going through it is safe while it grows."""
    log = RequestLog(max_kept=2)
    entries = [LoggedRequest("GET", f"/{n}", {}, key_accepted=True, at=n) for n in range(3)]
    for number, entry in enumerate(entries):
        log.end(log.begin(entry), Answer(200, b""), number)
    for _ in log:
        log.begin(entries[0])
    assert (len(log), log.total, log.body_bytes) == (2, 5, 3)
    assert log.by_path == {"/0": 3, "/1": 1, "/2": 1}
    assert (log[-1], log[:1]) == (entries[0], (entries[0],))
    assert repr(log) == "<RequestLog of 5 requests>"


@pytest.mark.looptime
async def test_connections_are_kept_for_virtual_days(sieve: FakeSieve) -> None:
    """The server never drops an idle connection by itself."""
    connector = aiohttp.TCPConnector(keepalive_timeout=1e7)
    async with aiohttp.ClientSession(sieve.url, connector=connector) as session:
        for _ in range(3):
            async with session.get("/"):
                await asyncio.sleep(1e6)
    assert sieve.connections == 1


@pytest.mark.looptime
async def test_outage(sieve: FakeSieve, get: Get) -> None:
    """Stopped, it refuses and cuts connections; started again, it is at the same place."""
    url = sieve.url
    sieve.add_job("j", processing=10)
    before = await get("/v2/jobs/j")
    await sieve.stop()
    await sieve.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await get("/v2/jobs/j")
    await asyncio.sleep(10)
    await sieve.start()
    await sieve.start()
    after = await get("/v2/jobs/j")
    assert (before["status"], after["status"]) == ("processing", "finished")
    assert sieve.url == url
    assert sieve.requests_for("j") == 2
    assert sieve.connections == 2
    assert sieve.requests[1].at == pytest.approx(sieve.requests[0].at + 10)


async def test_stop_leaves_nothing_behind(sieve: FakeSieve) -> None:
    """Idle connections and unread answers are aborted at once, and no task is left."""
    sieve.add_job("big", outputs=["x" * 10_000_000])
    request = f"GET /v2/jobs/big HTTP/1.1\r\nX-API-Key: {sieve.api_key}\r\nHost: x\r\n\r\n"
    idle, unread = [await asyncio.open_connection(*host_and_port(sieve)) for _ in range(2)]
    unread[1].write(request.encode())
    await unread[0].readexactly(1)
    async with asyncio.timeout(60):
        await sieve.stop()
    tasks = asyncio.all_tasks()
    for reader, writer in (idle, unread):
        writer.close()
        await asyncio.gather(reader.read(), writer.wait_closed(), return_exceptions=True)
    assert tasks == {asyncio.current_task()}
    assert sieve.in_flight == 0


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_stop_catches_arriving_connections(sieve: FakeSieve, turns: int) -> None:
    """A connection that is only just being accepted does not stay open."""
    with socket.create_connection(host_and_port(sieve)) as arriving:
        arriving.settimeout(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        await sieve.stop()
        await asyncio.sleep(0)
        with contextlib.suppress(ConnectionResetError):
            assert arriving.recv(1) == b""


@pytest.mark.looptime
async def test_server_survives_a_lack_of_descriptors(sieve: FakeSieve, get: Get) -> None:
    """A connection that cannot be accepted waits until it can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(host_and_port(sieve)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
        await asyncio.sleep(1)
        accepted = sieve.connections
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        answer = await get("/")
    assert accepted == 0
    assert answer["http"] == 404


@pytest.mark.looptime
async def test_timelines_begin_when_the_server_starts() -> None:
    """What is added before the start waits for it; a custom clock may run at any speed."""
    times = iter([100.0, 100.0, 101.0, 103.0, 50.0, 52.0])
    sieve = FakeSieve(clock=lambda: next(times), speed=2)
    sieve.add_job("j", processing=6)
    key = {"X-API-Key": sieve.api_key}
    async with sieve, aiohttp.ClientSession(sieve.url, headers=key) as session:
        statuses = []
        for _ in range(2):
            async with session.get("/v2/jobs/j") as response:
                statuses.append((await response.json())["status"])
    assert statuses == ["processing", "finished"]


def test_server_outlives_a_loop() -> None:
    """A server can be started again on another loop, with its port, jobs and log."""
    sieve = FakeSieve()
    with pytest.raises(RuntimeError, match="start it first"):
        _ = sieve.url
    assert FakeSieve(host="::1", port=1).url == "http://[::1]:1"
    sieve.add_job("j")

    async def run() -> tuple[str, int]:
        key = {"X-API-Key": sieve.api_key}
        async with sieve, aiohttp.request("GET", sieve.url + "/v2/jobs/j", headers=key) as answer:
            return sieve.url, answer.status

    first, second = asyncio.run(run()), asyncio.run(run())
    assert first == second == (sieve.url, 200)
    assert sieve.requests_for("j") == 2
    assert sieve.requests[0].at <= sieve.requests[1].at
    assert repr(sieve).endswith(", stopped, 1 jobs, 1 versions>")


def ask(sieve: FakeSieve, path: str) -> Document:
    """Get a document as a synchronous program does."""
    request = urllib.request.Request(sieve.url + path, headers={"X-API-Key": sieve.api_key})  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 - our own server
            document: Document = json.load(response)
            return document | {"http": 200}
    except urllib.error.HTTPError as error:
        with error:
            return {"http": error.code}


def test_server_in_a_thread() -> None:
    """A synchronous program has a server for the time of a block, and none after it."""
    before = threading.active_count()
    with FakeSieve.in_thread(api_key="key") as sieve:
        sieve.add_job("j", outputs=["a"])
        seen = ask(sieve, "/v2/jobs/j")
        during = threading.active_count()
        with pytest.raises(ValueError, match="there is a job 'j' already"):
            sieve.add_job("j")  # an error is raised where the call was made
    assert (seen["status"], during - before, threading.active_count()) == ("finished", 1, before)
    assert (sieve.api_key, sieve.requests_for("j")) == ("key", 1)
    with pytest.raises(urllib.error.URLError):
        ask(sieve, "/v2/jobs/j")


def test_everything_can_be_called_from_outside() -> None:
    """Calls are made in the server's thread: a held request is answered at once."""
    with FakeSieve.in_thread(clock="manual") as sieve, ThreadPoolExecutor() as pool:
        jobs = [sieve.job(sieve.add_job(name, by="manual")) for name in ("a", "b", "c", "d")]
        sieve.add_job("timed", processing=60)
        moves: dict[str, partial[None]] = {
            "a": partial(jobs[0].finish),
            "b": partial(jobs[1].fail),
            "c": partial(jobs[2].cancel),
            "d": partial(sieve.remove_job, "d"),
            "timed": partial(sieve.advance, 60),
        }
        seen = []
        for name, move in moves.items():
            waiting = pool.submit(ask, sieve, f"/v2/jobs/{name}/await")
            while not sieve.in_flight:
                pass
            move()
            seen.append(waiting.result(timeout=60).get("status"))
        with sieve.fault(status=503):
            refused = ask(sieve, "/v2/jobs/a")
        ids = list(pool.map(lambda number: sieve.add_job(f"j{number}"), range(50)))
        statuses = set(pool.map(lambda job_id: ask(sieve, f"/v2/jobs/{job_id}")["status"], ids))
    assert seen == ["finished", "error", "cancelled", None, "finished"]
    assert (refused["http"], jobs[0].status, statuses) == (503, "finished", {"finished"})


def test_start_that_fails() -> None:
    """A server that cannot start raises where it is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = FakeSieve.in_thread(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"), server:
            pass
