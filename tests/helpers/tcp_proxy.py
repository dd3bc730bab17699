"""TCP proxy that adds latency, limits bandwidth, and breaks connections."""

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit

import attrs

_PIECE = 65536


@attrs.frozen
class Link:
    """Properties of the link; they may change while connections are open.

    Attributes:
        latency: Seconds of delay of each piece, in each direction.
        bandwidth: Bytes per second, in each direction of each connection; None for no limit.
        piece: Maximum bytes forwarded at once.
        resets_after: Bytes of responses after which a connection is reset; None for never.
        idle: Seconds without a byte after which a connection is closed; None for never.
        max_connections: Connections at once: more are reset; None for no limit.
    """

    latency: float = 0.0
    bandwidth: float | None = None
    piece: int = _PIECE
    resets_after: int | None = None
    idle: float | None = None
    max_connections: int | None = None


class TcpProxy:
    """A proxy: an async context manager on a free port of loopback.

    Args:
        upstream: The URL of the server behind it.
        link: The link at first.

    Attributes:
        url: The URL to take for the server's.
        link: The link now.
        connections: How many connections were accepted.
        max_open: The largest number of open connections.
    """

    def __init__(self, upstream: str, link: Link) -> None:
        self.link = link
        self.url = ""
        self.connections = 0
        self.max_open = 0
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def cut(self) -> None:
        """Reset each connection that is open now."""
        for writer in self._open.values():
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        most = self.link.max_connections
        if most is not None and len(self._open) >= most:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        self.max_open = max(self.max_open, len(self._open))
        try:
            await self._join(reader, writer)
        except (asyncio.CancelledError, OSError):
            pass  # the proxy ends, or a peer has closed its connection
        finally:
            writer.transport.abort()
            del self._open[task]

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._upstream)
        try:
            async with asyncio.TaskGroup() as both:
                asking = both.create_task(self._carry(reader, server_writer, resets_after=None))
                await self._carry(server_reader, writer, resets_after=self.link.resets_after)
                asking.cancel()
        except* OSError:
            pass
        finally:
            server_writer.transport.abort()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        resets_after: int | None,
    ) -> None:
        """Forward bytes until a side closes or the limit is reached."""
        left = resets_after
        while piece := await self._piece(reader, left):
            await asyncio.sleep(self._time_for(piece))
            writer.write(piece)
            await writer.drain()
            if left is not None and (left := left - len(piece)) <= 0:
                await asyncio.sleep(0.01)  # what was sent is read before
                return
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _piece(self, reader: asyncio.StreamReader, left: int | None) -> bytes:
        size = self.link.piece if left is None else min(self.link.piece, left)
        try:
            async with asyncio.timeout(self.link.idle):
                return await reader.read(size)
        except TimeoutError:
            return b""

    def _time_for(self, piece: bytes) -> float:
        bandwidth = self.link.bandwidth
        return self.link.latency + (0.0 if bandwidth is None else len(piece) / bandwidth)
