"""`Transport`: one request in, a `Response` or an error out; on one loop and in one process."""

import asyncio
import logging
import os
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import aiohttp
from yarl import URL

from sieve_async.config import Config, __version__
from sieve_async.errors import (
    ClientClosedError,
    ConfigError,
    ConnectError,
    RequestTimeoutError,
    SieveError,
    WrongEventLoopError,
)
from sieve_async.messages import Request, Response
from sieve_async.redaction import redactor
from sieve_async.settings import Limits, Timeout
from sieve_async.transport.body import BodyError
from sieve_async.transport.connection import ConnectionSender, UnsupportedError
from sieve_async.transport.errors import Exchange, translate
from sieve_async.transport.session import SessionSender, environment_proxy
from sieve_async.transport.settings import SenderSettings, keepalive_socket
from sieve_async.transport.timers import NEVER, RequestTimer, RequestTimers

Sender: TypeAlias = ConnectionSender | SessionSender

_NEVER_ROUND_UP = 1e9  # aiohttp rounds timeouts above five seconds up: all fire at once
_DNS_CACHE_SECONDS = 30

_OTHER_LOOP = "this client belongs to another event loop: make one for each"

_logger = logging.getLogger("sieve_async")


class Transport:
    """Sends requests, each within its deadline.

    A session of the caller's is used but never changed or closed; without one, our own are opened.
    With ``trust_env``, they use the proxy that the environment names.

    Raises:
        ConfigError: ``session`` is not a session, or the environment names an invalid proxy.
    """

    def __init__(
        self,
        config: Config,
        timeout: Timeout,
        limits: Limits,
        session: aiohttp.ClientSession | None = None,
        trust_env: bool = False,  # noqa: FBT001, FBT002 - as in the client's signature
    ) -> None:
        self.base_url = config.base_url
        self.bytes_received = 0
        self.closed = False
        self.slots = _slots(limits.max_connections, session)
        self._timeout = NEVER if timeout.request is None else timeout.request
        self._session = session
        base = URL(config.base_url)
        self._base_path = base.raw_path.rstrip("/")
        self._over_tls = base.scheme == "https"
        self._settings = SenderSettings(
            origin=base.origin(),
            headers={
                "X-API-Key": config.api_key,
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",  # the same whichever decoders are installed
                "User-Agent": f"sieve-async/{__version__}",
            },
            timeout=aiohttp.ClientTimeout(  # its ``total`` loses cancellations
                total=None, sock_connect=timeout.connect, ceil_threshold=_NEVER_ROUND_UP
            ),
            max_body=limits.max_response_bytes,
            proxy=environment_proxy(base) if trust_env else None,
        )
        self._redact = redactor(config.api_key)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: int | None = None
        self._timers = RequestTimers()
        # A session of the caller's may trace, and a proxy needs one.
        self._is_direct = session is None and not trust_env
        self._direct: ConnectionSender | None = None
        self._pooled: SessionSender | None = None

    async def send(self, request: Request[Any], deadline: float | None) -> Response:
        """Send a request once.

        Args:
            request: The request.
            deadline: The time of the loop at which to give up, if it is earlier than what
                ``Timeout.request`` allows.

        Raises:
            TransportError: No complete answer came; the class says why.
            ResponseError: The body is too large or cannot be decompressed.
            ClientClosedError: The client or its session was closed.
            WrongEventLoopError: The client or its session belongs to another loop or process.
        """
        loop = self.bind_loop()
        query = f"?{request.query}" if request.query else ""
        target = f"{self._base_path}{request.path}{query}"
        sender = self._sender(request)
        exchange = Exchange(request.method, request.path, self._over_tls)
        timer = RequestTimer(loop)
        due = loop.time() + self._timeout + request.hold_time
        self._timers.start(timer, due if deadline is None else min(due, deadline))
        try:
            status, headers, body = await sender.send(request, target, exchange)
            self.bytes_received += len(body)
            return Response(status, headers, body, self._redact)
        except BaseException as error:
            failure = self._failure(error, request, sender, exchange, timer)
            if failure is None:
                error.__traceback__ = None  # the frames below have locals that hold the key
                raise
        finally:
            self._timers.stop(timer)
            timer.uncancel()  # should the cancellation have become some other error
        # Raised after the block has ended: nothing of aiohttp is its context.
        raise failure

    def bind_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of this client; the first call settles which, and in which process.

        Raises:
            ClientClosedError: The client or its session is closed.
            WrongEventLoopError: The client or its session belongs to another loop or process.
        """
        if self.closed:
            raise ClientClosedError
        # Checked first, for a fork has no running loop; what it covers, coverage does not see.
        if self._loop is not None and self._process != os.getpid():  # pragma: no cover
            raise WrongEventLoopError("this client was made in another process: make one in each")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            # There is no public way to ask a session for its loop that does not warn.
            if getattr(self._session, "_loop", loop) is not loop:
                raise WrongEventLoopError(f"the session of {_OTHER_LOOP}")
            self._loop, self._process = loop, os.getpid()
        if loop is not self._loop:
            raise WrongEventLoopError(_OTHER_LOOP)
        return loop

    def abort(self) -> None:
        """Send nothing more, and interrupt what is in flight.

        Raises:
            WrongEventLoopError: The client belongs to another loop that still runs.
        """
        if not self.closed and self._loop is not None and not self._loop.is_closed():
            self.bind_loop()
            self._timers.interrupt_all()
        self.closed = True

    async def close(self) -> None:
        """Wait until nothing is in flight, and close what is ours; also when cancelled itself."""
        async with AsyncExitStack() as closing:
            for sender in (self._direct, self._pooled):
                if sender is not None and self._session is None:
                    closing.push_async_callback(sender.resource.close)
            while self._timers and self._loop is asyncio.get_running_loop():  # noqa: ASYNC110
                await asyncio.sleep(0)  # each ends within a few turns of the loop

    def _sender(self, request: Request[Any]) -> Sender:
        if self._is_direct and request.method == "GET":
            try:
                self._direct = self._direct or ConnectionSender(
                    self._open_connector(), self._settings
                )
            except UnsupportedError as error:
                self._is_direct = False
                _logger.info("aiohttp %s lacks %s: using its sessions", aiohttp.__version__, error)
            else:
                return self._direct
        if self._pooled is None:
            # Ours has no headers: aiohttp would send those, and so the key, to a proxy, too.
            session = self._session or aiohttp.ClientSession(
                connector=self._open_connector(), cookie_jar=aiohttp.DummyCookieJar()
            )
            self._pooled = SessionSender(session, self._settings)
        if self._pooled.resource.closed:
            raise ClientClosedError("the session of this client is closed")
        return self._pooled

    def _open_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self.slots, ttl_dns_cache=_DNS_CACHE_SECONDS, socket_factory=keepalive_socket
        )

    def _failure(
        self,
        error: BaseException,
        request: Request[Any],
        sender: Sender,
        exchange: Exchange,
        timer: RequestTimer,
    ) -> SieveError | None:
        """Our error for what was raised; None where that passes, as the caller's cancellation."""
        is_cancellation = isinstance(error, asyncio.CancelledError)
        if is_cancellation and timer.uncancel():
            return self._interruption(exchange, request.hold_time)
        # aiohttp cancels futures of its own when the owner of a session closes it.
        passes = timer.is_cancelled() if is_cancellation else not isinstance(error, Exception)
        if sender.resource.closed and not passes:
            reason = "the session of this client was closed during the request"
            return ClientClosedError(reason, exchange.is_sent)
        if not isinstance(error, Exception):
            return None
        if isinstance(error, BodyError):
            return error.kind(str(error), exchange.method, exchange.path, exchange.status or 0)
        failure = translate(error, exchange, self._redact)
        if isinstance(failure, ConnectError) and failure.reused_connection:
            self._settings.pool.close_idle()
        return failure

    def _interruption(self, exchange: Exchange, hold_time: float) -> SieveError:
        if self.closed:
            return ClientClosedError("the client was closed during the request", exchange.is_sent)
        if exchange.is_reused and exchange.status is None and not hold_time:
            self._settings.pool.close_idle()  # a connection that died silently looks like this
        place, status = (exchange.method, exchange.path), exchange.status
        return RequestTimeoutError(
            "no complete answer in time", *place, sent=exchange.is_sent, response_status=status
        )


def _slots(max_connections: int, session: aiohttp.ClientSession | None) -> int:
    """As many requests at once as a pool has connections: more would queue on their own time.

    Two clients on one session know nothing of each other: its pool must serve both.
    """
    if session is not None and not isinstance(session, aiohttp.ClientSession):
        raise ConfigError("session must be an aiohttp.ClientSession")
    connector = None if session is None else session.connector
    limits = () if connector is None else (connector.limit, connector.limit_per_host)
    return min([max_connections, *(limit for limit in limits if limit)])
