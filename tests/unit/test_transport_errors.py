"""What each error of aiohttp and of the system is translated to."""

import socket
import ssl
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from sieve_async import ConnectError, ProxyError, RequestTimeoutError, TLSError, TransportError
from sieve_async.transport.errors import BrokenConnectionError, Exchange, translate

Kind = type[TransportError]

BROKEN = (ConnectError, "the connection broke before an answer")
# The classes of aiohttp by meaning, before an answer has begun.
MEANINGS: dict[tuple[Kind, str], str] = {
    (TransportError, "the answer is malformed as HTTP"): (
        "ClientResponseError ContentTypeError WSServerHandshakeError TooManyRedirects"
    ),
    BROKEN: (
        "ClientConnectionError ClientConnectionResetError ClientOSError ServerConnectionError "
        "ServerDisconnectedError"
    ),
    (ConnectError, "cannot connect to host:443: Connection refused"): (
        "ClientConnectorError UnixClientConnectorError ClientSSLError"
    ),
    (ConnectError, "the host was not found: Connect call failed"): "ClientConnectorDNSError",
    (ConnectError, "the host name is invalid"): (
        "InvalidURL InvalidUrlClientError InvalidUrlRedirectClientError"
    ),
    (TLSError, "TLS: "): (
        "ClientConnectorSSLError ClientConnectorCertificateError ServerFingerprintMismatch"
    ),
    (RequestTimeoutError, "no connection in time"): (
        "ServerTimeoutError ConnectionTimeoutError SocketTimeoutError"
    ),
    (ProxyError, "the proxy answered 407"): "ClientHttpProxyError",
    (ProxyError, "cannot connect to the proxy host:443: Connection"): "ClientProxyConnectionError",
    (TransportError, "the answer was cut off"): "ClientPayloadError",
    (TransportError, "the request failed: "): (
        "ClientError UploadAbortedError RedirectClientError NonHttpUrlClientError "
        "NonHttpUrlRedirectClientError"
    ),
}
MEANING_OF = {name: meaning for meaning, names in MEANINGS.items() for name in names.split()}
NO_HOSTS = {"InvalidURL", "InvalidUrlClientError", "InvalidUrlRedirectClientError"}
NOT_SENT = NO_HOSTS | {
    *("ClientHttpProxyError", "ClientConnectorError", "ClientConnectorDNSError", "ClientSSLError"),
    *("ClientProxyConnectionError", "UnixClientConnectorError", "ClientConnectorSSLError"),
    *("ClientConnectorCertificateError", "ConnectionTimeoutError"),
}
LASTING = NO_HOSTS | {
    *("ClientHttpProxyError", "ClientConnectorCertificateError", "ServerFingerprintMismatch")
}


def kinds_of(kind: type[aiohttp.ClientError]) -> Iterator[type[aiohttp.ClientError]]:
    """A class of aiohttp with all that derive from it."""
    if kind.__module__.startswith("aiohttp"):
        yield kind
        for one in kind.__subclasses__():
            yield from kinds_of(one)


ALL_KINDS = sorted({*kinds_of(aiohttp.ClientError)}, key=lambda kind: kind.__name__)


def made(kind: Any) -> Exception:
    """An error of this class, as aiohttp makes it."""
    place = SimpleNamespace(host="host", port=443, ssl=True, is_ssl=True)
    cause: OSError = ConnectionRefusedError(111, "Connect call failed")
    if kind is aiohttp.ClientConnectorSSLError:
        cause = ssl.SSLError(1, "wrong version number")
    arguments: tuple[object, ...] = ("words",)
    settings: dict[str, Any] = {}
    if kind.__name__ == "UnixClientConnectorError":
        arguments = ("/socket", place, cause)
    elif issubclass(kind, aiohttp.ClientConnectorError):
        arguments = (place, cause)
    elif issubclass(kind, aiohttp.ClientResponseError):
        arguments = (SimpleNamespace(real_url="https://host"), ())
        settings = {"status": 407}
    elif issubclass(kind, aiohttp.ServerFingerprintMismatch):
        arguments = (b"expected", b"found", "host", 443)
    error = kind(*arguments, **settings)
    assert isinstance(error, Exception)
    return error


