"""The sockets: one port that can be closed and opened again, with aiohttp's server behind it."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import attrs
from aiohttp import web

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# aiohttp has no "never", and an infinite timer breaks uvloop.
KEEP_ALIVE = 1e9
# As many as a storm may bring in one turn of the loop; asyncio's own 100 make clients wait.
BACKLOG = 4096
# After this long accepting is tried again when it failed, for want of descriptors mostly.
ACCEPT_AGAIN = 0.1


@attrs.define
class Listener:
    """One address that requests come in by; port 0 is replaced by the one that was chosen."""

    host: str
    port: int
    handler: Handler = attrs.field(repr=False)
    connections: int = attrs.field(default=0, init=False)
    """TCP connections accepted so far."""
    _entrance: "_Entrance | None" = attrs.field(default=None, init=False)

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted now."""
        return self._entrance is not None

    async def open(self) -> None:
        """Accept connections; an open listener stays as it is."""
        if self._entrance:
            return
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # Sets SO_REUSEADDR where that is safe, so that the same port can be had again.
        listening = socket.create_server((self.host, self.port), family=family, backlog=BACKLOG)
        listening.settimeout(0)
        self.port = listening.getsockname()[1]
        # Access logging is off because aiohttp writes it at INFO.
        # A request whose connection is gone is not held any longer.
        server = web.Server(
            self.handler, access_log=None, keepalive_timeout=KEEP_ALIVE, handler_cancellation=True
        )
        self._entrance = _Entrance(listening, server, self._count)

    async def close(self) -> None:
        """Refuse new connections and cut those there are, busy or not."""
        entrance, self._entrance = self._entrance, None
        if entrance:
            await entrance.close()

    def _count(self, accepted: int) -> None:
        self.connections += accepted


class _Entrance:
    """A listening socket while it is open.

    Accepts by itself: asyncio's servers drop, unclosed, a connection that they are accepting
    when they are closed (CPython's ``Server._attach`` asserts that they are open), and a
    cancelled ``sock_accept`` does the same. Here the last thing accepted is our own ring at
    the door, so nothing is in between.
    """

    def __init__(
        self, listening: socket.socket, server: web.Server, count: Callable[[int], None]
    ) -> None:
        self._listening = listening
        self._server = server
        self._count = count
        self._is_closing = False
        self._accepting = asyncio.create_task(self._accept_all())

    async def close(self) -> None:
        self._is_closing = True
        with socket.socket(self._listening.family) as bell:
            bell.settimeout(0)
            bell.connect_ex(self._listening.getsockname())
            await asyncio.wait([self._accepting])
        self._listening.close()
        _cut(self._server.connections)
        await self._server.shutdown(timeout=5.0)

    async def _accept_all(self) -> None:
        while not self._is_closing:
            try:
                await self._accept_waiting()
            except OSError:
                await asyncio.sleep(ACCEPT_AGAIN)

    async def _accept_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        accepted = [(await loop.sock_accept(self._listening))[0]]
        # The others that wait are taken along: a turn of a busy loop is long.
        with contextlib.suppress(OSError):
            while True:
                accepted.append(self._listening.accept()[0])
        if self._is_closing:
            for connection in accepted:
                connection.close()
            return
        self._count(len(accepted))
        arrivals = [loop.connect_accepted_socket(self._server, each) for each in accepted]
        await asyncio.gather(*arrivals)


def _cut(connections: list[web.RequestHandler]) -> None:
    transports = [connection.transport for connection in connections]
    for connection in connections:
        connection.force_close()
    # Closing sends first what is left to send, and an answer that nobody reads never is.
    for transport in filter(None, transports):
        transport.abort()
