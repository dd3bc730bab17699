"""Network failures: their classes and reasons, and whether the request may have been received."""

import asyncio
import socket
import ssl
import traceback
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import trustme

from faults.transport_ways import all_ways, failure, get_and_push, send, sending
from helpers.leak_checks import KEY, error_of
from helpers.raw_server import JOB, Action, RawServer, Script
from helpers.resolvers import FakeResolver
from helpers.tls import server_context
from sieve_async import ConnectError, RequestTimeoutError, Timeout, TLSError, TransportError

pytestmark = pytest.mark.looptime


RESOLVER_ERRORS: dict[str, tuple[OSError, str]] = {
    "Linux": (socket.gaierror(-2, "Name unknown"), "the host was not found: Name unknown"),
    "macOS": (socket.gaierror(8, "nodename"), "the host was not found: nodename"),
    "a number of errno": (socket.gaierror(24, "text"), "the host was not found: text"),
    "plain OSError": (OSError(8, "nodename"), "the host was not found: nodename"),
    "no number": (OSError(None, "no data"), "the host was not found: no data"),
    "only a text": (OSError("lookup failed"), "the host was not found: lookup failed"),
    "no descriptors": (OSError(24, "Domain name not found"), "out of file descriptors"),
}


@all_ways
@pytest.mark.parametrize(("error", "reason"), RESOLVER_ERRORS.values(), ids=RESOLVER_ERRORS)
async def test_resolver_errors(way: str, error: OSError, reason: str) -> None:
    """The error has the resolver's text: its numbers are not those of the system."""
    resolver = FakeResolver(error)
    async with sending(way, "https://sieve.test", resolver=resolver) as transport:
        raised = await failure(transport)
    assert isinstance(raised, ConnectError)
    assert raised.reason == reason
    assert (raised.sent, raised.is_transient, resolver.calls) == (False, True, 1)


class ForeignError(Exception):
    """An error of a connector's own."""


@all_ways
@pytest.mark.parametrize(
    "error", [KeyError("region"), ForeignError(f"no route for {KEY}"), ForeignError()], ids=repr
)
async def test_unexpected_error_of_a_resolver(way: str, error: Exception) -> None:
    """An error that no network raises is raised at once, with class and text, without the key."""
    resolver = FakeResolver(error)
    async with sending(way, "https://sieve.test", resolver=resolver) as transport:
        raised = await failure(transport)
    assert type(raised) is TransportError
    assert raised.reason.startswith(type(error).__name__)
    assert str(error).replace(KEY, "[API key]") in raised.reason
    assert (raised.sent, raised.is_transient, resolver.calls) == (False, False, 1)


@pytest.mark.parametrize(
    ("hook", "is_sent"),
    [("on_request_start", False), ("on_connection_create_end", False), ("on_request_end", True)],
)
async def test_unexpected_error_of_a_trace_hook(hook: str, *, is_sent: bool) -> None:
    """The same for a hook of the session; one that fails later may have sent the request."""

    async def fail(*_: object) -> None:
        raise KeyError("span")

    trace = aiohttp.TraceConfig()
    getattr(trace, hook).append(fail)
    async with (
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        RawServer() as server,
        server.client(session=session) as client,
    ):
        raised = await error_of(client.get_job(JOB))
        assert isinstance(raised, TransportError)
        assert raised.reason == "KeyError: 'span'"
        assert (raised.sent, raised.is_transient, raised.attempts) == (is_sent, False, 1)
        assert len(server.requests) == is_sent


@all_ways
async def test_base_exceptions_pass(way: str) -> None:
    """A BaseException passes unchanged, and its traceback shows no key."""

    class Interrupted(BaseException):
        pass

    resolver = FakeResolver(Interrupted())
    async with sending(way, "https://sieve.test", resolver=resolver) as transport:
        with pytest.raises(Interrupted) as caught:
            await send(transport)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert KEY not in "".join(shown.format())