def translated(error: Exception, **progress: Any) -> TransportError:
    """The error that is raised for one of a request that may have been sent."""
    exchange = Exchange("GET", "/v2/jobs/job-1", **({"is_sent": True} | progress))
    return translate(error, exchange, lambda text: text.replace("secret", "[API key]"))


def test_every_error_of_aiohttp() -> None:
    """Each error that aiohttp has today has a meaning here; a new one fails this test.

    Before the request is written, no error can have been sent. Once an answer has begun, what
    breaks is the answer: but for TLS, time and proxies.
    """
    for kind in ALL_KINDS:
        meaning, words = MEANING_OF[kind.__name__]
        error = translated(made(kind))
        assert type(error) is meaning
        assert error.reason.startswith(words)
        assert (error.method, error.path) == ("GET", "/v2/jobs/job-1")
        assert error.sent is (kind.__name__ not in NOT_SENT)
        assert error.is_transient is (kind.__name__ not in LASTING)
        is_certificate_error = getattr(error, "is_certificate_error", False)
        assert is_certificate_error is (meaning is TLSError and not error.is_transient)
        assert not translated(made(kind), is_sent=False).sent
        if meaning not in {TLSError, RequestTimeoutError, ProxyError}:
            meaning, words = TransportError, "the answer was cut off"
        within = translated(made(kind), status=200)
        assert type(within) is meaning
        assert within.reason.startswith(words)


@pytest.mark.parametrize(
    ("error", "meaning", "words"),
    [
        (TimeoutError(), RequestTimeoutError, "no connection in time"),
        (ConnectionResetError(104, "x"), ConnectError, f"{BROKEN[1]}: Connection reset by peer"),
        (OSError(), ConnectError, BROKEN[1]),
        (OSError(23, "x"), ConnectError, "out of file descriptors"),
        (OSError(24, "x"), ConnectError, "out of file descriptors"),
        (OSError("no words of the system"), ConnectError, f"{BROKEN[1]}: no words of the system"),
        (UnicodeError("label too long"), ConnectError, "the host name is invalid"),
        (RuntimeError("of a secret library"), TransportError, "RuntimeError: of a [API key] lib"),
        (KeyError("region"), TransportError, "KeyError: 'region'"),
        (ssl.SSLError(1, "bad record mac"), TLSError, "TLS: bad record mac"),
    ],
    ids=repr,
)
def test_other_errors(error: Exception, meaning: Kind, words: str) -> None:
    """Errors of Python itself, in the words of the operating system."""
    broken = BrokenConnectionError()
    broken.__cause__ = error
    for one in (error, broken):
        failure = translated(one)
        assert type(failure) is meaning
        assert failure.reason.startswith(words)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(-2, "Name unknown"), "the host was not found: Name unknown"),
        (socket.gaierror(8, "nodename"), "the host was not found: nodename"),
        (socket.gaierror(24, "text"), "the host was not found: text"),
        (OSError(8, "nodename"), "the host was not found: nodename"),
        (OSError(None, "no data"), "the host was not found: no data"),
        (OSError("lookup failed"), "the host was not found: lookup failed"),
        (OSError(24, "Domain name not found"), "out of file descriptors"),
    ],
    ids=repr,
)
def test_errors_of_a_resolver(error: OSError, reason: str) -> None:
    """They have the resolver's text: its numbers are not those of the system."""
    place: Any = SimpleNamespace(host="host", port=443, ssl=True, is_ssl=True)
    raised = translated(aiohttp.ClientConnectorDNSError(place, error))
    assert (type(raised), raised.reason) == (ConnectError, reason)
    assert (raised.sent, raised.is_transient) == (False, True)


def test_limits_of_the_parser() -> None:
    """Whichever way the parser's error comes; and a reason is one short line."""
    request: Any = SimpleNamespace(real_url="https://host")
    for message in ("Got more than 8190 bytes when reading", "Too many headers x"):
        for error in (
            aiohttp.ClientResponseError(request, (), message=message),
            aiohttp.http.HttpProcessingError(message=message),
        ):
            failure = translated(error)
            assert "limits of the HTTP parser" in failure.reason
            assert not failure.is_transient
    assert len(translated(KeyError("x\n" * 10_000)).reason) <= 300
