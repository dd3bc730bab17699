"""What each error of aiohttp is called by us, and whether it is tried again."""

import asyncio
import ssl
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import trustme

from helpers.leak_checks import error_of
from helpers.raw_server import JOB, Action, RawServer, respond, serve_once
from sieve_async import (
    ClientClosedError,
    ConnectError,
    RequestTimeoutError,
    RetryPolicy,
    Timeout,
    TLSError,
    TransportError,
)
from sieve_async.retry import is_transient, retry_cost
from sieve_async.transport.failures import classify
from sieve_async.transport.pool import BrokenConnectionError

Kind = type[TransportError]

BROKEN = (ConnectError, "the connection broke before an answer")
MALFORMED = (TransportError, "the answer is malformed as HTTP")
NO_HOST = (ConnectError, "the host name cannot be one")
NOT_CONNECTED = (ConnectError, "cannot connect to host:443: Connection refused")
NO_TLS = (TLSError, "TLS failed: ")
TOO_LATE = (RequestTimeoutError, "no connection in time")

# Before an answer has begun.
MEANINGS: dict[str, tuple[Kind, str]] = {
    "ClientError": (TransportError, "the request failed: ClientError"),
    "ClientResponseError": MALFORMED,
    "ContentTypeError": MALFORMED,
    "WSServerHandshakeError": MALFORMED,
    "ClientHttpProxyError": MALFORMED,
    "TooManyRedirects": MALFORMED,
    "ClientConnectionError": BROKEN,
    "ClientConnectionResetError": BROKEN,
    "ClientOSError": BROKEN,
    "ClientConnectorError": NOT_CONNECTED,
    "ClientConnectorDNSError": (ConnectError, "the host was not found: Connection refused"),
    "ClientProxyConnectionError": NOT_CONNECTED,
    "UnixClientConnectorError": NOT_CONNECTED,
    "ClientSSLError": NO_TLS,
    "ClientConnectorSSLError": NO_TLS,
    "ClientConnectorCertificateError": NO_TLS,
    "ServerFingerprintMismatch": NO_TLS,
    "ServerConnectionError": BROKEN,
    "ServerDisconnectedError": BROKEN,
    "ServerTimeoutError": TOO_LATE,
    "ConnectionTimeoutError": TOO_LATE,
    "SocketTimeoutError": TOO_LATE,
    "ClientPayloadError": (TransportError, "the answer was cut off"),
    "UploadAbortedError": (TransportError, "the request failed: UploadAbortedError"),
    "InvalidURL": NO_HOST,
    "InvalidUrlClientError": NO_HOST,
    "InvalidUrlRedirectClientError": NO_HOST,
    "RedirectClientError": (TransportError, "the request failed: RedirectClientError"),
    "NonHttpUrlClientError": (TransportError, "the request failed: NonHttpUrlClientError"),
    "NonHttpUrlRedirectClientError": (TransportError, "the request failed: NonHttpUrlRedirect"),
}


def kinds_of(kind: type[aiohttp.ClientError]) -> Iterator[type[aiohttp.ClientError]]:
    """A class of aiohttp with all that are made from it."""
    if kind.__module__.startswith("aiohttp"):
        yield kind
        for one in kind.__subclasses__():
            yield from kinds_of(one)


ALL_KINDS = sorted({*kinds_of(aiohttp.ClientError)}, key=lambda kind: kind.__name__)


def made(kind: Any) -> Exception:
    """An error of this class, as aiohttp makes it."""
    place = SimpleNamespace(host="host", port=443, ssl=True, is_ssl=True)
    refused = ConnectionRefusedError(111, "Connect call failed")
    arguments: tuple[object, ...] = ("words",)
    if kind.__name__ == "UnixClientConnectorError":
        arguments = ("/socket", place, refused)
    elif issubclass(kind, aiohttp.ClientConnectorError):
        arguments = (place, refused)
    elif issubclass(kind, aiohttp.ClientResponseError):
        arguments = (SimpleNamespace(real_url="https://host"), ())
    elif issubclass(kind, aiohttp.ServerFingerprintMismatch):
        arguments = (b"expected", b"found", "host", 443)
    error = kind(*arguments)
    assert isinstance(error, Exception)
    return error


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_error_of_aiohttp(kind: type[aiohttp.ClientError]) -> None:
    """Each error that aiohttp has today has a meaning here; a new one wants to be thought about."""
    meaning, words = MEANINGS[kind.__name__]

    failure = classify(made(kind), answering=False)

    assert failure.kind is meaning
    assert failure.reason.startswith(words)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_error_within_an_answer(kind: type[aiohttp.ClientError]) -> None:
    """Once an answer has begun, what breaks is the answer: but for TLS and time."""
    meaning, words = MEANINGS[kind.__name__]
    if meaning not in {TLSError, RequestTimeoutError}:
        meaning, words = TransportError, "the answer was cut off"

    failure = classify(made(kind), answering=True)

    assert failure.kind is meaning
    assert failure.reason.startswith(words)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_error_is_tried_again_but_tls(kind: type[aiohttp.ClientError]) -> None:
    """What broke may work the next time; trust that is missing will not come by itself."""
    failure = classify(made(kind), answering=False)
    error = failure.kind(failure.reason, "GET", "/v2/jobs/job-1")

    assert is_transient(error) is (failure.kind is not TLSError)
    assert retry_cost(error) == 14


