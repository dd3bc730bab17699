"""One session, on one loop and in one process."""

import asyncio
import os
import re
from collections.abc import Callable
from typing import Any

import aiohttp
from yarl import URL

from sieve_async.config import Config, Limits, Timeout, __version__
from sieve_async.errors import (
    ClientClosedError,
    ConfigError,
    ConnectError,
    DecodeError,
    RequestTimeoutError,
    ResponseError,
    ResponseTooLargeError,
    SieveError,
    WrongEventLoopError,
)
from sieve_async.messages import Request, Response
from sieve_async.transport.attempts import Attempt, Attempts
from sieve_async.transport.bodies import BodyReader, TooLargeError, UnreadableError
from sieve_async.transport.failures import classify
from sieve_async.transport.pool import (
    BrokenConnectionError,
    Pool,
    PooledRequest,
    once,
    once_without_cookies,
)

_NAMES_IN_HTML = {'"': "&quot;", "&": "&amp;", "'": "&apos;", "<": "&lt;", ">": "&gt;"}
_NEVER_ROUND_UP = 1e9  # aiohttp rounds timeouts above five seconds up: all fire at once


class Transport:
    """Sends requests over one session.

    Args:
        config: Whom to ask, and with which key.
        timeout: How long one attempt may take.
        limits: The size of the pool and of a body.
        session: The caller's session, used but never changed or closed; None to open our own.
    """

    def __init__(
        self,
        config: Config,
        timeout: Timeout,
        limits: Limits,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self.bytes_received = 0
        self.closed = False
        self._timeout = timeout
        self.slots = _slots(limits.max_connections, session)
        self._largest_body = limits.max_response_bytes
        self._session = session
        self._owns_session = session is None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: int | None = None
        self._attempts = Attempts()
        self._bodies = BodyReader(limits.max_response_bytes)
        self.base_url = config.base_url
        base = URL(config.base_url)
        self._origin, self._base_path = base.origin(), base.raw_path.rstrip("/")
        self._mask = _masking(config.api_key)
        # A session of our own has them once and for all: to pass them takes 1 us for each request.
        self._session_options: dict[str, Any] = {
            "headers": _headers(config.api_key),
            "raise_for_status": False,
            "auto_decompress": False,
            "timeout": aiohttp.ClientTimeout(
                total=None, sock_connect=timeout.connect, ceil_threshold=_NEVER_ROUND_UP
            ),
            "middlewares": (once if session is None else once_without_cookies,),
        }
        self._options: dict[str, Any] = {"allow_redirects": False}
        if session is not None:
            self._options |= self._session_options

    async def send(self, request: Request[Any], deadline: float | None) -> Response:
        """Send a request once.

        Args:
            request: What to ask.
            deadline: The time of the loop at which to give up, should that be earlier than what
                ``Timeout.request`` allows.

        Raises:
            TransportError: No complete answer came; the class says why.
            ResponseError: The answer is too large, or coded in a way that was not asked for.
            ClientClosedError: The client was closed, or belongs to another loop or process.
        """
        session, loop = self._ready()
        attempt = Attempt(loop)
        self._attempts.begin(attempt, self._due(loop, request, deadline))
        response: aiohttp.ClientResponse | None = None
        try:
            response = await session.request(request.method, self._url(request), **self._options)
            return await self._read(request, response)
        except SieveError:
            raise
        except asyncio.CancelledError as error:
            failure = self._interruption(request, attempt)
            if failure is None:
                error.__traceback__ = None  # the frames below have locals that hold the key
                raise
        except Exception as error:  # noqa: BLE001 - only errors of ours leave this room
            failure = self._translate(error, request, answering=response is not None)
        finally:
            self._attempts.end(attempt)
            attempt.take_back()  # should the cancellation have become some other error
        # Raised here, after the block has ended: nothing of aiohttp hangs on it as its context.
        raise failure

    def shut(self) -> None:
        """Send nothing more, and interrupt what is in flight.

        Raises:
            ClientClosedError: The client lives on another loop that still runs.
        """
        if not self.closed and self._loop is not None and not self._loop.is_closed():
            self.check_home()
            self._attempts.interrupt_all()
        self.closed = True

    async def close(self) -> None:
        """Wait until nothing is in flight, and close the session unless it is the caller's."""
        try:
            while self._attempts and self._loop is asyncio.get_running_loop():  # noqa: ASYNC110
                await asyncio.sleep(0)  # each ends within a few turns of the loop
        finally:
            if self._owns_session and self._session is not None:
                await self._session.close()

    def _ready(self) -> tuple[aiohttp.ClientSession, asyncio.AbstractEventLoop]:
        if self.closed:
            raise ClientClosedError
        loop = self.check_home() if self._loop is None else self._loop
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Pool(self.slots),
                cookie_jar=aiohttp.DummyCookieJar(),
                request_class=PooledRequest,
                **self._session_options,
            )
        elif self._session.closed:
            raise ClientClosedError("the session of this client is closed")
        return self._session, loop

    def check_home(self) -> asyncio.AbstractEventLoop:
        """The loop this client lives on; the first call settles which, and in which process.

        Raises:
            ClientClosedError: The client is closed, or lives on another loop or in another process.
        """
        if self.closed:
            raise ClientClosedError
        # Asked first, for a fork has no running loop; and what it covers, coverage does not see.
        if self._process not in {None, os.getpid()}:  # pragma: no cover
            raise WrongEventLoopError("this client was made in another process: make one in each")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop, self._process = loop, os.getpid()
        if loop is not self._loop:
            raise WrongEventLoopError(
                "this client belongs to another event loop: make one for each"
            )
        return loop

    def _url(self, request: Request[Any]) -> URL:
        url = self._origin.with_path(f"{self._base_path}{request.path}", encoded=True)
        return URL(f"{url}?{request.query}", encoded=True) if request.query else url

    def _due(
        self, loop: asyncio.AbstractEventLoop, request: Request[Any], deadline: float | None
    ) -> float | None:
        """When an attempt that begins now must have ended."""
        limit = self._timeout.request
        if limit is None:
            return deadline
        due = loop.time() + limit + request.hold_time
        return due if deadline is None else min(due, deadline)

    async def _read(self, request: Request[Any], response: aiohttp.ClientResponse) -> Response:
        is_good = 200 <= response.status < 300
        read = self._bodies.whole if is_good else self._bodies.beginning
        body, wrong, reason = b"", ResponseError, ""
        try:
            at_once = self._bodies.at_once(response) if is_good else None
            body = await read(response) if at_once is None else at_once
        except TooLargeError:
            wrong, reason = ResponseTooLargeError, f"the body is over {self._largest_body} bytes"
        except UnreadableError as error:
            wrong, reason = DecodeError, str(error)
        except BaseException:
            response.close()  # not released: the rest of the body is still to come
            raise
        if reason:
            response.close()
            raise wrong(reason, request.method, request.path, response.status)
        self.bytes_received += len(body)
        return Response(response.status, response.raw_headers, body, self._mask)

    def _interruption(self, request: Request[Any], attempt: Attempt) -> SieveError | None:
        """What a cancellation that arrived means; None when it was the caller's."""
        if not attempt.take_back():
            # aiohttp cancels futures of its own when the owner of a session closes it.
            is_open = self._session is not None and not self._session.closed
            return None if is_open or attempt.is_cancelled() else self._session_closed()
        if self.closed:
            return ClientClosedError("the client was closed during the request")
        return RequestTimeoutError("no complete answer in time", request.method, request.path)

    def _session_closed(self) -> ClientClosedError:
        return ClientClosedError("the session of this client was closed during the request")

    def _translate(self, error: Exception, request: Request[Any], *, answering: bool) -> SieveError:
        if self._session is None or self._session.closed:
            return self._session_closed()
        over_tls = self._origin.scheme == "https"
        failure = classify(error, answering=answering, over_tls=over_tls)
        if failure.kind is ConnectError:
            is_reused = isinstance(error, BrokenConnectionError) and error.reused
            if is_reused and isinstance(self._session.connector, Pool):
                self._session.connector.drop_idle()
            return ConnectError(
                failure.reason, request.method, request.path, reused_connection=is_reused
            )
        return failure.kind(failure.reason, request.method, request.path)


