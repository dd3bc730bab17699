"""Connections, TLS, base URLs, proxies, sessions of callers, and the names of aiohttp in use."""

import asyncio
import contextlib
import gc
import gzip
import inspect
import json
import logging
import socket
import ssl
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import attrs
import pytest
import trustme
from multidict import CIMultiDict

from helpers.leak_checks import KEY, check_error, error_of
from helpers.network import FakeResolver, server_context, trusting_session
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    RawServer,
    Script,
    ScriptedServer,
    job_json,
    respond,
    respond_chunked,
    serve,
    serve_once,
)
from helpers.transports import GET, PUSH, transport_of
from sieve_async import Limits, RetryPolicy, SieveClient, Timeout, errors
from sieve_async.config import Config
from sieve_async.transport import Transport
from sieve_async.transport.connection import _NEEDED
from sieve_async.transport.errors import Exchange

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "a" * 300, "1.2.3.4.5"])
async def test_invalid_host(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(name: str, *_: object, **__: object) -> list[object]:
        name.encode("idna")  # as the real one, which then asks a DNS server
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        client = SieveClient(KEY, base_url=f"https://{host}")
    except errors.ConfigError as invalid:
        check_error(invalid)
        return
    async with client:
        assert isinstance(await error_of(client.get_job(JOB)), errors.ConnectError)


async def test_unknown_authority(authority: trustme.CA) -> None:
    """A session of our own trusts the authorities of the system only."""
    tls = server_context(authority)
    async with RawServer(respond(), tls=tls) as server, server.client() as client:
        for call in (client.get_job(JOB), client.wait_for_job(JOB)):
            error = await error_of(call)
            assert isinstance(error, errors.TLSError)
            assert (error.attempts, server.requests) == (1, [])


async def test_trusted_authority(authority: trustme.CA) -> None:
    """A session that trusts the authority works; a reset over TLS is retried."""
    bad: Script = [b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", Action.RESET]
    tls = server_context(authority)
    async with trusting_session(authority) as session, RawServer(bad, respond(), tls=tls) as server:
        async with server.client(session=session) as client:
            assert (await client.get_job(JOB)).succeeded
            assert (await client.get_job(JOB)).succeeded
        assert server.connections == 2


@pytest.mark.parametrize("has_session", [True, False], ids=["session", "own"])
@pytest.mark.parametrize("limit", [Timeout(connect=1), Timeout(request=1)], ids=str)
async def test_stalled_handshake(limit: Timeout, *, has_session: bool) -> None:
    """Nothing was sent, whichever limit ends the handshake: a push has started no job."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(RawServer([Action.DONT_READ, Action.SILENCE]))
        session = None
        if has_session:
            session = await stack.enter_async_context(aiohttp.ClientSession())
        url = server.url.replace("http:", "https:")
        client = server.client(base_url=url, timeout=limit, session=session)
        await stack.enter_async_context(client)
        for call in (client.get_job(JOB), client.push_job("o/f")):
            error = await error_of(call)
            assert isinstance(error, errors.RequestTimeoutError)
            assert (error.sent, error.attempts) == (False, 3)


async def test_server_that_requires_a_client_certificate(authority: trustme.CA) -> None:
    """The error mentions TLS."""
    tls = server_context(authority)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    async with trusting_session(authority) as session, RawServer(tls=tls) as server:
        error = await error_of(server.client(session=session).get_job(JOB))
        assert type(error) is errors.ConnectError
        assert "TLS may want a certificate" in str(error)
        assert server.requests == []


async def test_base_path() -> None:
    """A base URL may have a path and a trailing slash."""
    async with serve() as (server, _), server.client(base_url=f"{server.url}/a/b%20c/") as client:
        await client.get_job(JOB)
        await client.get_job(JOB, offset=3)
        targets = [request.target for request in server.requests]
        assert targets == ["/a/b%20c/v2/jobs/job-1", "/a/b%20c/v2/jobs/job-1?offset=3"]


both = pytest.mark.parametrize("way", ["environment", "session"])

TARGET = "https://sieve.test"


def proxy_with(status: int | None, garbage: bytes = b"") -> RawServer:
    """A proxy that answers each request with this status, or with garbage."""
    head = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n"
    return RawServer([garbage if status is None else head % status, Action.CLOSE])


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names no proxies but those of the test."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def client_through(
    way: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SieveClient]:
    """A client that reaches the target through the proxy, by the environment or by a session."""
    if way == "environment":
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with SieveClient(KEY, base_url=TARGET, trust_env=True) as client:
            yield client
        return
    async with (
        aiohttp.ClientSession(proxy=proxy) as session,
        SieveClient(KEY, base_url=TARGET, session=session) as client,
    ):
        yield client


@both
@pytest.mark.parametrize("status", [400, 403, 407, 502])
async def test_rejected_connect(way: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's own response is reported as such; 4xx are lasting, and nothing was sent."""
    async with proxy_with(status) as proxy, client_through(way, proxy.url, monkeypatch) as client:
        error = await error_of(client.get_job(JOB))
        assert type(error) is errors.ProxyError
        assert error.reason == f"the proxy answered {status}"
        assert (error.status, error.sent, error.is_transient) == (status, False, status >= 500)
        assert error.attempts == len(proxy.requests) == (1 if status < 500 else 3)
        assert all(each.head.startswith(b"CONNECT sieve.test:443 ") for each in proxy.requests)
        assert all(KEY.encode() not in each.raw for each in proxy.requests)


async def test_unused_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``trust_env`` the environment does not count."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with RawServer() as server, server.client() as client:
        assert (await client.get_job(JOB)).succeeded


async def test_urls_of_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials go to the proxy, and into no error; a URL without a scheme is plain http."""
    async with proxy_with(403) as proxy:
        for url in (proxy.url.replace("//", "//user:hidden@"), proxy.url.removeprefix("http://")):
            async with client_through("environment", url, monkeypatch) as client:
                error = await error_of(client.get_job(JOB))
            assert "hidden" not in f"{error!r} {error}"
        assert proxy.requests[0].header("Proxy-Authorization") == "Basic dXNlcjpoaWRkZW4="
        assert len(proxy.requests) == 2


@pytest.mark.parametrize("authorization", [None, "Bearer gateway"])
async def test_authorization(
    authorization: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A netrc file adds no header; a header that the caller has set in the session is sent."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password hidden\n")
    if authorization is None:
        monkeypatch.setenv("NETRC", str(netrc))
    headers = {"Authorization": authorization} if authorization else {}
    async with RawServer() as server:
        async with (
            aiohttp.ClientSession(trust_env=True, headers=headers) as session,
            server.client(session=session) as client,
        ):
            await client.get_job(JOB)
        async with server.client(trust_env=True) as client:
            await client.get_job(JOB)
        sent = [request.header("Authorization") for request in server.requests]
        assert sent == [authorization, None]


async def test_session_is_not_changed() -> None:
    """The session is used, not closed and not changed, and it keeps no cookies."""
    jar = aiohttp.CookieJar(unsafe=True)  # accepts cookies of IP addresses
    async with aiohttp.ClientSession(
        headers={"X-Mine": "yes"}, cookies={"theirs": "1"}, cookie_jar=jar
    ) as session:
        before = (dict(session.headers), [str(cookie) for cookie in session.cookie_jar])
        sent = [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d; Path=/")]
        async with serve(respond(headers=sent), session=session) as (server, client):
            await client.get_job(JOB)
            await client.get_job(JOB)
        await client.close()
        assert not session.closed
        assert (dict(session.headers), [str(cookie) for cookie in session.cookie_jar]) == before
        assert [seen.header("X-Mine") for seen in server.requests] == ["yes", "yes"]
        assert [seen.header("Cookie") for seen in server.requests] == [None, None]
        assert [seen.header("X-API-Key") for seen in server.requests] == [KEY, KEY]
        assert server.connections == 1


async def test_requests_are_freed() -> None:
    """A request with its headers is freed when it is over, not by the garbage collector."""
    made: list[weakref.ref[aiohttp.ClientRequest]] = []

    class Recorded(aiohttp.ClientRequest):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(weakref.ref(self))

    async with (
        aiohttp.ClientSession(request_class=Recorded) as session,
        serve(respond(), session=session) as (_, client),
    ):
        gc.disable()
        try:
            await client.get_job(JOB)
            assert [request() for request in made] == [None]
        finally:
            gc.enable()


SESSIONS: dict[str, dict[str, Any]] = {
    "raise_for_status": {"raise_for_status": True},
    "auto_decompress": {"auto_decompress": False},
    "timeout": {"timeout": aiohttp.ClientTimeout(total=0.001)},
    "headers": {"headers": {"X-API-Key": "another", "Accept-Encoding": "br", "Accept": "text/*"}},
    "HTTP/1.0": {"version": aiohttp.HttpVersion10},
    "base_url": {"base_url": "http://127.0.0.1:9/elsewhere/"},
    "no skip": {"skip_auto_headers": ["User-Agent", "Accept"]},
    "small buffer": {"read_bufsize": 16},
}


@pytest.mark.parametrize("settings", SESSIONS.values(), ids=SESSIONS)
async def test_session_settings(settings: dict[str, Any]) -> None:
    """Responses are read and errors raised, whatever the session's settings are."""
    body = json.dumps(job_json()).encode()
    scripts: list[Script] = [
        [0.1, *respond({"detail": "no"}, status=404)],
        [0.1, *respond_chunked(body)],
        respond(gzip.compress(body), headers=[("Content-Encoding", "gzip")]),
        respond({}, status=302, headers=[("Location", "/elsewhere")]),
    ]
    async with (
        aiohttp.ClientSession(**settings) as session,
        serve(*scripts, session=session) as (server, client),
    ):
        missing = await error_of(client.get_job(JOB))
        plain, packed = await client.get_job(JOB), await client.get_job(JOB)
        redirect = await error_of(client.get_job(JOB))
        assert isinstance(missing, errors.NotFoundError)
        assert missing.detail == "no"
        assert (plain.succeeded, packed.succeeded) == (True, True)
        assert isinstance(redirect, errors.RedirectError)
        assert {seen.header("X-API-Key") for seen in server.requests} == {KEY}
        assert {seen.header("Accept-Encoding") for seen in server.requests} == {"gzip, deflate"}
        assert len(server.requests) == 4


async def test_two_clients_on_one_session() -> None:
    """A dead connection that another client has used is known as reused: it costs no attempt."""
    async with (
        aiohttp.ClientSession() as session,
        serve_once(respond(), [Action.CLOSE], respond(), session=session) as (server, first),
        server.client(session=session, retry=RetryPolicy(max_attempts=1)) as second,
    ):
        await first.get_job(JOB)
        assert (await second.get_job(JOB)).succeeded


@pytest.mark.parametrize(
    ("hook", "is_sent"),
    [("on_request_start", False), ("on_connection_create_end", False), ("on_request_end", True)],
)
async def test_error_of_a_trace_hook(hook: str, *, is_sent: bool) -> None:
    """What a hook of the session raises is not retried; a late hook may follow the request."""

    async def fail(*_: object) -> None:
        raise KeyError("span")

    trace = aiohttp.TraceConfig()
    getattr(trace, hook).append(fail)
    async with (
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        serve(session=session) as (server, client),
    ):
        raised = await error_of(client.get_job(JOB))
        assert isinstance(raised, errors.TransportError)
        assert raised.reason == "KeyError: 'span'"
        assert (raised.sent, raised.is_transient, raised.attempts) == (is_sent, False, 1)
        assert len(server.requests) == is_sent


async def test_cancellation_while_the_session_is_closed() -> None:
    async with (
        aiohttp.ClientSession() as session,
        serve([Action.SILENCE], session=session) as (_, client),
    ):
        asking = asyncio.create_task(client.get_job(JOB))
        await asyncio.sleep(1)
        asking.cancel()
        await session.close()
        await asyncio.wait([asking])
        assert asking.cancelled()


async def test_timeout_that_a_resolver_turns_into_another_error() -> None:
    """A resolver that replaces our cancellation leaves the task of the caller not cancelled."""
    task = asyncio.current_task()
    assert task is not None

    async def act() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise KeyError("resolver") from None

    connector = aiohttp.TCPConnector(resolver=FakeResolver(act), use_dns_cache=False)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        SieveClient(KEY, base_url="https://sieve.test", session=session, timeout=1) as client,
    ):
        assert "KeyError" in str(await error_of(client.get_job(JOB)))
        assert task.cancelling() == 0


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
async def test_one_request_per_attempt(end: Action) -> None:
    """The silent retry of aiohttp is off in a caller's session too."""
    async with (
        aiohttp.ClientSession() as session,
        serve(respond(), [end], session=session) as (server, client),
    ):
        await client.get_job(JOB)
        error = await error_of(client.get_job(JOB))
        assert isinstance(error, errors.SieveError)
        # A stale connection is replaced at once, without counting as an attempt.
        assert getattr(error, "attempts", None) == 3
        assert len(server.requests) == client.stats.requests == 1 + 1 + 3


POOLS: dict[str, tuple[dict[str, int], int]] = {
    "limit": ({"limit": 2}, 2),
    "limit per host": ({"limit": 50, "limit_per_host": 2}, 2),
    "only a limit per host": ({"limit": 0, "limit_per_host": 2}, 2),
    "no limit": ({"limit": 0}, 5),
}


@pytest.mark.parametrize(("pool", "connections"), POOLS.values(), ids=POOLS)
async def test_small_pool(pool: dict[str, Any], connections: int) -> None:
    """Calls that queue for a small pool of the session do not time out."""
    timeout, limits = Timeout(request=2), Limits(max_connections=5)
    settings: dict[str, Any] = {"timeout": timeout, "limits": limits}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(**pool)) as session,
        serve([1.0, *respond()], session=session, **settings) as (server, client),
    ):
        jobs = await asyncio.gather(*(client.get_job(JOB) for _ in range(20)))
        assert [job.succeeded for job in jobs] == [True] * 20
        assert (client.stats.requests, client.stats.retries) == (20, 0)
        assert (len(server.requests), server.connections) == (20, connections)


