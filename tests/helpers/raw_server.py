"""The raw TCP server of the tests: sends the bytes of a script, including broken HTTP.

An HTTP library refuses to send a truncated body, two Content-Length headers, or a reset in the
middle of a response. A script is a list of steps; without `Action.CLOSE` or another end it keeps
the connection open. `RawServer` plays one script per request, in order, and repeats the last one;
`ScriptedServer` calls a function to choose the script. `StorageServer`, `PushServer` and
`ListServer` choose it as a storage host, a server of pushes or a server of many jobs.

Use `FakeSieve` where valid responses and complete errors are enough.
"""

import asyncio
import contextlib
import itertools
import json
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from enum import Enum, auto
from functools import cached_property
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qs, urlsplit

import attrs

from helpers.http_helpers import now
from helpers.leak_checks import KEY, CheckedClient
from sieve_async import RetryPolicy, SieveClient

JOB = "job-1"
JOB_PATH = f"/v2/jobs/{JOB}"

Document: TypeAlias = dict[str, Any]


class Action(Enum):
    """What a script can do besides sending bytes and sleeping."""

    DONT_READ = auto()  # only as the first step: act before reading a request
    CLOSE = auto()
    RESET = auto()
    SILENCE = auto()  # send nothing until the client closes the connection


# Bytes are sent, a number is a sleep in seconds, and a function is called.
Step: TypeAlias = bytes | float | Action | Callable[[], object]
Script: TypeAlias = Sequence[Step]


@attrs.frozen
class RawRequest:
    """One request as received.

    Attributes:
        head: The bytes of the request line and the headers.
        connection: The number of the connection, from one.
        number: The number of the request on its connection, from one.
        at: The loop time of its arrival.
        times: How many earlier requests there were for the same job; or for lists, if it is one.
        body: The bytes of the body.
    """

    head: bytes = attrs.field(repr=False)
    connection: int
    number: int
    at: float
    times: int = 0
    body: bytes = attrs.field(default=b"", repr=False)

    @property
    def raw(self) -> bytes:
        """All bytes."""
        return self.head + self.body

    @property
    def method(self) -> str:
        """The method."""
        return self.head.split(b" ", 1)[0].decode()

    @cached_property
    def target(self) -> str:
        """The path and the query."""
        return self.head.split(b" ", 2)[1].decode()

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.target.partition("?")[0]

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers, their names in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    def header(self, name: str) -> str | None:
        """The value of one header."""
        return self.headers.get(name.lower())

    @property
    def is_list(self) -> bool:
        """Whether this is a request for a page of a list."""
        return self.path == "/v2/jobs"

    @property
    def is_await(self) -> bool:
        """Whether this is a long poll."""
        return self.path.endswith("/await")

    @property
    def job_id(self) -> str:
        """The job; an empty string for a list."""
        return self.path.removeprefix("/v2/jobs").lstrip("/").partition("/")[0]

    @cached_property
    def query(self) -> dict[str, str]:
        """The first value of each parameter."""
        values = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: first for name, (first, *_) in values.items()}

    @property
    def offset(self) -> int:
        """The number of outputs or rows to leave out."""
        return int(self.query.get("offset", 0))

    @property
    def first_byte(self) -> int | None:
        """Where the requested range begins; None if the whole content was requested."""
        span = self.header("range")
        return None if span is None else int(span.removeprefix("bytes=").partition("-")[0])

    @property
    def limit(self) -> int:
        """The maximum number of rows on a page."""
        return int(self.query.get("limit", 500))


