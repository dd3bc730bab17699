"""Sends requests through an `aiohttp.ClientSession`: the caller's, or one of our own.

What aiohttp does by itself is turned off here, by its public hooks where there are any. A client
middleware of each request sees the connection that it is to be sent on.
"""

import asyncio
import io
import urllib.request
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import aiohttp
import attrs
from yarl import URL

from sieve_async.errors import ConfigError
from sieve_async.messages import Request
from sieve_async.transport.body import read_body
from sieve_async.transport.errors import BrokenConnectionError, Exchange

if TYPE_CHECKING:
    from aiohttp.connector import Connection

_NEVER_ROUND_UP = 1e9  # aiohttp rounds timeouts above five seconds up: all fire at once
_DNS_CACHE_SECONDS = 30
# When each pooled connection was last used, of all clients: two of them may share one session.
_used_at: "WeakKeyDictionary[object, float]" = WeakKeyDictionary()


class UnusableConnectionError(Exception):
    """A pooled connection must not be used; nothing was sent on it."""


@attrs.define(eq=False)
class PooledConnections:
    """Which pooled connections may be used; those that may not are closed when their turn comes.

    Attributes:
        trusted_since: Connections that were last used before this time of the loop are not used.
    """

    trusted_since: float = float("-inf")

    def close_idle(self) -> None:
        """Use no connection that is idle now: one had died unseen, and so may the others.

        After the machine has slept they all have, and a call has few attempts.
        """
        self.trusted_since = asyncio.get_running_loop().time()

    def check(self, protocol: Any, *, fresh: bool) -> bool:
        """Whether the connection has served before; from now on, it has.

        Raises:
            UnusableConnectionError: It is not to be used: data has arrived on it that was not
                asked for, it is not trusted any more, or a new one is wanted.
        """
        now = asyncio.get_running_loop().time()
        used_at = _used_at.get(protocol)
        if used_at is not None and (
            fresh or used_at <= self.trusted_since or getattr(protocol, "should_close", False)
        ):
            raise UnusableConnectionError
        _used_at[protocol] = now
        return used_at is not None


class SessionSender:
    """Sends requests over one session.

    Args:
        session: The session to use.
        pool: Which of its pooled connections may be used.
        options: Passed with each request.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        pool: PooledConnections,
        options: Mapping[str, Any],
        max_body: int,
    ) -> None:
        self._session = session
        self._pool = pool
        self._options = options
        self._max_body = max_body
        # aiohttp takes credentials out of ~/.netrc when a session trusts the environment.
        self._drops_netrc = (
            session.trust_env
            and session.auth is None
            and aiohttp.hdrs.AUTHORIZATION not in session.headers
        )

    @property
    def closed(self) -> bool:
        """Whether the session is closed."""
        return self._session.closed

    async def send(
        self, request: Request[Any], url: URL, exchange: Exchange
    ) -> tuple[int, tuple[tuple[bytes, bytes], ...], bytes]:
        """Send one request; status, headers and body of its answer.

        Raises:
            TooLargeError: The body is too large.
            ContentEncodingError: The body cannot be decompressed.
            Exception: Anything that aiohttp, the system or foreign code raises.
        """
        options = self._options
        if request.body is not None:
            headers = {**options["headers"], aiohttp.hdrs.CONTENT_TYPE: "application/json"}
            options = {**options, "headers": headers, "data": io.BytesIO(request.body)}
        middleware = self._middleware(exchange, fresh=request.fresh_connection)
        response = await self._session.request(
            request.method, url, middlewares=(middleware,), **options
        )
        exchange.status = response.status
        try:
            body = await read_body(
                response.status,
                response.content,
                response.headers,
                self._max_body,
                exchange.protocol,
            )
        except BaseException:
            response.close()
            raise
        if not response.content.at_eof():
            response.close()  # the rest is not wanted, so the connection cannot be kept
        return response.status, response.raw_headers, body

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    def _middleware(self, exchange: Exchange, *, fresh: bool) -> aiohttp.ClientMiddlewareType:
        """One attempt is one request on the wire, and its connection is known."""

        async def no_resend_middleware(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            request.headers.pop(aiohttp.hdrs.COOKIE, None)
            if self._drops_netrc:
                request.headers.pop(aiohttp.hdrs.AUTHORIZATION, None)
            exchange.via_proxy = request.proxy is not None
            self._watch_sending(request, exchange, fresh=fresh)
            while True:
                try:
                    response = await handler(request)
                except UnusableConnectionError:
                    continue  # aiohttp has closed it; the next one may do
                except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
                    raise BrokenConnectionError from error
                response.cookies = SimpleCookie()  # else they would go into the session's jar
                return response

        return no_resend_middleware

    def _watch_sending(
        self, request: aiohttp.ClientRequest, exchange: Exchange, *, fresh: bool
    ) -> None:
        """See the connection after it is open and before the request is written."""
        send = getattr(request, "send", None)
        if send is None:  # pragma: no cover - no such hook: the request may have been sent
            exchange.is_sent = True
            return

        async def checked_send(conn: "Connection") -> aiohttp.ClientResponse:
            exchange.protocol = conn.protocol
            exchange.is_reused = self._pool.check(conn.protocol, fresh=fresh)
            exchange.is_sent = True
            response: aiohttp.ClientResponse = await send(conn)
            return response

        request.send = checked_send  # type: ignore[method-assign] # of this one request


def open_session(limit: int, *, pools: bool) -> aiohttp.ClientSession:
    """A session of our own: no cookies, no environment.

    It has no headers: aiohttp would send those of a session to a proxy, too, and so the key.

    Args:
        limit: The number of connections.
        pools: Whether connections are kept for later requests.
    """
    connector = aiohttp.TCPConnector(
        limit=limit, ttl_dns_cache=_DNS_CACHE_SECONDS, force_close=not pools
    )
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def request_options(headers: Mapping[str, str], connect_timeout: float | None) -> dict[str, Any]:
    """What turns aiohttp's and the session's defaults off."""
    return {
        "allow_redirects": False,
        "headers": headers,
        "raise_for_status": False,
        "auto_decompress": False,
        "timeout": aiohttp.ClientTimeout(
            total=None, sock_connect=connect_timeout, ceil_threshold=_NEVER_ROUND_UP
        ),
    }


def environment_proxy(base_url: URL) -> URL | None:
    """The proxy that the environment names for a URL, as ``HTTPS_PROXY`` and ``NO_PROXY`` say.

    Raises:
        ConfigError: It is not the URL of an HTTP proxy.
    """
    proxy = urllib.request.getproxies().get(base_url.scheme)
    if not proxy or urllib.request.proxy_bypass(base_url.host or ""):
        return None
    try:
        url = URL(proxy if "://" in proxy else f"http://{proxy}")
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.raw_host:
        raise ConfigError(  # without its text, which may hold a password
            f"{base_url.scheme.upper()}_PROXY must be the URL of an HTTP proxy, http://host:port"
        )
    return url
