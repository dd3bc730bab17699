"""One request on the wire for each attempt, and a pool that says which connections are new."""

from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace

_DNS_CACHE_SECONDS = 30


class BrokenConnectionError(Exception):
    """Carries a broken connection past aiohttp, which resends a GET when it sees its own error.

    Attributes:
        reused: Whether the connection had served an earlier request.
    """

    def __init__(self, *, reused: bool) -> None:
        super().__init__(reused)
        self.reused = reused


class PooledRequest(aiohttp.ClientRequest):
    """A request that knows whether it went out on a connection that had served before."""

    reuses_connection = True  # until the pool opens a connection for it


class Pool(aiohttp.TCPConnector):
    """A connection pool that tells its requests when they get a new connection."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit, ttl_dns_cache=_DNS_CACHE_SECONDS)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> "ResponseHandler":
        """What every connector of aiohttp overrides: it is called for new connections only."""
        if isinstance(req, PooledRequest):  # pragma: no branch - it always is
            req.reuses_connection = False
        return await super()._create_connection(req, traces, timeout)

    def drop_idle(self) -> None:
        """Close what nobody uses: one such connection had died unseen, and so may the others.

        After the machine has slept they all have, and a call has few tries.
        """
        for idle in self._conns.values():
            for connection, _ in idle:
                connection.close()


async def once(
    req: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A client middleware: aiohttp does not resend what it does not see break."""
    try:
        return await handler(req)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        reused = isinstance(req, PooledRequest) and req.reuses_connection
        raise BrokenConnectionError(reused=reused) from error


async def once_without_cookies(
    req: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """The same for a caller's session, whose cookies are no business of this API."""
    req.headers.pop("Cookie", None)
    response = await once(req, handler)
    response._raw_cookie_headers = None  # noqa: SLF001 - else the session's jar keeps them
    return response