@pytest.mark.parametrize(
    ("error", "meaning", "words"),
    [
        (TimeoutError(), RequestTimeoutError, "no connection in time"),
        (ssl.SSLEOFError(8, "EOF occurred"), TLSError, "TLS failed: EOF occurred"),
        (ConnectionResetError(104, "x"), ConnectError, f"{BROKEN[1]}: Connection reset by peer"),
        (OSError(), ConnectError, BROKEN[1]),
        (OSError(23, "x"), ConnectError, "out of file descriptors"),
        (OSError(24, "x"), ConnectError, "out of file descriptors"),
        (OSError("no words of the system"), ConnectError, f"{BROKEN[1]}: no words of the system"),
        (RuntimeError("of a library"), TransportError, "the request failed: RuntimeError"),
    ],
    ids=repr,
)
def test_other_errors(error: Exception, meaning: Kind, words: str) -> None:
    """Errors of Python itself have a meaning, too, in the words of the operating system."""
    broken = BrokenConnectionError(reused=False)
    broken.__cause__ = error
    for one in (error, broken):
        failure = classify(one, answering=False)

        assert failure.kind is meaning
        assert failure.reason == words


def test_out_of_files_while_a_host_is_looked_up() -> None:
    """A resolver without a descriptor left does not say that there is no such host."""
    error: Any = aiohttp.ClientConnectorDNSError
    place = SimpleNamespace(host="host", port=443, ssl=True, is_ssl=True)

    failure = classify(error(place, OSError(24, "Domain name not found")), answering=False)

    assert failure == (ConnectError, "out of file descriptors")


@pytest.mark.looptime
async def test_no_trust_is_explained() -> None:
    """A certificate that is not trusted is told in the words of TLS."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with RawServer(tls=tls) as wire, wire.client() as client:
        error = await error_of(client.get_job(JOB))

    assert type(error) is TLSError
    assert "certificate verify failed" in str(error)


@pytest.mark.looptime
async def test_no_connection_in_time() -> None:
    """A connection that takes too long is a timeout, which says that there was no connection."""
    async with RawServer([Action.DONT_READ, Action.SILENCE]) as wire:
        url = wire.url.replace("http:", "https:")
        settings: dict[str, Any] = {"timeout": Timeout(connect=1), "base_url": url}
        async with wire.client(retry=RetryPolicy(max_attempts=1), **settings) as client:
            error = await error_of(client.get_job(JOB))

    assert type(error) is RequestTimeoutError
    assert "no connection in time" in str(error)


@pytest.mark.looptime
async def test_cut_off_is_no_broken_connection() -> None:
    """An answer that was cut off had a connection, so it is no ``ConnectError``."""
    async with serve_once([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", Action.RESET]) as (
        _,
        client,
    ):
        error = await error_of(client.get_job(JOB))

    assert type(error) is TransportError
    assert "the answer was cut off" in str(error)


@pytest.mark.looptime
async def test_session_closed_in_the_only_attempt() -> None:
    """Who closes the session that was passed in is told so, and not that the server broke."""
    async with RawServer([respond()[0], Action.SILENCE], [Action.SILENCE]) as wire:
        session = aiohttp.ClientSession()
        policy = RetryPolicy(max_attempts=1)
        async with wire.client(session=session, retry=policy) as client:
            await client.get_job(JOB)
            asking = asyncio.create_task(client.get_job(JOB))
            await asyncio.sleep(1)
            await session.close()

            with pytest.raises(ClientClosedError, match="closed during the request"):
                await asking
