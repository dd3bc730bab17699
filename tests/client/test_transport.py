"""The transport: bodies, connections, sessions, proxies and TLS, with a raw server."""

import asyncio
import gzip
import json
import traceback
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from helpers.leak_checks import KEY, error_of
from helpers.raw_server import (
    JOB,
    JOB_PATH,
    Action,
    RawServer,
    Script,
    error_response,
    job_json,
    respond,
    respond_chunked,
    serve_once,
)
from sieve_async import Limits, RetryPolicy, SieveClient, errors

pytestmark = pytest.mark.looptime

BODY = json.dumps(job_json(note="x" * 1000)).encode()
LARGE = json.dumps(job_json(note="x" * 1_000_000)).encode()
SMALL_LIMIT = Limits(max_response_bytes=500)


def bare_deflate(body: bytes) -> bytes:
    """A deflate stream without the head of zlib, as some servers send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def coded(coding: str, body: bytes, status: int = 200) -> Script:
    """A response with a Content-Encoding."""
    return respond(body, status=status, headers=[("Content-Encoding", coding)])


@pytest.fixture(params=["own", "session"])
async def session(request: pytest.FixtureRequest) -> AsyncIterator[aiohttp.ClientSession | None]:
    """No session, or one of the caller's."""
    if request.param == "own":
        yield None
        return
    jar = aiohttp.CookieJar(unsafe=True)  # else it takes none from an address
    async with aiohttp.ClientSession(cookie_jar=jar) as opened:
        yield opened


