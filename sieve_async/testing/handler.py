"""HTTP: the request log, answers that may be slow or incomplete, and the sockets."""

import asyncio
import contextlib
import socket
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import NoReturn, TypeAlias, overload

import attrs
from aiohttp import web

from sieve_async.testing.answers import MAX_KEPT, Answer, Drop, Fault, FaultEffect, effect_on
from sieve_async.testing.clock import Timers
from sieve_async.testing.routes import FILES, Endpoints, FakeRequest, HeldRequest

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

JSON = {"Content-Type": "application/json; charset=utf-8"}
CREDENTIALS = ("X-API-Key", "Authorization", "Cookie")
# HTTP has no body with these.
BODILESS = frozenset({204, 304})
# The number of pieces of a slow body.
PIECES = 10
# aiohttp has no "never", and an infinite timer breaks uvloop.
KEEP_ALIVE = 1e9
# asyncio's own 100 make clients wait when thousands connect in one turn of the loop.
BACKLOG = 4096
# When accepting fails, mostly for want of descriptors, it is tried again after so many seconds.
ACCEPT_AGAIN = 0.1


@attrs.define
class LoggedRequest:
    """One request and how it was answered; the key itself is never kept."""

    method: str
    path: str  # percent-decoded, without the query
    query: Mapping[str, str]
    key_accepted: bool
    at: float  # on the server's clock: seconds since it first started
    took: float = 0.0  # how long it was held, on the same clock
    status: int = 0  # zero until it is answered, and forever when the connection was cut
    body_bytes: int = 0  # of the answer


class RequestLog(Sequence[LoggedRequest]):
    """The latest requests in order of arrival, and exact totals over all of them.

    A request counts from when it arrives; its status and bytes do from when it is answered.
    """

    def __init__(self, *, max_kept: int = MAX_KEPT) -> None:
        self.total = self.body_bytes = self.in_flight = self.max_in_flight = 0
        self.by_status = Counter[int]()
        self.by_path = Counter[str]()
        self.bytes_by_path = Counter[str]()
        self.by_version = Counter[str]()
        self.after_terminal = Counter[str]()  # GETs of a job after it was shown as terminal
        self._terminal = set[str]()
        self._entries = deque[LoggedRequest](maxlen=max_kept)

    def begin(self, entry: LoggedRequest) -> LoggedRequest:
        """Record a request that has arrived."""
        self._entries.append(entry)
        self.total += 1
        self.by_path[entry.path] += 1
        if self._terminal and entry.method == "GET":
            job_id = entry.path.removeprefix("/v2/jobs/").removesuffix("/await")
            if job_id in self._terminal:
                self.after_terminal[job_id] += 1
        return entry

    def end(self, entry: LoggedRequest, reply: Answer, body_bytes: int) -> None:
        """Record how a request was answered, and how many bytes of the body were sent."""
        entry.status = reply.status
        entry.body_bytes = body_bytes
        self.body_bytes += body_bytes
        self.by_status[reply.status] += 1
        self.bytes_by_path[entry.path] += body_bytes
        if reply.version_id is not None:
            self.by_version[reply.version_id] += 1
        if reply.terminal_job_id is not None:
            self._terminal.add(reply.terminal_job_id)

    def forget(self, job_id: str) -> None:
        """Expect another job under this id, which no answer has shown as terminal."""
        self._terminal.discard(job_id)

    @contextlib.contextmanager
    def one_in_flight(self) -> Iterator[None]:
        """Count one request as in flight as long as the block lasts."""
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    @overload
    def __getitem__(self, index: int) -> LoggedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LoggedRequest]: ...
    def __getitem__(self, index: int | slice) -> LoggedRequest | Sequence[LoggedRequest]:
        return tuple(self._entries)[index] if isinstance(index, slice) else self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LoggedRequest]:
        # Over a copy: requests may arrive while a test goes through the ones before.
        return iter(tuple(self._entries))

    def __repr__(self) -> str:
        return f"<RequestLog of {self.total} requests>"