NAMES = [(path, name) for path, names in _NEEDED.items() for name in sorted(names)]
REQUEST_KEY = "client_reqrep.ClientRequest.connection_key"


class CountingTransport(Transport):
    """A transport that counts its connectors."""

    opened = 0

    def _open_connector(self) -> aiohttp.TCPConnector:
        self.opened += 1
        return super()._open_connector()


def without(path: str, name: str) -> Any:
    """A class without this attribute, or a function without this parameter."""
    others = _NEEDED[path] - {name}
    if isinstance(attrgetter(path)(aiohttp), type):
        return type("Lacking", (), dict.fromkeys(others))
    function: Any = lambda: None  # noqa: E731 - it is never called
    kind = inspect.Parameter.KEYWORD_ONLY
    function.__signature__ = inspect.Signature([inspect.Parameter(each, kind) for each in others])
    return function


@pytest.mark.parametrize(
    ("path", "name"), [*NAMES, ("http.RawResponseMessage", ""), (REQUEST_KEY, ""), ("", "")]
)
async def test_missing_name(
    path: str, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No request is lost or sent twice, and one line is logged; nothing lacks by default."""
    caplog.set_level(logging.INFO, "sieve_async")
    async with RawServer() as server:
        transport = CountingTransport(Config(api_key=KEY, base_url=server.url), Timeout(), Limits())
        with monkeypatch.context() as patch:
            if name:
                patch.setattr(f"aiohttp.{path}", without(path, name))
            elif path:
                patch.delattr(f"aiohttp.{path}")
            transport._sender(GET)
        responses = await asyncio.gather(*(transport.send(GET, None) for _ in range(5)))
        responses += [await transport.send(GET, None), await transport.send(PUSH, None)]
        transport.abort()
        await transport.close()
        assert [response.status for response in responses] == [200] * 7
        assert (len(server.requests), transport.opened) == (7, 2)
        lines = [record.getMessage() for record in caplog.records if record.name == "sieve_async"]
        if path:
            lacking = f"{path}.{name}" if name else path
            lacking = "ClientRequest(method, url)" if path == REQUEST_KEY else lacking
            assert lines == [f"aiohttp {aiohttp.__version__} lacks {lacking}: using its sessions"]
        else:
            assert (lines, transport._is_direct) == ([], True)


async def test_session_without_its_hook() -> None:
    """Where aiohttp did not call ``ClientRequest.send``, a request would count as sent."""

    async def respond(_: Any) -> Any:
        return SimpleNamespace(headers=CIMultiDict())

    async with aiohttp.ClientSession() as session:
        sender: Any = transport_of("http://localhost", session)._sender(GET)
        exchange = Exchange("GET", "/v2/jobs/job-1")
        request = SimpleNamespace(headers=CIMultiDict(), proxy=None)
        await sender._middleware(exchange, fresh=False)(request, respond)
        assert exchange.is_sent
        assert request.headers["X-API-Key"] == KEY


async def test_same_request_both_ways() -> None:
    """The server cannot distinguish the two ways."""
    async with RawServer() as server:
        for trust_env in (False, True):
            config = Config(api_key=KEY, base_url=f"{server.url}/base")
            transport = Transport(config, Timeout(), Limits(), trust_env=trust_env)
            assert KEY not in repr(transport._settings)
            await transport.send(attrs.evolve(GET, query="offset=5"), None)
            transport.abort()
            await transport.close()
        first, second = (request.head for request in server.requests)
        assert sorted(first.lower().split(b"\r\n")) == sorted(second.lower().split(b"\r\n"))
        assert first.startswith(b"GET /base/v2/jobs/job-1?offset=5 HTTP/1.1\r\n")


@pytest.mark.parametrize("what", ["lookup", "push", "single poll"])
async def test_a_connection_of_the_callers_own_requests(what: str) -> None:
    """A connection that the caller's own request has opened is no new one: it may be stale."""

    def reply(asked: RawRequest) -> Script:
        if asked.connection == 1 and asked.number == 2:
            return [Action.CLOSE]
        return respond({"id": "pushed"}) if asked.method == "POST" else respond()

    async with aiohttp.ClientSession() as session, ScriptedServer(reply) as server:
        async with session.get(f"{server.url}/v2/jobs/{JOB}") as own:
            await own.read()
        async with SieveClient(
            KEY, base_url=server.url, session=session, retry=RetryPolicy(max_attempts=1)
        ) as client:
            if what == "lookup":
                assert (await client.get_job(JOB)).succeeded
            elif what == "push":
                assert (await client.push_job("o/f")).id == "pushed"
                assert len(server.requests) == 2
            else:
                assert (await client.wait_for_job(JOB, timeout=0)).succeeded


@pytest.mark.parametrize("is_own", [True, False], ids=["own", "caller's"])
async def test_the_beginning_of_an_unrequested_answer(*, is_own: bool) -> None:
    """A connection on which a part of another answer has come does not cost a try."""
    begun = [*respond(job_json(status="processing")), b"HTTP/1.1 200 OK\r\nContent-Le"]
    rest: Script = [b"ngth: 2\r\n\r\n{}", Action.SILENCE]
    async with (
        aiohttp.ClientSession() as session,
        RawServer(begun, rest, respond()) as server,
        server.client(
            retry=RetryPolicy(max_attempts=1), session=None if is_own else session
        ) as client,
    ):
        await client.get_job(JOB)
        await asyncio.sleep(1)
        assert (await client.get_job(JOB)).succeeded
        assert server.connections == 2


async def test_an_unrequested_answer_on_a_connection_of_the_caller() -> None:
    """A second answer to the caller's own request is not taken for that to ours."""
    second = respond(job_json(status="error"))
    async with (
        aiohttp.ClientSession() as session,
        RawServer([*respond(), 0.5, *second, Action.SILENCE], respond()) as server,
        SieveClient(KEY, base_url=server.url, session=session) as client,
    ):
        async with session.get(f"{server.url}/v2/jobs/{JOB}") as own:
            await own.read()
        await asyncio.sleep(1)
        assert (await client.get_job(JOB)).succeeded
        assert server.connections == 2


async def test_silent_connections_of_the_caller() -> None:
    """After one try on a dead connection, no idle one is used, also none of the caller's."""

    def reply(asked: RawRequest) -> Script:
        return [Action.SILENCE] if asked.number > 1 else [0.1, *respond()]

    async with aiohttp.ClientSession() as session, ScriptedServer(reply) as server:

        async def ask() -> None:
            async with session.get(f"{server.url}/v2/jobs/{JOB}") as own:
                await own.read()

        await asyncio.gather(*(ask() for _ in range(3)))
        async with SieveClient(KEY, base_url=server.url, session=session, timeout=2) as client:
            assert (await client.get_job(JOB)).succeeded
            assert client.stats.requests == 2