def _slots(max_connections: int, session: aiohttp.ClientSession | None) -> int:
    """No more requests at once than a pool has room for: the rest would queue on their own time.

    Two clients on one session know nothing of each other: its pool must have room for both.
    """
    if session is not None and not isinstance(session, aiohttp.ClientSession):
        raise ConfigError("session must be an aiohttp.ClientSession")
    connector = None if session is None else session.connector
    limits = () if connector is None else (connector.limit, connector.limit_per_host)
    return min([max_connections, *(limit for limit in limits if limit)])


def _headers(api_key: str) -> dict[str, str]:
    return {
        "X-API-Key": api_key,
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",  # the same whichever decoders are installed
        "User-Agent": f"sieve-async/{__version__}",
    }


def _masking(api_key: str) -> Callable[[str], str]:
    """A function that takes the key out of a text; a closure, so that no repr shows it.

    It also knows the key as JSON, a URL or HTML may spell it, each character in its own way.
    """
    spelling = re.compile("".join(map(_spellings, api_key)))
    return lambda text: spelling.sub("[API key]", text)


def _spellings(character: str) -> str:
    code = f"{ord(character):02x}"
    plain = re.escape(character)
    name = _NAMES_IN_HTML.get(character, plain)
    return rf"(?:\\?{plain}|(?i:\\u00{code}|%{code}|&#0*{ord(character)};|&#x0*{code};)|{name})"
