"""A raw TCP server that answers just as badly as a script says.

HTTP libraries refuse to send what is sent here: half answers, two lengths, bytes one at a time, a
reset in the middle. A script is data, one for each request in their order; the last one goes on
for all that follow. A script without an end keeps the connection for the next request.
"""

import asyncio
import contextlib
import itertools
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum, auto
from typing import Any, Self, TypeAlias

import attrs
from faults.closed_world import KEY, ObservedClient

from sieve_async import RetryPolicy, SieveClient

JOB = "job-1"
JOB_PATH = f"/v2/jobs/{JOB}"

Document: TypeAlias = dict[str, Any]


class Do(Enum):
    """What a script can do besides sending bytes and pausing."""

    NOT_READ = auto()  # as the first step: act at once, whatever the client sends
    FIN = auto()  # close
    RST = auto()  # reset
    SILENCE = auto()  # say nothing more, until the client goes away


# Bytes are sent, a number is a pause in seconds, and a function is called.
Step: TypeAlias = bytes | float | Do | Callable[[], object]
Script: TypeAlias = Sequence[Step]


@attrs.frozen
class PolledState:
    """One request as it came: the bytes of its head, the connection, and the loop's time."""

    head: bytes = attrs.field(repr=False)
    connection: int
    at: float

    @property
    def target(self) -> str:
        """The path and query that were asked for."""
        return self.head.split(b" ", 2)[1].decode()

    def header(self, name: str) -> str | None:
        """The value of one header."""
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.decode().lower() == name.lower():
                return value.decode().strip()
        return None


class Wire:
    """The server: an async context manager on a free port of loopback.

    Args:
        scripts: What to do, one for each request; the last one repeats.
        tls: The server's side of TLS; None for plain TCP.
        port: The port to listen on; 0 for a free one.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.connections = 0
        self.requests: list[PolledState] = []
        self.url = ""
        self._scripts: Sequence[Script] = scripts or [answer()]
        self._taken = 0
        self._tls = tls
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._clients: list[SieveClient] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self._port, ssl=self._tls
        )
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)
        asked = sum(client.stats.requests for client in self._clients)
        assert not self._clients or len(self.requests) <= asked, (
            "an attempt was more than one request"
        )

    def client(self, **settings: Any) -> SieveClient:
        """A client of this server that holds the canary key."""
        client = ObservedClient(**({"api_key": KEY, "base_url": self.url} | settings))
        self._clients.append(client)
        return client

    @property
    def times(self) -> list[float]:
        """When the requests came, by the loop's clock."""
        return [seen.at for seen in self.requests]

    @property
    def gaps(self) -> list[float]:
        """The seconds between one request and the next."""
        return [later - earlier for earlier, later in itertools.pairwise(self.times)]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writer.transport.set_write_buffer_limits(0)  # drained is sent
        try:
            number = self.connections
            while await self._one(reader, writer, number):
                pass
        except (asyncio.CancelledError, asyncio.IncompleteReadError, OSError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> bool:
        """Play one script; whether the connection stays open after it."""
        steps = self._turn()
        if steps and steps[0] is Do.NOT_READ:
            self._taken += 1
            return await self._play(steps[1:], reader, writer)
        head = await reader.readuntil(b"\r\n\r\n")
        seen = PolledState(head, connection, asyncio.get_running_loop().time())
        self.requests.append(seen)
        return await self._play(self._script_for(seen), reader, writer)

    def _script_for(self, _: PolledState) -> Script:
        """What to do about a request, which was not answered yet."""
        script = self._turn()
        self._taken += 1
        return script

    def _turn(self) -> Script:
        return self._scripts[min(self._taken, len(self._scripts) - 1)]

    async def _play(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        for step in script:
            if isinstance(step, Do):
                await self._end(step, reader, writer)
                return False
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, (int, float)):
                await asyncio.sleep(step)
            else:
                step()
        return True

    async def _end(
        self, how: Do, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if how is Do.SILENCE:
            await reader.read()
        if how is Do.RST:
            await asyncio.sleep(0.01)  # what was sent is read before
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def job(**changes: Any) -> Document:
    """A finished job, with changes; a value of ``...`` takes its key away."""
    document = {"id": JOB, "status": "finished", "outputs": [{"data": "done"}]} | changes
    return {key: value for key, value in document.items() if value is not ...}


def version(**changes: Any) -> Document:
    """A version that is ready, with changes; a value of ``...`` takes its key away."""
    document = {"id": "v-1", "build_status": "ready"} | changes
    return {key: value for key, value in document.items() if value is not ...}


def answer(
    body: Document | bytes | None = None,
    *ends: Step,
    status: int = 200,
    headers: Sequence[tuple[str, str]] = (),
    length: int | None = None,
) -> Script:
    """The script of one complete HTTP answer, by default that of a finished job."""
    content = (
        body if isinstance(body, bytes) else json.dumps(job() if body is None else body).encode()
    )
    size = len(content) if length is None else length
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {size}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ["\r\n".join([*lines, "", ""]).encode() + content, *ends]


def chunked(body: bytes, *ends: Step, pieces: int = 4, head: str = "") -> Script:
    """The script of one complete answer in chunks."""
    size = -(-len(body) // pieces)
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    start = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{head}\r\n".encode()
    return [start, *(b"%x\r\n%b\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n", *ends]


def drip(start: bytes, piece: bytes, times: int = 50) -> Script:
    """The script of an answer that comes a piece a second."""
    steps: list[Step] = [start]
    for _ in range(times):
        steps += [piece, 1.0]
    return steps


@contextlib.asynccontextmanager
async def once(*scripts: Script, **settings: Any) -> AsyncIterator[tuple[Wire, SieveClient]]:
    """A server, and a client of it that tries nothing twice."""
    settings = {"retry": RetryPolicy(max_attempts=1)} | settings
    async with Wire(*scripts) as wire, wire.client(**settings) as client:
        yield wire, client


@contextlib.asynccontextmanager
async def serving(*scripts: Script, **settings: Any) -> AsyncIterator[tuple[Wire, SieveClient]]:
    """A server, and a client of it with the settings that users get."""
    async with Wire(*scripts) as wire, wire.client(**settings) as client:
        yield wire, client
