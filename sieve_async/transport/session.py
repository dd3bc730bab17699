"""Sends requests through an `aiohttp.ClientSession`: the caller's, or one of our own.

What aiohttp does by itself is turned off here, by its public hooks where there are any. A client
middleware of each request sees the connection that it is to be sent on.
"""

import io
import urllib.request
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from sieve_async.errors import ConfigError
from sieve_async.messages import Request
from sieve_async.transport.body import Answer, read_body
from sieve_async.transport.errors import BrokenConnectionError, Exchange
from sieve_async.transport.settings import SenderSettings, UnusableConnectionError

if TYPE_CHECKING:
    from aiohttp.connector import Connection


class SessionSender:
    """Sends requests over one session, which others may use, too."""

    def __init__(self, session: aiohttp.ClientSession, settings: SenderSettings) -> None:
        self.resource = session
        self._settings = settings
        self._headers = CIMultiDict(settings.headers)
        self._options: dict[str, Any] = {
            "timeout": settings.timeout,
            "allow_redirects": False,
            "raise_for_status": False,
            "auto_decompress": False,
        }
        if settings.proxy is not None:
            self._options["proxy"] = settings.proxy
        # aiohttp takes credentials out of ~/.netrc when a session trusts the environment.
        self._drops_netrc = (
            session.trust_env
            and session.auth is None
            and aiohttp.hdrs.AUTHORIZATION not in session.headers
        )

    async def send(self, request: Request[Any], target: str, exchange: Exchange) -> Answer:
        """Send one request to a path and query; ``exchange`` records how far it has come.

        Raises:
            BodyError: The body is too large, or cannot be decompressed.
            Exception: Anything that aiohttp, the system or foreign code raises.
        """
        path, _, query = target.partition("?")
        url = self._settings.origin.with_path(path, encoded=True)  # the fastest way
        if query:
            url = URL(f"{url}?{query}", encoded=True)
        options = self._options
        if request.body is not None:
            headers = {aiohttp.hdrs.CONTENT_TYPE: "application/json"}
            options = {**options, "headers": headers, "data": io.BytesIO(request.body)}
        middlewares = (self._middleware(exchange, fresh=request.fresh_connection),)
        response = await self.resource.request(
            request.method, url, middlewares=middlewares, **options
        )
        status, content, limit = response.status, response.content, self._settings.max_body
        protocol = getattr(response.connection, "protocol", None)  # None: the body is complete
        try:
            if status == 407 and exchange.via_proxy:  # a proxy for plain http answers itself
                raise aiohttp.ClientHttpProxyError(response.request_info, (), status=407)
            exchange.status = status
            body = await read_body(status, content, response.headers, limit, protocol)
        finally:
            if not content.at_eof():
                response.close()  # the rest is not wanted, so the connection cannot be kept
        return status, response.raw_headers, body

    def _middleware(self, exchange: Exchange, *, fresh: bool) -> aiohttp.ClientMiddlewareType:
        """One attempt is one request on the wire, and its connection is known."""
        check = self._settings.pool.check

        async def no_resend_middleware(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            # Here aiohttp copies the headers once; it would copy those of a call three times.
            headers = request.headers
            headers.update(self._headers)
            headers.pop(aiohttp.hdrs.COOKIE, None)
            if self._drops_netrc:
                headers.pop(aiohttp.hdrs.AUTHORIZATION, None)
            exchange.via_proxy = request.proxy is not None
            send: Any = getattr(request, "send", None)
            exchange.is_sent = send is None  # without the hook below, it may have been

            def checked_send(conn: "Connection") -> Any:
                """Called when the connection is open and the request not yet written."""
                exchange.is_reused = check(conn.protocol, fresh=fresh)
                exchange.is_sent = True
                return send(conn)

            while True:
                request.send = checked_send  # type: ignore[method-assign] # of this one request
                try:
                    response = await handler(request)
                except UnusableConnectionError:
                    continue  # aiohttp has closed it; the next one may do
                except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
                    raise BrokenConnectionError from error
                finally:
                    del request.send  # else the request refers to itself
                if aiohttp.hdrs.SET_COOKIE in response.headers:
                    response.cookies = SimpleCookie()  # else they would go into the session's jar
                return response

        return no_resend_middleware


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
