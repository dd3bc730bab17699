"""What the errors of aiohttp mean, most specific first.

Its classes overlap: a timeout is also a connection error, a bad certificate also a ``ValueError``,
and an answer that is malformed as HTTP claims to be HTTP 400. Only the class decides here, and only
the operating system's words are kept: the errors themselves hold the request headers.
"""

import errno
import os
import ssl
from typing import NamedTuple

import aiohttp

from sieve_async.errors import ConnectError, RequestTimeoutError, TLSError, TransportError
from sieve_async.transport.pool import BrokenConnectionError

# ENFILE and EMFILE; aiohttp's resolver hides them as a host name that is not found.
_OUT_OF_FILES = frozenset({23, 24})

_TLS = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError)
_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionError, OSError)


class Failure(NamedTuple):
    """What an exception below us comes to."""

    kind: type[TransportError]
    reason: str


def classify(error: BaseException, *, answering: bool, over_tls: bool = False) -> Failure:
    """Say what an exception means.

    Args:
        error: What aiohttp or the system raised.
        answering: Whether the headers of an answer had come before.
        over_tls: Whether the request was one over TLS.
    """
    is_new = not (isinstance(error, BrokenConnectionError) and error.reused)
    if isinstance(error, BrokenConnectionError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, _TLS):
        return Failure(TLSError, f"TLS failed: {_system_words(error)}")
    if isinstance(error, TimeoutError):
        return Failure(RequestTimeoutError, "no connection in time")
    if answering or isinstance(error, aiohttp.ClientPayloadError):
        return Failure(TransportError, "the answer was cut off")
    if isinstance(error, aiohttp.ClientResponseError):
        return Failure(TransportError, "the answer is malformed as HTTP")
    failure = _before_an_answer(error)
    if over_tls and is_new and isinstance(error, aiohttp.ServerDisconnectedError):
        # With TLS 1.3 this is how a server looks that has refused us after the handshake.
        return failure._replace(reason=f"{failure.reason}: TLS may want a certificate of ours")
    return failure


def _before_an_answer(error: BaseException) -> Failure:
    if _errno(error) in _OUT_OF_FILES:
        return Failure(ConnectError, "out of file descriptors")
    if isinstance(error, (aiohttp.InvalidURL, UnicodeError)):
        return Failure(ConnectError, "the host name cannot be one")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Failure(ConnectError, f"the host was not found: {_system_words(error)}")
    if isinstance(error, aiohttp.ClientConnectorError):
        where = f"{error.host}:{error.port}"
        return Failure(ConnectError, f"cannot connect to {where}: {_system_words(error)}")
    if isinstance(error, _BROKEN):
        return Failure(ConnectError, f"the connection broke before an answer{_named(error)}")
    return Failure(TransportError, f"the request failed: {type(error).__name__}")


def _errno(error: BaseException) -> int | None:
    cause = getattr(error, "os_error", error)
    return getattr(cause, "errno", None)


def _named(error: BaseException) -> str:
    words = _system_words(error) if isinstance(error, OSError) else ""
    return f": {words}" if words else ""


def _system_words(error: BaseException) -> str:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
    number = getattr(cause, "errno", None)
    is_of_system = not isinstance(cause, ssl.SSLError)  # those of TLS have numbers of their own
    if is_of_system and isinstance(number, int) and number in errno.errorcode:
        return os.strerror(number)  # asyncio's own words name the address but not what happened
    return str(getattr(cause, "strerror", None) or cause)