BROKEN = [
    ("gzip", b"no gzip"),
    ("gzip", gzip.compress(BODY)[:14] + b"\xff" + gzip.compress(BODY)[15:]),
    ("gzip", gzip.compress(BODY)[:-8] + b"\0" * 8),
    ("gzip", gzip.compress(BODY) + b"garbage"),
    ("deflate", b"\xff" * 50),
]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
GOOD: dict[str, Script] = {
    "plain": respond(BODY),
    "in pieces": [0.1, *respond_chunked(BODY)],
    "slowly": [respond(BODY)[0][:-10], 1.0, BODY[-10:]],  # type: ignore[index]
    "until the end": [b"HTTP/1.1 200 OK\r\n\r\n" + BODY, Action.CLOSE],
    "gzip": coded("gzip", gzip.compress(BODY)),
    "deflate": coded("deflate", zlib.compress(BODY)),
    "bare deflate": coded("deflate", bare_deflate(BODY)),
    "identity": coded("identity", BODY),
    "many steps": coded("x-gzip", gzip.compress(LARGE)),
    "capitals": coded("GZip", gzip.compress(BODY)),
    "gzip in pieces": [
        step
        for piece in respond_chunked(
            gzip.compress(BODY), pieces=30, head="Content-Encoding: gzip\r\n"
        )
        for step in (piece, 0.01)
    ],
    "two members": coded("gzip", gzip.compress(BODY[:99]) + gzip.compress(BODY[99:])),
    "an empty member first": coded("gzip", gzip.compress(b"") + gzip.compress(BODY)),
    "a zero byte behind it": coded("gzip", gzip.compress(BODY) + b"\0"),
    "without its checksum": coded("gzip", gzip.compress(BODY)[:-8]),
    "early hints": [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", *respond(BODY)],
}
BAD: dict[str, tuple[Script, type[errors.SieveError], str]] = {
    "coding": (coded("br", BODY), errors.DecodeError, "coded in a way that was not asked for"),
    "two codings": (coded("gzip, gzip", BODY), errors.DecodeError, "not asked for"),
    "no coding": (coded("gz\xefp", BODY), errors.DecodeError, "not asked for"),
    **{
        f"broken {coding} {number}": (coded(coding, body), errors.DecodeError, "body is broken")
        for number, (coding, body) in enumerate(BROKEN)
    },
    "cut": (respond(BODY, Action.CLOSE, length=9999), errors.TransportError, "was cut off"),
    **{
        f"chunk {number}": ([head, 0.1, frame], errors.TransportError, "was cut off")
        for number, (head, frame) in enumerate(
            (CHUNKED + coding + b"\r\n", frame)
            for coding in (b"", b"Content-Encoding: gzip\r\n")
            for frame in (b"no size\r\n", b"1\r\nxx\r\n")
        )
    },
    "no HTTP": ([b"SMTP ready\r\n\r\n", Action.CLOSE], errors.TransportError, "malformed as HTTP"),
    "headers": (
        respond(BODY, headers=[("X", "x" * 10_000)]),
        errors.TransportError,
        "exceed the limits of the HTTP parser",
    ),
    "half a head": (
        [b"HTTP/1.1 200 OK\r\nX: y", Action.CLOSE],
        errors.ConnectError,
        "broke before",
    ),
    "closed": ([Action.CLOSE], errors.ConnectError, "the connection broke before an answer"),
}
TOO_LARGE: list[Script] = [
    respond(BODY),
    [step for chunk in respond_chunked(BODY) for step in (chunk, 0.1)],
    [respond(BODY)[0][:-10], 0.1, BODY[-10:]],  # type: ignore[index]
    coded("gzip", gzip.compress(LARGE)),
    [b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"],
    respond_chunked(gzip.compress(b"") * 100, pieces=100, head="Content-Encoding: gzip\r\n"),
]


async def test_good_bodies(session: aiohttp.ClientSession | None) -> None:
    """A body is read whichever way it comes, and the connection is kept where that is possible."""
    for script in GOOD.values():
        async with serve_once(script, session=session) as (server, client):
            for _ in range(2):
                job = await client.get_job(JOB, offset=3)
                assert len(job.extra["note"]) in {1000, 1_000_000}
        assert server.requests[0].target == f"{JOB_PATH}?offset=3"
        assert server.requests[0].header("X-API-Key") == KEY
        assert server.connections == (2 if Action.CLOSE in script else 1)


@pytest.mark.parametrize("kind", BAD)
async def test_bad_answers(session: aiohttp.ClientSession | None, kind: str) -> None:
    """What is no complete answer is an error that says why, on one connection."""
    script, error_class, reason = BAD[kind]
    async with serve_once(script, session=session) as (server, client):
        error = await error_of(client.get_job(JOB))
        assert client.stats.in_flight == 0
    assert type(error) is error_class
    assert reason in str(error)
    assert len(server.requests) == 1


async def test_bodies_that_are_too_large(session: aiohttp.ClientSession | None) -> None:
    """A body beyond the limit is an error, before and after decompression; not one of its size."""
    for script in TOO_LARGE:
        async with serve_once(script, limits=SMALL_LIMIT, session=session) as (_, client):
            error = await error_of(client.get_job(JOB))
        assert type(error) is errors.ResponseTooLargeError
        assert "over 500 bytes" in str(error)
    for script in (respond(BODY), coded("gzip", gzip.compress(BODY))):
        limits = Limits(max_response_bytes=len(BODY))
        async with serve_once(script, limits=limits, session=session) as (_, client):
            assert (await client.get_job(JOB)).succeeded


async def test_bodies_of_errors(session: aiohttp.ClientSession | None) -> None:
    """Of an error the beginning is read, and no more awaited; a broken body costs only its text."""
    detail = json.dumps({"detail": "no such thing"}).encode()
    unread = b"HTTP/1.1 400 No\r\nContent-Length: 99999999\r\n"
    packed = b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 1_000_000)
    scripts: list[tuple[str, Script]] = [
        ("no such thing", coded("gzip", gzip.compress(detail), status=400)),
        ("x" * 2000, respond(b"x" * 200_000, status=400)),
        ("x" * 2000, [unread + b"\r\n" + b"x" * 65536]),
        ("x" * 2000, [unread + packed]),
        ("", coded("br", detail, status=400)),
        ("", coded("gzip", b"no gzip", status=400)),
        ("{", coded("gzip", gzip.compress(detail)[:12], status=400)),
        ("", coded("gzip", b"", status=400)),
    ]
    for text, script in scripts:
        async with serve_once(script, session=session) as (_, client):
            for _ in range(2):
                error = await error_of(client.get_job(JOB))
                assert isinstance(error, errors.APIError)
                assert error.detail == text
    cut = [*respond(b"no", status=400, length=99), Action.CLOSE]
    async with serve_once(cut, session=session) as (_, client):
        assert "cut off" in str(await error_of(client.get_job(JOB)))


FORGED = b'HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n{"id": "job-1", "status":"error"}'


async def test_connection_of_a_cancelled_request_is_closed(
    session: aiohttp.ClientSession | None,
) -> None:
    """The response to a cancelled request is never taken for that to the next one."""
    async with serve_once(respond(), [1.0, FORGED], respond(), session=session) as (server, client):
        await client.get_job(JOB)
        task = asyncio.create_task(client.get_job(JOB))
        await asyncio.sleep(0.9)
        task.cancel()
        await asyncio.wait([task])
        assert (await client.get_job(JOB)).succeeded
        assert server.connections == 2


async def test_connections_that_cannot_be_used_again(session: aiohttp.ClientSession | None) -> None:
    """A pooled connection that has died or holds unrequested data costs no attempt."""
    ends: list[bytes | Action] = [
        *(Action.CLOSE, FORGED, FORGED * 2, FORGED[:-30], b"\x00\x01garbage\r\n"),
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
    ]
    for end in ends:
        first = [*respond(), 0.1, end]
        async with serve_once(first, respond(), session=session) as (server, client):
            assert (await client.get_job(JOB)).succeeded
            await asyncio.sleep(1)
            assert (await client.get_job(JOB)).succeeded
        assert server.connections == 2


async def test_idle_connections_are_not_trusted(session: aiohttp.ClientSession | None) -> None:
    """After one pooled connection was found dead, the others are not used either."""
    held: Script = [1.0, *respond()]
    scripts = [held, held, [Action.CLOSE], held]
    async with serve_once(*scripts, session=session) as (server, client):
        await asyncio.gather(client.get_job(JOB), client.get_job(JOB))
        assert (await client.get_job(JOB)).succeeded
        await asyncio.gather(client.get_job(JOB), client.get_job(JOB))
    assert all(request.connection > 2 for request in server.requests[3:])


async def test_dead_connection_during_a_pause(session: aiohttp.ClientSession | None) -> None:
    """Nothing is sent again at once during a pause that began meanwhile."""
    held: Script = [1.0, *respond()]
    limited: Script = [0.2, *error_response(429, ("Retry-After", "30"))]
    scripts: list[Script] = [held, held, [0.5, Action.CLOSE], limited, respond()]
    async with serve_once(*scripts, session=session) as (server, client):
        await asyncio.gather(client.get_job(JOB), client.get_job(JOB))
        found = await asyncio.gather(*(error_of(client.get_job(JOB)) for _ in range(2)))
        kinds = {type(error) for error in found}
        assert kinds == {errors.ConnectError, errors.RateLimitError}
        assert len(server.requests) == 4
        await asyncio.sleep(40)
        await client.get_job(JOB)
    assert server.requests[4].connection == 3  # the other idle connection is not trusted either


async def test_timeouts(session: aiohttp.ClientSession | None) -> None:
    """A request that has no complete answer in time, on a fresh or on a pooled connection."""
    held: Script = [1.0, *respond()]
    silent = serve_once(held, held, [Action.SILENCE], timeout=5, session=session)
    async with silent as (server, client):
        await asyncio.gather(client.get_job(JOB), client.get_job(JOB))
        for _ in range(2):
            error = await error_of(client.get_job(JOB))
            assert isinstance(error, errors.RequestTimeoutError)
            assert error.sent
        assert server.connections == 3  # two pooled ones, and a fresh one after the silence
        assert isinstance(await error_of(client.wait_for_job(JOB, timeout=12)), TimeoutError)
    assert len(server.requests) >= 4 + 2  # polls have the timeout of a request, too


async def test_cookies_and_redirects(session: aiohttp.ClientSession | None) -> None:
    """Cookies are neither kept nor sent, and redirects are not followed."""
    first = error_response(302, ("Set-Cookie", "a=1"), ("Location", "https://evil.example/"))
    async with serve_once(first, respond(), session=session) as (server, client):
        assert "redirect" in str(await error_of(client.get_job(JOB))).lower()
        await client.get_job(JOB)
    assert [request.header("Cookie") for request in server.requests] == [None, None]
    assert session is None or len(session.cookie_jar) == 0


async def test_closing_during_a_request(session: aiohttp.ClientSession | None) -> None:
    """A request in flight ends when the client is closed, or the session by its owner."""
    async with serve_once([Action.SILENCE], session=session) as (server, client):
        asking = asyncio.create_task(client.get_job(JOB))
        while not server.in_flight:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        await (client if session is None else session).close()
        with pytest.raises(errors.ClientClosedError):
            await asking
        with pytest.raises(errors.ClientClosedError):
            await client.get_job(JOB)


def text_of(error: BaseException) -> str:
    """The traceback of an error, with the values of the local variables."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(shown.format())


async def test_interruptions() -> None:
    """A cancellation of the caller passes; what a trace of the caller's raises is translated."""

    class StopRun(BaseException):
        pass

    raised: list[BaseException] = [LookupError("of a hook"), StopRun()]

    async def on_request_start(*_: object) -> None:
        raise raised.pop(0)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(on_request_start)
    async with aiohttp.ClientSession(trace_configs=[trace]) as traced:
        async with serve_once(session=traced) as (server, client):
            error = await error_of(client.get_job(JOB))
            assert type(error) is errors.TransportError
            assert "LookupError: of a hook" in str(error)
            with pytest.raises(StopRun) as stopped:
                await client.get_job(JOB)
            assert KEY not in text_of(stopped.value)
        assert not server.requests
    async with (
        aiohttp.ClientSession() as plain,
        serve_once([Action.SILENCE], session=plain) as (_, client),
    ):
        asking = asyncio.create_task(client.get_job(JOB))
        await asyncio.sleep(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await asking
        assert KEY not in text_of(cancelled.value)


async def test_invalid_settings_of_the_transport() -> None:
    """A session must be one of aiohttp, and of this loop; a word is no truth value."""
    with pytest.raises(errors.ConfigError, match=r"session must be an aiohttp\.ClientSession"):
        SieveClient(KEY, session="session")  # type: ignore[arg-type] # on purpose
    with pytest.raises(errors.ConfigError, match="trust_env must be a bool"):
        SieveClient(KEY, trust_env="no")  # type: ignore[arg-type] # on purpose

    async def open_elsewhere() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    foreign = await asyncio.to_thread(lambda: asyncio.run(open_elsewhere()))
    with pytest.raises(errors.WrongEventLoopError, match="the session of this client"):
        await SieveClient(KEY, session=foreign).__aenter__()
    await foreign.close()


async def test_connecting_fails() -> None:
    """A refused connection, an invalid host and a server without TLS, each in its own words."""
    async with RawServer([Action.DONT_READ, b"220 ready\r\n", Action.CLOSE]) as server:
        port = server.url.rpartition(":")[2]
        once = RetryPolicy(max_attempts=1)
        async with SieveClient(KEY, base_url=f"https://localhost:{port}", retry=once) as client:
            assert type(await error_of(client.get_job(JOB))) is errors.TLSError
    async with RawServer([Action.DONT_READ, Action.CLOSE]) as server:
        port = server.url.rpartition(":")[2]
        async with SieveClient(KEY, base_url=f"https://localhost:{port}", retry=once) as client:
            error = await error_of(client.get_job(JOB))
            assert "closed during the TLS handshake" in str(error)
    async with SieveClient(KEY, base_url=server.url, retry=once) as client:
        error = await error_of(client.get_job(JOB))
        assert type(error) is errors.ConnectError
        assert not error.sent
        assert "Connection refused" in str(error)


async def test_proxies(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A proxy of the environment is used where that is wanted, and its errors are distinguished."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("default login me password secret\n")
    async with RawServer(respond(), error_response(407), respond(), [Action.CLOSE]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        settings: dict[str, Any] = {"trust_env": True, "retry": RetryPolicy(max_attempts=1)}
        async with SieveClient(KEY, base_url="http://localhost:9", **settings) as client:
            assert (await client.get_job(JOB)).succeeded
            assert proxy.requests[0].target == f"http://localhost:9{JOB_PATH}"
            assert proxy.requests[0].header("Authorization") is None
            error = await error_of(client.get_job(JOB))
            assert isinstance(error, errors.ProxyError)
            assert (error.status, error.sent) == (407, False)
            assert (await client.get_job(JOB)).succeeded
            assert type(await error_of(client.get_job(JOB))) is errors.ConnectError
        monkeypatch.setenv("no_proxy", "localhost")
        async with SieveClient(KEY, base_url="http://localhost:9", **settings) as client:
            assert "cannot connect to localhost" in str(await error_of(client.get_job(JOB)))
    monkeypatch.setenv("https_proxy", proxy.url)
    async with SieveClient(KEY, base_url="https://host.example", **settings) as client:
        error = await error_of(client.get_job(JOB))
        assert isinstance(error, errors.ProxyError)
        assert "cannot connect to the proxy" in str(error)
    for answer, words, is_transient in (
        (error_response(403), "the proxy answered 403", False),
        ([b"no HTTP\r\n\r\n"], "malformed as HTTP", True),
        ([Action.CLOSE], "the proxy closed the connection", True),
    ):
        async with RawServer(answer) as proxy:
            monkeypatch.setenv("https_proxy", proxy.url)
            async with SieveClient(KEY, base_url="https://host.example", **settings) as client:
                error = await error_of(client.get_job(JOB))
        assert isinstance(error, errors.ProxyError)
        assert words in str(error)
        assert (error.sent, error.is_transient) == (False, is_transient)
    for invalid in ("ftp://host", "http://[::1", "http://", "http://u:hidden@:1"):
        monkeypatch.setenv("https_proxy", invalid)
        with pytest.raises(errors.ConfigError, match="HTTPS_PROXY must be the URL of") as caught:
            SieveClient(KEY, base_url="https://host.example", trust_env=True)
        assert "hidden" not in str(caught.value)
