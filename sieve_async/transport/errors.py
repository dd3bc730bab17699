"""Translates what aiohttp, the system and foreign code raise, most specific first.

aiohttp's classes overlap: a timeout is also a connection error, a bad certificate also a
``ValueError``, and an answer that is malformed as HTTP claims to be HTTP 400. The class decides
here, and only the words of the system, the resolver or TLS are kept.
"""

import errno
import os
import socket
import ssl
from collections.abc import Callable

import aiohttp
import attrs

from sieve_async.errors import (
    ConnectError,
    ProxyError,
    RequestTimeoutError,
    TLSError,
    TransportError,
)
from sieve_async.messages import shorten

# How aiohttp's parser begins to say that a header line is too long, or that there are too many.
_PARSER_LIMITS = ("Got more than", "Too many headers")
# aiohttp's resolver hides these as a host name that is not found.
_OUT_OF_FILES = frozenset({errno.ENFILE, errno.EMFILE})

_CERTIFICATE = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ServerFingerprintMismatch,
    ssl.CertificateError,
)
_HANDSHAKE_CLOSED = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError)
_MALFORMED = (aiohttp.ClientResponseError, aiohttp.http.HttpProcessingError)
_FROM_THE_NETWORK = (aiohttp.ClientError, OSError, UnicodeError, aiohttp.http.HttpProcessingError)
# Raised before a request is written.
_NOT_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


class BrokenConnectionError(Exception):
    """Carries a broken connection past aiohttp, which resends a GET when it sees its own error."""


@attrs.define(eq=False)
class Exchange:
    """How far one request has come."""

    method: str
    path: str  # without its query
    over_tls: bool = False
    via_proxy: bool = False
    is_reused: bool = False  # it went out on a connection that had served before
    is_sent: bool = False  # it may have reached the server
    status: int | None = None  # of the answer, once its headers have come


def translate(error: Exception, exchange: Exchange, redact: Callable[[str], str]) -> TransportError:
    """The error to raise for one of aiohttp, the system, a hook, a resolver or a connector."""
    if isinstance(error, BrokenConnectionError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, _FROM_THE_NETWORK):
        failure = (
            _tls_failure(error, exchange)
            or _proxy_failure(error, exchange)
            or _answer_failure(error, exchange)
            or _connect_failure(error, exchange)
        )
    else:
        failure = TransportError(f"{type(error).__name__}: {error}", is_transient=False)
    if isinstance(failure, ConnectError):
        # The message of aiohttp's error is what had come of an answer, if one had begun.
        has_begun = not isinstance(getattr(error, "message", ""), str)
        failure.reused_connection = exchange.is_reused and not has_begun
    return attrs.evolve(  # a new error: an exception remembers what it was made with
        failure,
        reason=shorten(redact(failure.reason)),
        method=exchange.method,
        path=exchange.path,
        sent=exchange.is_sent and not isinstance(error, _NOT_SENT),
        response_status=exchange.status,
    )


def _tls_failure(error: Exception, exchange: Exchange) -> TransportError | None:
    cause = _cause(error)
    if isinstance(error, _CERTIFICATE):
        is_pinned = isinstance(error, aiohttp.ServerFingerprintMismatch)
        words = "the certificate has another fingerprint" if is_pinned else _words(cause)
        return TLSError(f"TLS: {words}", is_certificate_error=True, is_transient=False)
    for one in (error, cause, error.__cause__):
        if isinstance(one, ssl.SSLError) and not isinstance(one, ssl.SSLEOFError):
            return TLSError(f"TLS: {_words(one)}")
    is_connecting = exchange.over_tls and isinstance(error, aiohttp.ClientConnectorError)
    if is_connecting and isinstance(cause, _HANDSHAKE_CLOSED):
        words = "" if isinstance(cause, ssl.SSLError) else _words(cause)
        return TLSError(_joined("TLS: closed during the TLS handshake", words))
    return None


def _proxy_failure(error: Exception, exchange: Exchange) -> TransportError | None:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        reason, is_transient = f"the proxy answered {error.status}", not 400 <= error.status < 500
        return ProxyError(reason, is_transient=is_transient, status=error.status)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        where = f"{error.host}:{error.port}"
        return ProxyError(f"cannot connect to the proxy {where}: {_words(_cause(error))}")
    if exchange.via_proxy and not exchange.is_sent:
        if isinstance(error, _MALFORMED):
            return ProxyError("the answer of the proxy is malformed as HTTP")
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return ProxyError("the proxy closed the connection")
    return None


def _answer_failure(error: Exception, exchange: Exchange) -> TransportError | None:
    if isinstance(error, TimeoutError):
        return RequestTimeoutError("no connection in time")
    if exchange.status is not None or isinstance(error, aiohttp.ClientPayloadError):
        return TransportError("the answer was cut off")
    if not isinstance(error, _MALFORMED):
        return None
    if error.message.strip().startswith(_PARSER_LIMITS):
        reason = "the headers of the answer exceed the limits of the HTTP parser"
        return TransportError(reason, is_transient=False)
    reason = "the answer is malformed as HTTP"
    # Where the connection has served before, it may be the rest of what was not asked for.
    return ConnectError(reason) if exchange.is_reused else TransportError(reason)


def _connect_failure(error: Exception, exchange: Exchange) -> TransportError:
    cause = _cause(error)
    if isinstance(error, (aiohttp.InvalidURL, UnicodeError)):
        return ConnectError("the host name is invalid", is_transient=False)
    if not isinstance(cause, socket.gaierror) and getattr(cause, "errno", 0) in _OUT_OF_FILES:
        return ConnectError("out of file descriptors")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        # The numbers of resolver errors are not those of the system.
        words = getattr(cause, "strerror", None) or str(cause)
        return ConnectError(f"the host was not found: {words}")
    if isinstance(error, aiohttp.ClientConnectorError):
        return ConnectError(f"cannot connect to {error.host}:{error.port}: {_words(cause)}")
    if isinstance(error, (aiohttp.ClientConnectionError, OSError)):
        words = _words(error) if isinstance(error, OSError) else ""
        reason = _joined("the connection broke before an answer", words)
        if exchange.over_tls and isinstance(error, aiohttp.ServerDisconnectedError):
            # With TLS 1.3 this is how a server looks that has refused us after the handshake.
            reason += "" if exchange.is_reused else ": TLS may want a certificate of ours"
        return ConnectError(reason)
    return TransportError(f"the request failed: {type(error).__name__}")


def _cause(error: Exception) -> BaseException:
    """What aiohttp has wrapped."""
    for name in ("certificate_error", "os_error"):
        if isinstance(cause := getattr(error, name, None), BaseException):
            return cause
    return error


def _words(cause: BaseException) -> str:
    number = getattr(cause, "errno", None)
    has_own_numbers = isinstance(cause, (ssl.SSLError, socket.gaierror))
    if not has_own_numbers and isinstance(number, int) and number in errno.errorcode:
        return os.strerror(number)  # asyncio's own words name the address but not what happened
    return str(getattr(cause, "strerror", None) or cause)


def _joined(text: str, words: str) -> str:
    return f"{text}: {words}" if words else text