class RawServer:
    """A server on a free loopback port that plays one script per request; an async context manager.

    Args:
        scripts: One for each request, in order; the last one repeats.
        tls: The TLS context; None for plain TCP.
        port: The port; 0 for a free one.

    Attributes:
        url: The base URL.
        connections: How many connections were accepted.
        closed: How many connections have ended.
        requests: The requests so far.
        request_counts: The number of requests by job; lists are counted under an empty string.
        in_flight: How many requests are being answered.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.connections = self.closed = self.in_flight = 0
        self.requests: list[RawRequest] = []
        self.request_counts = Counter[str]()
        self.url = ""
        self._scripts: Sequence[Script] = scripts or [respond()]
        self._used = 0
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
        sent = sum(client.stats.requests for client in self._clients)
        assert not self._clients or len(self.requests) <= sent, "an attempt was sent twice"

    def client(self, **settings: Any) -> SieveClient:
        """A client of this server; every error that it raises is checked."""
        client = CheckedClient(**({"api_key": KEY, "base_url": self.url} | settings))
        self._clients.append(client)
        return client

    @property
    def times(self) -> list[float]:
        """The loop time of each request."""
        return [request.at for request in self.requests]

    @property
    def gaps(self) -> list[float]:
        """Seconds between consecutive requests."""
        return [later - earlier for earlier, later in itertools.pairwise(self.times)]

    @property
    def awaits(self) -> list[RawRequest]:
        """The long polls."""
        return [request for request in self.requests if request.is_await]

    @property
    def lists(self) -> list[RawRequest]:
        """The requests for pages."""
        return [request for request in self.requests if request.is_list]

    @property
    def polls(self) -> list[RawRequest]:
        """The plain requests for jobs and versions."""
        return [each for each in self.requests if not (each.is_await or each.is_list)]

    @property
    def offsets(self) -> list[str | None]:
        """The ``offset`` of each request as sent; None where there was none."""
        return [request.query.get("offset") for request in self.requests]

    def foreign_tasks(self) -> set["asyncio.Task[Any]"]:
        """All tasks but the current one and those of this server."""
        return asyncio.all_tasks() - self._tasks - {asyncio.current_task()}

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writer.transport.set_write_buffer_limits(0)  # drained is sent
        connection = self.connections
        try:
            for number in itertools.count(1):
                if not await self._one(reader, writer, connection, number):
                    break
        except (asyncio.CancelledError, asyncio.IncompleteReadError, OSError):
            writer.transport.abort()
        finally:
            self.closed += 1
            self._tasks.discard(task)

    async def _one(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connection: int,
        number: int,
    ) -> bool:
        """Answer one request; return whether the connection stays open."""
        script = self._next_script()
        if script and script[0] is Action.DONT_READ:
            self._used += 1
            return await self._play(script[1:], reader, writer)
        head = await reader.readuntil(b"\r\n\r\n")
        request = RawRequest(head, connection, number, now())
        body = await reader.readexactly(int(request.header("Content-Length") or 0))
        request = attrs.evolve(request, body=body, times=self.request_counts[request.job_id])
        self.request_counts[request.job_id] += 1
        self.requests.append(request)
        self.in_flight += 1
        try:
            return await self._play(self._script_for(request), reader, writer)
        finally:
            self.in_flight -= 1

    def _script_for(self, _: RawRequest) -> Script:
        script = self._next_script()
        self._used += 1
        return script

    def _next_script(self) -> Script:
        return self._scripts[min(self._used, len(self._scripts) - 1)]

    async def _play(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        for step in script:
            if isinstance(step, Action):
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
        self, how: Action, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if how is Action.SILENCE:
            await reader.read()
        if how is Action.RESET:
            await asyncio.sleep(0.01)  # what was sent is read before
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


Reply: TypeAlias = Callable[[RawRequest], Script]


class ScriptedServer(RawServer):
    """A raw server that chooses the script by the request.

    Args:
        reply: Returns the script for a request.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self._reply = reply

    def _script_for(self, request: RawRequest) -> Script:
        return self._reply(request)


def job_json(**changes: Any) -> Document:
    """A finished job with changes; ``...`` removes a key."""
    document = {"id": JOB, "status": "finished", "outputs": [{"data": "done"}]} | changes
    return {key: value for key, value in document.items() if value is not ...}


def version_json(**changes: Any) -> Document:
    """A ready version with changes; ``...`` removes a key."""
    document = {"id": "v-1", "build_status": "ready"} | changes
    return {key: value for key, value in document.items() if value is not ...}


def respond(
    body: Document | bytes | None = None,
    *ends: Step,
    status: int = 200,
    headers: Sequence[tuple[str, str]] = (),
    length: int | None = None,
) -> Script:
    """Script of one complete HTTP response, by default a finished job."""
    content = (
        body
        if isinstance(body, bytes)
        else json.dumps(job_json() if body is None else body).encode()
    )
    size = len(content) if length is None else length
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {size}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ["\r\n".join([*lines, "", ""]).encode() + content, *ends]


def respond_chunked(body: bytes, *ends: Step, pieces: int = 4, head: str = "") -> Script:
    """Script of one complete chunked response."""
    size = -(-len(body) // pieces)
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    start = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{head}\r\n".encode()
    return [start, *(b"%x\r\n%b\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n", *ends]


def respond_slowly(start: bytes, piece: bytes, times: int = 50) -> Script:
    """Script of a response that sends one piece per second."""
    steps: list[Step] = [start]
    for _ in range(times):
        steps += [piece, 1.0]
    return steps


@contextlib.asynccontextmanager
async def serve_once(
    *scripts: Script, **settings: Any
) -> AsyncIterator[tuple[RawServer, SieveClient]]:
    """A server and a client of it that does not retry."""
    settings = {"retry": RetryPolicy(max_attempts=1)} | settings
    async with RawServer(*scripts) as server, server.client(**settings) as client:
        yield server, client


@contextlib.asynccontextmanager
async def serve(*scripts: Script, **settings: Any) -> AsyncIterator[tuple[RawServer, SieveClient]]:
    """A server and a client of it with the default settings."""
    async with RawServer(*scripts) as server, server.client(**settings) as client:
        yield server, client


def job_document(job_id: str, status: str = "processing", **more: Any) -> Document:
    """A job; a finished one has one output that names it."""
    outputs = [{"data": f"of {job_id}"}] if status == "finished" else None
    return {"id": job_id, "status": status, "outputs": outputs} | more


def running_job(job_id: str) -> Script:
    """Script of a response: the job is processing."""
    return respond(job_document(job_id))


def finished_job(job_id: str) -> Script:
    """Script of a response: the job has finished."""
    return respond(job_document(job_id, "finished"))


def job_until(ends_at: float, job_id: str = "job", word: str = "processing") -> Script:
    """Script of a response: the job has the status ``word``, and from ``ends_at`` on finished."""
    return respond(job_document(job_id, "finished" if now() >= ends_at else word))


def error_response(status: int, *headers: tuple[str, str]) -> Script:
    """Script of an error response whose text repeats the API key."""
    body = json.dumps({"detail": f"rejected: {KEY}"}).encode()
    return respond(body, status=status, headers=headers)
