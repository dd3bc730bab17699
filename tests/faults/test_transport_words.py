"""Network failures by class and words, and whether the request may have reached the server."""

import asyncio
import socket
import ssl
import traceback
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from faults.transport_ways import GET, PUSH, WAYS, sending
from helpers.leak_checks import KEY, error_of
from helpers.raw_server import JOB, Action, RawServer, Script, respond
from helpers.tls import server_context
from sieve_async import (
    ConnectError,
    RequestTimeoutError,
    RetryPolicy,
    Timeout,
    TLSError,
    TransportError,
)
from sieve_async.transport import Transport

pytestmark = pytest.mark.looptime
ways = pytest.mark.parametrize("way", WAYS)

ONCE = RetryPolicy(max_attempts=1)


class FailingResolver(AbstractResolver):
    """A resolver that raises one error."""

    def __init__(self, error: BaseException) -> None:
        self.calls = 0
        self._error = error

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raise it."""
        del host, port, family
        self.calls += 1
        raise self._error

    async def close(self) -> None:
        """Nothing is open."""


RESOLVER_ERRORS = {
    "Linux": socket.gaierror(-2, "Name or service not known"),
    "macOS, no name": socket.gaierror(8, "nodename nor servname provided, or not known"),
    "macOS, again": socket.gaierror(2, "Temporary failure in name resolution"),
    "looks like out of files": socket.gaierror(24, "a number of a resolver"),
    "looks like refused": socket.gaierror(111, "another number"),
    "plain OSError": OSError(8, "nodename nor servname provided, or not known"),
    "without a number": OSError(None, "DNS server returned answer with no data"),
    "only words": OSError("DNS lookup failed"),
}


async def failure(transport: Transport, request: Any = GET) -> TransportError:
    """How a request fails."""
    raised = await error_of(transport.send(request, None))
    assert isinstance(raised, TransportError)
    return raised


@ways
@pytest.mark.parametrize("request_", [GET, PUSH], ids=["get", "push"])
@pytest.mark.parametrize("error", RESOLVER_ERRORS.values(), ids=RESOLVER_ERRORS)
async def test_resolver_error_in_its_own_words(way: str, request_: Any, error: OSError) -> None:
    """The numbers of resolver errors are not those of the system."""
    resolver = FailingResolver(error)
    async with sending(way, "https://sieve.test", resolver=resolver) as transport:
        raised = await failure(transport, request_)

    assert type(raised) is ConnectError
    assert raised.reason == f"the host was not found: {error.strerror or error}"
    assert (raised.sent, raised.is_transient, resolver.calls) == (False, True, 1)


@ways
async def test_out_of_file_descriptors(way: str) -> None:
    """A resolver without a descriptor does not say that the host does not exist."""
    resolver = FailingResolver(OSError(24, "Domain name not found"))
    async with sending(way, "https://sieve.test", resolver=resolver) as transport:
        raised = await failure(transport)

    assert isinstance(raised, ConnectError)
    assert raised.reason == "out of file descriptors"
    assert (raised.sent, raised.is_transient) == (False, True)


class ForeignError(Exception):
    """An error of a connector's own."""


UNEXPECTED: dict[str, Exception] = {
    "KeyError": KeyError("region"),
    "TypeError": TypeError("expected str"),
    "AttributeError": AttributeError("no such attribute"),
    "RuntimeError": RuntimeError("broken pool"),
    "its own class": ForeignError(f"no route for {KEY}"),
    "without words": ForeignError(),
}


@ways
@pytest.mark.parametrize("error", UNEXPECTED.values(), ids=UNEXPECTED)
async def test_unexpected_error_of_a_resolver(way: str, error: Exception) -> None:
    """An error that no network raises is raised at once, with class and text; no key in it."""
    resolver = FailingResolver(error)
    async with sending(way, "https://sieve.test", resolver=resolver) as transport:
        raised = await failure(transport)

    assert type(raised) is TransportError
    assert raised.reason.startswith(type(error).__name__)
    assert str(error).replace(KEY, "[API key]") in raised.reason
    assert (raised.sent, raised.is_transient, resolver.calls) == (False, False, 1)


@pytest.mark.parametrize("hook", ["on_request_start", "on_connection_create_end"])
async def test_unexpected_error_of_a_trace_hook(hook: str) -> None:
    """The same for a hook of the session; nothing was sent."""

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

        assert type(raised) is TransportError
        assert raised.reason == "KeyError: 'span'"
        assert (raised.sent, raised.is_transient, raised.attempts) == (False, False, 1)
        assert server.requests == []


