"""What seldom happens: closed in odd moments, no limits at all, states that do not decode."""

import asyncio
import errno
import gc
import gzip
import logging
import traceback
import warnings

import aiohttp
import pytest

from helpers.leak_checks import KEY
from helpers.raw_server import Action, RawServer, Script, job_json, respond, version_json
from sieve_async import (
    ClientClosedError,
    ConfigError,
    ConnectError,
    DecodeError,
    Job,
    PollPolicy,
    RequestTimeoutError,
    RetryPolicy,
    SieveClient,
    Timeout,
    TransportError,
    WaitTimeoutError,
)
from sieve_async.gate import Gate
from sieve_async.testing import FakeSieve
from sieve_async.transport.failures import classify


@pytest.mark.parametrize("name", ["timeout", "retry", "polling", "limits"])
def test_settings_of_another_kind(name: str) -> None:
    """A number where a settings object belongs is refused when the client is made."""
    with pytest.raises(ConfigError, match="is not a"):
        SieveClient("key", **{name: 5})  # type: ignore[arg-type] # that is the point


def test_no_home_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any home directory the file of the official client is not looked for."""
    monkeypatch.setenv("HOME", "~")

    with pytest.raises(ConfigError, match="no API key"):
        SieveClient()


async def test_closed_gate() -> None:
    """A closed gate lets nobody in and nobody sleep."""
    gate = Gate(slots=1, steady_rate=None, clock=asyncio.get_running_loop().time)
    gate.close()

    with pytest.raises(ClientClosedError):
        await gate.enter()
    with pytest.raises(ClientClosedError):
        await gate.sleep_until(0)


@pytest.mark.looptime
async def test_no_limits(sieve: FakeSieve) -> None:
    """``None`` is no limit: without one, an answer may take a day."""
    day = 24 * 3600.0
    patient = Timeout(connect=None, request=None)
    async with (
        RawServer([day, *respond(job_json())]) as wire,
        wire.client(timeout=patient) as client,
    ):
        assert (await client.get_job("job-1")).id == "job-1"
    async with RawServer([Action.CLOSE]) as wire, wire.client(timeout=patient) as client:
        with pytest.raises(ConnectError):
            await client.get_job("job-1")
    sieve.add_job("job", processing=5)
    async with SieveClient(sieve.api_key, base_url=sieve.url, timeout=patient) as client:
        with pytest.raises(WaitTimeoutError):
            await client.wait_for_job("job", timeout=0)


@pytest.mark.looptime
async def test_closed_twice_at_once() -> None:
    """Two tasks may close a client at the same time, while a request times out as well."""
    loop = asyncio.get_running_loop()
    async with RawServer([Action.SILENCE]) as wire:
        client = wire.client(timeout=Timeout(request=5))
        asking = asyncio.create_task(client.get_job("job-1"))
        closing: list[asyncio.Task[None]] = []

        def close_twice() -> None:
            closing.extend(asyncio.create_task(client.close()) for _ in range(2))

        loop.call_at(loop.time() + 5, close_twice)
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.gather(*closing)

        assert isinstance(asking.exception(), (ClientClosedError, RequestTimeoutError))
        assert client.closed


@pytest.mark.looptime
async def test_states_that_do_not_decode(caplog: pytest.LogCaptureFixture) -> None:
    """A running job with a field that does not fit is waited for, but not shown."""
    odd = respond(job_json(status="processing", created_at="yesterday"))
    shown: list[Job] = []
    async with (
        RawServer(odd, odd, respond(job_json(status="finished"))) as wire,
        wire.client() as client,
    ):
        ended = await client.wait_for_job("job-1", on_update=shown.append)
    async with RawServer(odd) as wire, wire.client() as client:
        with pytest.raises(WaitTimeoutError, match=r"\$\.created_at") as caught:
            await client.wait_for_job("job-1", timeout=3)

    assert shown == [ended]
    assert caught.value.last is None
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


@pytest.mark.looptime
async def test_warnings(caplog: pytest.LogCaptureFixture) -> None:
    """An outage and an unknown word are told once for each state, however long they last."""
    down, odd = respond(status=503), respond(version_json(build_status="testing"))
    ready = respond(version_json(build_status="ready"))
    async with RawServer(*[down] * 12, *[odd] * 5, ready) as wire, wire.client() as client:
        await client.wait_until_ready("owner", "name")

    warnings = [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING]
    assert len(warnings) == 2
    assert warnings[0].startswith("version owner/name:latest: a poll failed, going on: GET /v2/")
    assert warnings[1] == "version owner/name:latest: unknown status 'testing', going on"


async def test_compressed_in_pieces() -> None:
    """A compressed body may come in any pieces; nothing may follow it."""
    packed = gzip.compress(b'{"id": "job-1", "status": "finished"}')
    headers = [("Content-Encoding", "gzip"), ("Content-Length", str(len(packed)))]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()
    script: Script = [head, 0.01, packed[:10], 0.01, packed[10:20], 0.01, packed[20:]]
    async with RawServer(script) as wire, wire.client() as client:
        assert (await client.get_job("job-1")).succeeded


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files"), ConnectError, "out of file descriptors"),
        (UnicodeError("label too long"), ConnectError, "host name"),
        (ZeroDivisionError(), TransportError, "ZeroDivisionError"),
    ],
)
def test_failures(error: Exception, kind: type[TransportError], words: str) -> None:
    """What can hardly be played over a socket is classified all the same."""
    failure = classify(error, answering=False)

    assert failure.kind is kind
    assert words in failure.reason


async def test_more_than_one_compressed_body() -> None:
    """What follows a compressed body makes it unusable, as it does without compression."""
    packed = gzip.compress(b'{"id": "job-1", "status": "finished"}') + gzip.compress(b"{}")
    headers = [("Content-Encoding", "gzip"), ("Content-Length", str(len(packed)))]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    script = [f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + packed]
    async with RawServer(script) as wire, wire.client(retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(DecodeError, match="follows"):
            await client.get_job("job-1")


async def test_outside_of_a_task() -> None:
    """A coroutine that is driven by hand, without a task, is told that it needs one."""
    loop = asyncio.get_running_loop()
    raised = loop.create_future()

    def drive() -> None:
        try:
            client.get_job("job-1").send(None)
        except ClientClosedError as error:
            raised.set_result(str(error))

    async with RawServer() as wire, wire.client() as client:
        loop.call_soon(drive)

        assert "task" in await raised


@pytest.mark.looptime
async def test_kept_connection_that_the_server_closed() -> None:
    """A kept connection that the server closes is no sign of trouble: the retry does not wait."""
    loop = asyncio.get_running_loop()
    good = respond(job_json())
    async with (
        RawServer(good, [Action.CLOSE], good, [Action.CLOSE]) as wire,
        wire.client() as client,
    ):
        await client.get_job("job-1")
        started = loop.time()
        again = await client.get_job("job-1")

        assert again.id == "job-1"
        assert loop.time() - started < 0.01
        assert client.stats.retries == 1
        with pytest.raises(ConnectError) as caught:
            await client.get_job("job-1")
        assert caught.value.attempts == 3
        assert wire.gaps[-1] >= 0.05  # a new connection that breaks is another matter


async def test_cancellation_holds_no_key() -> None:
    """A cancelled call shows none of the frames below, whose locals hold the key."""
    async with RawServer([Action.SILENCE]) as wire, wire.client() as client:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.05):
                await client.get_job("job-1")

    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert KEY not in "".join(shown.format())


# A loop that was closed on its tasks leaves them to the garbage collector, in whatever order.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_loop_that_died_with_a_wait() -> None:
    """A client whose loop was closed in the middle of things can still be closed."""

    def abandon(url: str, wait: float) -> None:
        client = SieveClient("key", base_url=url)
        loop = asyncio.new_event_loop()
        task = loop.create_task(client.wait_for_job("job-1"))
        loop.run_until_complete(asyncio.sleep(wait))
        task.cancel()
        loop.close()
        asyncio.run(client.close())
        assert client.closed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the loop was closed on its sockets: that is the point
        async with RawServer([Action.SILENCE]) as wire:
            await asyncio.to_thread(abandon, wire.url, 0.05)
        async with RawServer(respond(job_json(status="processing"))) as wire:
            await asyncio.to_thread(abandon, wire.url, 0.05)
        gc.collect()


@pytest.mark.looptime
async def test_slow_first_poll_does_not_end_the_looking() -> None:
    """When the last poll was planned early, for a slow one, and is quick, there is another."""
    loop = asyncio.get_running_loop()
    running, policy = respond(job_json(status="processing")), PollPolicy(min_interval=2, jitter=0)
    scripts: list[Script] = [[2.0, *running], running, respond(job_json(status="finished"))]
    async with RawServer(*scripts) as wire, wire.client() as client:
        started = loop.time()
        ended = await client.wait_for_job("job-1", timeout=4, polling=policy)

    assert ended.succeeded
    assert loop.time() - started == pytest.approx(3.9)


@pytest.mark.looptime
async def test_slow_listener(sieve: FakeSieve, client: SieveClient) -> None:
    """A listener that takes longer than the wait may: after it, nothing more is asked."""
    sieve.add_job("job", processing=60)

    async def slow(_: Job) -> None:
        await asyncio.sleep(10)

    with pytest.raises(WaitTimeoutError):
        await client.wait_for_job("job", timeout=5, on_update=slow)

    assert sieve.requests_for("job") == 1


@pytest.mark.looptime
async def test_cancelled_close() -> None:
    """A close that is cancelled closes the connections all the same."""
    async with RawServer([Action.SILENCE]) as wire:
        client = wire.client()
        asking = asyncio.create_task(client.get_job("job-1"))
        await asyncio.sleep(1)
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(asking, closing, return_exceptions=True)

        assert client.closed
        assert client._transport._session is not None
        assert client._transport._session.closed


@pytest.mark.parametrize("session", [5, "session", object()])
def test_session_that_is_none(session: object) -> None:
    """What is no session is refused when the client is made."""
    with pytest.raises(ConfigError, match="session"):
        SieveClient("key", session=session)  # type: ignore[arg-type] # that is the point


@pytest.mark.looptime
async def test_session_closed_while_its_pool_is_full() -> None:
    """A call that queues in a caller's pool is told that the session was closed."""
    async with RawServer([Action.SILENCE]) as wire:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))
        async with wire.client(session=session) as one, wire.client(session=session) as other:
            asking = [asyncio.create_task(client.get_job("job-1")) for client in (one, other)]
            await asyncio.sleep(1)
            await session.close()
            outcomes = await asyncio.gather(*asking, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [ClientClosedError, ClientClosedError]
