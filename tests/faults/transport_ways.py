"""The ways in which a transport sends: each must keep the same promises."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import aiohttp
import attrs

from helpers.leak_checks import KEY
from sieve_async import Job, Limits, Timeout
from sieve_async.config import Config
from sieve_async.messages import Request
from sieve_async.transport import Transport

WAYS = ("own connection", "own session", "caller's session")
GET = Request("GET", "/v2/jobs/job-1", Job)
PUSH = Request("POST", "/v2/push", Job, body=b'{"function": "o/f"}', fresh_connection=True)
CANCEL = Request("DELETE", "/v2/jobs/job-1", Job, fresh_connection=True)


class OwnTransport(Transport):
    """A transport whose connectors are made with certain settings."""

    connector_settings: Mapping[str, Any] = {}

    def _open_connector(self) -> aiohttp.TCPConnector:
        if not self.connector_settings:
            return super()._open_connector()
        return aiohttp.TCPConnector(**self.connector_settings)


@contextlib.asynccontextmanager
async def sending(
    way: str,
    base_url: str,
    *,
    timeout: Timeout | None = None,  # noqa: ASYNC109 - a setting
    limits: Limits | None = None,
    **connector_settings: Any,
) -> AsyncIterator[Transport]:
    """A transport of this way, its connectors made with these settings."""
    settings = (Config(api_key=KEY, base_url=base_url), timeout or Timeout(), limits or Limits())
    async with contextlib.AsyncExitStack() as stack:
        if way == "caller's session":
            connector = aiohttp.TCPConnector(**connector_settings)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            transport = Transport(*settings, session)
        else:
            transport = OwnTransport(*settings, trust_env=way == "own session")
            transport.connector_settings = connector_settings
        try:
            yield transport
        finally:
            transport.abort()
            await transport.close()


@attrs.define(eq=False)
class Connection:
    """The server's side of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    requests: list[bytes] = attrs.field(factory=list, repr=False)

    async def request(self) -> bytes:
        """Wait for a request; its head and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        request = head + await self.reader.readexactly(length)
        self.requests.append(request)
        return request

    def respond(self, body: bytes = b'{"id": "job-1", "status": "finished"}') -> None:
        """Send a good answer."""
        self.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def serve(self) -> None:
        """Answer every request."""
        while True:
            await self.request()
            self.respond()

    def reset(self) -> None:
        """Reset the connection."""
        linger = struct.pack("ii", 1, 0)
        handle = self.writer.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Handler: TypeAlias = Callable[[Connection], Awaitable[Any]]


@attrs.define(eq=False)
class Server:
    """A server that handles each connection by a function."""

    url: str
    connections: list[Connection] = attrs.Factory(list)

    @property
    def requests(self) -> list[bytes]:
        """All requests, by connection."""
        return [request for each in self.connections for request in each.requests]


@contextlib.asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve on a free loopback port; a connection is closed when its handler returns."""
    tasks: set[asyncio.Task[Any]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, len(server.connections))
        server.connections.append(connection)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(connection)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            writer.transport.abort()
        finally:
            writer.close()
            tasks.discard(task)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    server = Server(f"{'https' if tls else 'http'}://127.0.0.1:{port}")
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