PLACES: dict[str, Script] = {
    "accepted and closed": [Action.DONT_READ, Action.CLOSE],
    "reset after the request": [Action.RESET],
    "half a head": [b"HTTP/1.1 2", Action.CLOSE],
    "half a body": [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", Action.RESET],
    "malformed": [b"SSH-2.0-x\r\n", Action.CLOSE],
    "silence": [Action.SILENCE],
}


@all_ways
@pytest.mark.parametrize("script", PLACES.values(), ids=PLACES)
async def test_sent(way: str, script: Script) -> None:
    """Once a request may have been written, it may have reached the server."""
    timeout = Timeout(request=2)
    async with RawServer(script) as server, sending(way, server.url, timeout=timeout) as transport:
        assert (await failure(transport)).sent


@all_ways
@get_and_push
async def test_not_sent_when_refused(way: str, request_: Any) -> None:
    """A refused connection has sent nothing."""
    async with sending(way, "http://127.0.0.1:1") as transport:
        raised = await failure(transport, request_)
    assert type(raised) is ConnectError
    assert "Connection refused" in raised.reason
    assert raised.sent is False


@all_ways
@get_and_push
@pytest.mark.parametrize("limit", [Timeout(connect=1), Timeout(request=1)], ids=str)
async def test_not_sent_without_a_connection(way: str, request_: Any, limit: Timeout) -> None:
    """A stalled handshake has sent nothing, whichever limit ends it."""
    async with RawServer([Action.DONT_READ, Action.SILENCE]) as server:
        url = server.url.replace("http:", "https:")
        async with sending(way, url, timeout=limit) as transport:
            raised = await failure(transport, request_)
    assert type(raised) is RequestTimeoutError
    assert raised.sent is False


HANDSHAKES: dict[str, tuple[Script, str]] = {
    "alert": ([b"\x15\x03\x03\x00\x02\x02\x28", Action.CLOSE], "TLS: [SSL"),
    "plain HTTP": ([b"HTTP/1.1 400 Plain\r\n\r\n", Action.CLOSE], "TLS: [SSL"),
    "damaged record": ([b"\x16\x03\x03\x00\x05garbage", Action.CLOSE], "TLS: [SSL"),
    "closed": ([Action.CLOSE], "TLS: closed during the TLS handshake"),
    "reset": ([Action.RESET], "TLS: closed during the TLS handshake"),
}


@all_ways
@pytest.mark.parametrize(("script", "reason"), HANDSHAKES.values(), ids=HANDSHAKES)
async def test_broken_handshakes(way: str, script: Script, reason: str) -> None:
    """A broken handshake is transient, and its reason is that of TLS."""
    async with (
        RawServer([Action.DONT_READ, 0.01, *script]) as server,
        sending(way, server.url.replace("http:", "https:")) as transport,
    ):
        raised = await failure(transport)
    assert type(raised) is TLSError
    assert raised.reason.startswith(reason)
    assert (raised.sent, raised.is_certificate_error, raised.is_transient) == (False, False, True)


PAST = datetime(2020, 1, 1, tzinfo=UTC)


@all_ways
@pytest.mark.parametrize("kind", ["unknown", "another host", "expired", "fingerprint"])
async def test_certificate_problem_is_lasting(way: str, kind: str, authority: trustme.CA) -> None:
    """A certificate that is not trusted is requested once."""
    client_side: Any = ssl.create_default_context()
    authority.configure_trust(client_side)
    server_side = server_context(authority)
    if kind == "fingerprint":
        client_side = aiohttp.Fingerprint(b"x" * 32)
    elif kind == "unknown":
        server_side = server_context(trustme.CA())
    elif kind == "another host":
        server_side = server_context(authority, "elsewhere.example")
    else:
        server_side = server_context(authority, not_before=PAST, not_after=PAST)
    async with (
        RawServer(tls=server_side) as server,
        sending(way, server.url, ssl=client_side) as transport,
    ):
        raised = await failure(transport)
        await asyncio.sleep(0.1)  # aiohttp closes a connection with a wrong fingerprint later
    assert type(raised) is TLSError
    assert raised.reason.startswith("TLS: ")
    assert "certificate" in raised.reason
    assert (raised.is_certificate_error, raised.sent, raised.is_transient) == (True, False, False)
    assert server.requests == []


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
HEADERS: dict[str, bytes] = {
    "a header of 9 kB": OK + b"X-A: %b\r\n\r\n{}" % (b"a" * 9000),
    "150 headers": OK + b"X-A: b\r\n" * 150 + b"\r\n{}",
    "a reason of 9 kB": b"HTTP/1.1 200 %b\r\nContent-Length: 2\r\n\r\n{}" % (b"a" * 9000),
    "an error with a header of 9 kB": b"HTTP/1.1 404 No\r\nX-A: %b\r\n\r\n" % (b"a" * 9000),
}


@all_ways
@pytest.mark.parametrize("sent", HEADERS.values(), ids=HEADERS)
async def test_limits_of_the_parser(way: str, sent: bytes) -> None:
    """Headers beyond the limits of the HTTP parser are lasting."""
    script: Script = [sent, Action.SILENCE]
    async with RawServer(script) as server, sending(way, server.url) as transport:
        raised = await failure(transport)
        assert type(raised) is TransportError
        assert "limits of the HTTP parser" in raised.reason
        assert (raised.sent, raised.is_transient, len(server.requests)) == (True, False, 1)