async def test_unexpected_error_of_a_hook_after_the_request() -> None:
    """A hook that fails when the request is out: it may have reached the server."""

    async def fail(*_: object) -> None:
        raise KeyError("span")

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(fail)
    async with (
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        RawServer() as server,
        server.client(session=session) as client,
    ):
        raised = await error_of(client.get_job(JOB))

        assert isinstance(raised, TransportError)
        assert (raised.sent, raised.is_transient, len(server.requests)) == (True, False, 1)


@ways
async def test_base_exceptions_pass(way: str) -> None:
    """What is not an ``Exception`` passes unchanged."""

    class Interrupted(BaseException):
        pass

    resolver = FailingResolver(Interrupted())
    async with sending(way, "https://sieve.test", resolver=resolver) as transport:
        with pytest.raises(Interrupted) as caught:
            await transport.send(GET, None)

    assert KEY not in "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )


PLACES: dict[str, Script] = {
    "accepted and closed": [Action.DONT_READ, Action.CLOSE],
    "closed after the request": [Action.CLOSE],
    "reset after the request": [Action.RESET],
    "half a head": [b"HTTP/1.1 2", Action.CLOSE],
    "half a body": [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", Action.RESET],
    "malformed": [b"SSH-2.0-x\r\n", Action.CLOSE],
    "silence": [Action.SILENCE],
}


@ways
@pytest.mark.parametrize("script", PLACES.values(), ids=PLACES)
async def test_sent(way: str, script: Script) -> None:
    """Once a request may have been written, it may have reached the server."""
    async with (
        RawServer(script) as server,
        sending(way, server.url, timeout=Timeout(request=2)) as transport,
    ):
        raised = await failure(transport)

    assert raised.sent


@ways
async def test_not_sent_when_refused(way: str) -> None:
    """A refused connection has taken nothing."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    async with sending(way, url) as transport:
        raised = await failure(transport)

    assert type(raised) is ConnectError
    assert "Connection refused" in raised.reason
    assert raised.sent is False


@ways
@pytest.mark.parametrize("request_", [GET, PUSH], ids=["get", "push"])
@pytest.mark.parametrize("limit", [Timeout(connect=1), Timeout(request=1)], ids=str)
async def test_not_sent_when_there_is_no_connection_in_time(
    way: str, request_: Any, limit: Timeout
) -> None:
    """A handshake that stalls has taken nothing, whichever limit ends it."""
    async with RawServer([Action.DONT_READ, Action.SILENCE]) as server:
        url = server.url.replace("http:", "https:")
        async with sending(way, url, timeout=limit) as transport:
            raised = await failure(transport, request_)

    assert type(raised) is RequestTimeoutError
    assert raised.sent is False


HANDSHAKES: dict[str, Script] = {
    "alert": [Action.DONT_READ, 0.01, b"\x15\x03\x03\x00\x02\x02\x28", Action.CLOSE],
    "plain HTTP": [Action.DONT_READ, 0.01, b"HTTP/1.1 400 Plain\r\n\r\n", Action.CLOSE],
    "damaged record": [Action.DONT_READ, 0.01, b"\x16\x03\x03\x00\x05garbage", Action.CLOSE],
}


@ways
@pytest.mark.parametrize("request_", [GET, PUSH], ids=["get", "push"])
@pytest.mark.parametrize("script", HANDSHAKES.values(), ids=HANDSHAKES)
async def test_tls_failure_is_transient(way: str, request_: Any, script: Script) -> None:
    """What breaks a handshake may pass; its words are those of TLS."""
    async with RawServer(script) as server:
        url = server.url.replace("http:", "https:")
        async with sending(way, url) as transport:
            raised = await failure(transport, request_)

    assert type(raised) is TLSError
    assert raised.reason.startswith("TLS: [SSL")
    assert (raised.sent, raised.is_certificate_error, raised.is_transient) == (False, False, True)


@ways
@pytest.mark.parametrize("request_", [GET, PUSH], ids=["get", "push"])
@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
async def test_closed_during_the_handshake(way: str, request_: Any, end: Action) -> None:
    """A peer that closes during the handshake is called that."""
    async with RawServer([Action.DONT_READ, 0.01, end]) as server:
        url = server.url.replace("http:", "https:")
        async with sending(way, url) as transport:
            raised = await failure(transport, request_)

    assert type(raised) is TLSError
    assert raised.reason.startswith("TLS: closed during the TLS handshake")
    assert (raised.sent, raised.is_certificate_error, raised.is_transient) == (False, False, True)


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """The client's side of TLS, for those who trust the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@ways
@pytest.mark.parametrize("request_", [GET, PUSH], ids=["get", "push"])
@pytest.mark.parametrize("kind", ["unknown", "another host", "expired"])
async def test_certificate_problem_is_lasting(
    way: str, request_: Any, kind: str, authority: trustme.CA
) -> None:
    """A certificate that is not trusted is not asked for twice."""
    then = datetime(2020, 1, 1, tzinfo=UTC)
    contexts = {
        "unknown": lambda: server_context(trustme.CA()),
        "another host": lambda: server_context(authority, "elsewhere.example"),
        "expired": lambda: server_context(authority, not_before=then, not_after=then),
    }
    async with (
        RawServer(tls=contexts[kind]()) as server,
        sending(way, server.url, ssl=trusting(authority)) as transport,
    ):
        raised = await failure(transport, request_)

    assert type(raised) is TLSError
    assert raised.reason.startswith("TLS: ")
    assert "certificate" in raised.reason
    assert (raised.is_certificate_error, raised.sent, raised.is_transient) == (True, False, False)
    assert server.requests == []


@ways
async def test_fingerprint_that_does_not_match(way: str, authority: trustme.CA) -> None:
    """A pinned certificate is a certificate problem, too."""
    pinned = aiohttp.Fingerprint(b"x" * 32)
    async with (
        RawServer(tls=server_context(authority)) as server,
        sending(way, server.url, ssl=pinned) as transport,
    ):
        raised = await failure(transport)
        await asyncio.sleep(0.1)  # aiohttp closes that connection a little later

    assert isinstance(raised, TLSError)
    assert (raised.is_certificate_error, raised.sent) == (True, False)


@ways
async def test_damaged_record_after_the_handshake(way: str, authority: trustme.CA) -> None:
    """A record that is damaged on the way is told in the words of TLS, and may pass."""
    damage = asyncio.Event()
    async with RawServer([damage.set, *respond()], tls=server_context(authority)) as server:
        upstream = int(server.url.rpartition(":")[2])

        async def carry(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, damages: bool
        ) -> None:
            while data := await reader.read(65536):
                if damages and damage.is_set():
                    data = data[:-8] + bytes(byte ^ 1 for byte in data[-8:])
                writer.write(data)
            writer.close()

        async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            back, forth = await asyncio.open_connection("127.0.0.1", upstream)
            async with asyncio.TaskGroup() as both:
                both.create_task(carry(reader, forth, damages=False))
                both.create_task(carry(back, writer, damages=True))

        middle = await asyncio.start_server(join, "127.0.0.1", 0)
        port = middle.sockets[0].getsockname()[1]
        async with (
            middle,
            sending(way, f"https://127.0.0.1:{port}", ssl=trusting(authority)) as transport,
        ):
            raised = await failure(transport)

    assert type(raised) is TLSError
    assert raised.reason.startswith("TLS: [SSL")
    assert (raised.sent, raised.is_certificate_error, raised.is_transient) == (True, False, True)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
HEADERS: dict[str, bytes] = {
    "a header of 9 kB": OK + b"X-A: %b\r\n\r\n{}" % (b"a" * 9000),
    "a name of 9 kB": OK + b"%b: a\r\n\r\n{}" % (b"a" * 9000),
    "150 headers": OK + b"X-A: b\r\n" * 150 + b"\r\n{}",
    "a reason of 9 kB": b"HTTP/1.1 200 %b\r\nContent-Length: 2\r\n\r\n{}" % (b"a" * 9000),
    "an error with a header of 9 kB": b"HTTP/1.1 404 No\r\nX-A: %b\r\n\r\n" % (b"a" * 9000),
}


@ways
@pytest.mark.parametrize("sent", HEADERS.values(), ids=HEADERS)
async def test_limits_of_the_parser(way: str, sent: bytes) -> None:
    """Headers beyond the limits of the parser would come again: they are asked for once."""
    script: Script = [sent, Action.SILENCE]
    async with RawServer(script) as server, sending(way, server.url) as transport:
        raised = await failure(transport)

        assert type(raised) is TransportError
        assert "limits of the HTTP parser" in raised.reason
        assert (raised.sent, raised.is_transient, len(server.requests)) == (True, False, 1)