@attrs.define
class RequestHandler:
    """Answers each request that arrives."""

    log: RequestLog
    endpoints: Endpoints
    faults: list[Fault]
    timers: Timers
    accepts: Callable[[str | None], bool]
    """Whether a key is accepted."""
    redact: Callable[[str], str]
    """Take the key out of a text."""

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, which may be held for long first."""
        with self.log.one_in_flight():
            headers = request.headers
            # A client may hang up amid the body: nothing has happened then.
            body = await request.content.read() if request.body_exists else b""
            accepted = self.accepts(headers.get("X-API-Key"))
            query = dict(request.query)
            asked = FakeRequest(request.method, request.path, query, headers, accepted, body)
            entry = self._begin(asked)
            if asked.path.startswith(FILES):
                self._note_credentials(asked, request.raw_headers)
            if effect := effect_on(self.faults, asked.method, asked.path):
                return await self._serve_faulty(request, asked, entry, effect)
            reply = await self._answer(asked, entry)
            self._end(entry, reply)
            # One turn of the loop, so that requests sent together are in flight together.
            await asyncio.sleep(0)
            sent = b"" if reply.status in BODILESS else reply.body
            return web.Response(status=reply.status, body=sent, headers=_all_headers(reply))

    def _begin(self, asked: FakeRequest) -> LoggedRequest:
        redact, at = self.redact, self.timers.clock.now()
        query = {redact(name): redact(value) for name, value in asked.query.items()}
        entry = LoggedRequest(asked.method, redact(asked.path), query, asked.key_accepted, at)
        return self.log.begin(entry)

    def _note_credentials(self, asked: FakeRequest, raw: tuple[tuple[bytes, bytes], ...]) -> None:
        texts = [asked.path, *asked.query, *asked.query.values()]
        texts += [value.decode("latin-1") for _, value in raw]
        has_key = any(self.redact(text) != text for text in texts)
        if has_key or any(name in asked.headers for name in CREDENTIALS):
            self.endpoints.files.requests_with_credentials += 1

    async def _answer(self, asked: FakeRequest, entry: LoggedRequest) -> Answer:
        reply = self.endpoints.answer(asked)
        if not isinstance(reply, HeldRequest):
            return reply
        try:
            is_too_late = await self.endpoints.jobs.waiters.wait(reply.job)
        finally:
            entry.took = self.timers.clock.now() - entry.at
        return self.endpoints.answer_held(reply, is_too_late=is_too_late)

    async def _serve_faulty(
        self,
        request: web.BaseRequest,
        asked: FakeRequest,
        entry: LoggedRequest,
        effect: FaultEffect,
    ) -> web.StreamResponse:
        clock = self.timers.clock
        begins = clock.now() + effect.delay
        reply = await self._answer(asked, entry) if effect.is_early else None
        await self.timers.sleep_until(begins)
        if effect.is_answer:
            reply = effect.answer()
        elif reply is None:
            reply = await self._answer(asked, entry)
        reply = effect.apply(reply, clock.at(clock.now()))
        if entry.took:  # it was held
            begins = clock.now()
        entry.took = clock.now() - entry.at
        if effect.drop:
            await _send_part(request, reply, effect.drop)
        self._end(entry, reply)
        return await self._send_slowly(request, reply, begins, begins + effect.slow_body)

    async def _send_slowly(
        self, request: web.BaseRequest, reply: Answer, begins: float, ends: float
    ) -> web.StreamResponse:
        """Send an answer whose body comes in pieces, between two moments of the clock."""
        headers = {**_all_headers(reply), "Content-Length": str(len(reply.body))}
        response = web.StreamResponse(status=reply.status, headers=headers)
        await response.prepare(request)
        body = _sent_body(request.method, reply)
        starts = range(0, len(body), max(1, -(-len(body) // PIECES)))
        for number, start in enumerate(starts, 1):
            # Moments and not pauses: a manual clock may pass several at once.
            await self.timers.sleep_until(begins + (ends - begins) * number / len(starts))
            await response.write(body[start : start + starts.step])
        await response.write_eof()
        return response

    def _end(self, entry: LoggedRequest, reply: Answer) -> None:
        self.log.end(entry, reply, len(_sent_body(entry.method, reply)))


def _sent_body(method: str, reply: Answer) -> bytes:
    """The body that HTTP sends with an answer."""
    return b"" if method == "HEAD" or reply.status in BODILESS else reply.body


def _all_headers(reply: Answer) -> Mapping[str, str]:
    return {**JSON, **reply.headers} if reply.headers else JSON


async def _send_part(request: web.BaseRequest, reply: Answer, drop: Drop) -> NoReturn:
    """Send only the beginning of an answer, and close the connection."""
    headers = {**_all_headers(reply), "Content-Length": str(len(reply.body))}
    phrase = HTTPStatus(reply.status).phrase if reply.status in set(HTTPStatus) else ""
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {headers[name]}" for name in headers)]
    head = "\r\n".join([*lines, "", ""]).encode()
    body = _sent_body(request.method, reply)
    parts = {
        "headers": head[:-4],  # without their last bytes
        "body": head + body[: len(body) // 2],
    }
    transport = request.transport
    if transport:  # pragma: no branch - a client that hangs up cancels this, a turn later at most
        transport.write(parts.get(drop, b""))
        transport.close()
    cancelled_by_closing: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
    await cancelled_by_closing


@attrs.define(eq=False)
class Listener:
    """One address to which clients connect; port 0 is replaced by the one that was chosen.

    Accepts by itself: asyncio's servers drop, unclosed, a connection that they are accepting
    when they are closed (CPython's ``Server._attach`` asserts that they are open), and a
    canceled ``sock_accept`` does the same. Here the last connection accepted is one of its own,
    made by ``close()``, so that nothing is in between.
    """

    host: str
    port: int
    handler: Handler = attrs.field(repr=False)
    connections: int = attrs.field(default=0, init=False)
    """TCP connections accepted so far."""
    _socket: socket.socket | None = attrs.field(default=None, init=False)
    _server: web.Server = attrs.field(init=False)
    _accepting: asyncio.Task[None] = attrs.field(init=False)

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted now."""
        return self._socket is not None

    async def open(self) -> None:
        """Accept connections."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # Sets SO_REUSEADDR where that is safe, so that the same port can be had again.
        listening = socket.create_server((self.host, self.port), family=family, backlog=BACKLOG)
        listening.settimeout(0)
        self.port = listening.getsockname()[1]
        # Access logging is off because aiohttp writes it at INFO.
        # With handler_cancellation, a request whose connection is gone is not held any longer.
        self._server = web.Server(
            self.handler, access_log=None, keepalive_timeout=KEEP_ALIVE, handler_cancellation=True
        )
        self._socket = listening
        self._accepting = asyncio.create_task(self._accept_all(listening, self._server))

    async def close(self) -> None:
        """Refuse new connections and abort those there are, busy or not."""
        listening, self._socket = self._socket, None
        if listening is None:
            return
        server = self._server
        with socket.socket(listening.family) as last:
            last.settimeout(0)
            last.connect_ex(listening.getsockname())
            await asyncio.wait([self._accepting])
        listening.close()
        connections = server.connections
        transports = [connection.transport for connection in connections]
        for connection in connections:
            connection.force_close()
        # Closing sends first what is left to send, and an answer that is not read never is.
        for transport in filter(None, transports):
            transport.abort()
        await server.shutdown(timeout=5.0)

    async def _accept_all(self, listening: socket.socket, server: web.Server) -> None:
        while self._socket is listening:
            try:
                await self._accept_waiting(listening, server)
            except OSError:
                await asyncio.sleep(ACCEPT_AGAIN)

    async def _accept_waiting(self, listening: socket.socket, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        accepted = [(await loop.sock_accept(listening))[0]]
        # The others that wait are accepted too: a turn of a busy loop is long.
        with contextlib.suppress(OSError):
            while True:
                accepted.append(listening.accept()[0])
        if self._socket is not listening:  # closed since
            for connection in accepted:
                connection.close()
            return
        self.connections += len(accepted)
        arrivals = [loop.connect_accepted_socket(server, each) for each in accepted]
        await asyncio.gather(*arrivals)
