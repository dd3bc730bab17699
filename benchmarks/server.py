"""The server of the lookups: a bare HTTP/1.1 protocol with prepared bodies, in its own process.

The word before the first hyphen of an id says what is answered; the rest makes each id a new one,
for yarl remembers URLs. A job ``polled-...`` is terminal from its 20th request on.
"""

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from http.client import HTTPConnection

from benchmarks import bodies
from benchmarks.harness import BACKLOG, serve_in_process

POLLS = 20
SAMPLE_ID = "00000017-4c5e-8f2d-7b6a5c4d3e2f"

_CPU_TIME = "/cpu-time"
_END = b"\r\n\r\n"
_HEAD = (
    b"HTTP/1.1 %s\r\n"
    b"date: Sun, 15 Dec 2024 01:48:32 GMT\r\n"
    b"server: benchmark\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n"
    b"\r\n"
)


def serving() -> AbstractContextManager[str]:
    """Run the server in a process of its own; gives its URL."""
    return serve_in_process("benchmarks.server")


@contextmanager
def cpu_meter(url: str) -> Iterator[Callable[[], float]]:
    """Gives a function that asks the server for its processor time so far, in seconds."""

    def read() -> float:
        connection.request("GET", _CPU_TIME)
        with connection.getresponse() as response:
            return float(json.load(response)["seconds"])

    with closing(HTTPConnection(url.removeprefix("http://"))) as connection:
        yield read


@cache
def pieces() -> dict[bytes, list[bytes]]:
    """For the first word of an id, the pieces of a body between which the id stands."""
    placeholder = bodies.ID.encode()
    encoded = {kind.encode(): bodies.encode(body) for kind, body in bodies.BODIES.items()}
    return {kind: body.split(placeholder) for kind, body in encoded.items()}


def sample(kind: str, number: int = 0) -> bytes:
    """A body of this kind, as the server sends it for ``sample_id(kind)``.

    Args:
        kind: The kind.
        number: Bodies whose function differs are of this function.
    """
    first, *between, last = pieces()[kind.encode()]
    sample = sample_id(kind).encode()
    if not between:
        return sample.join([first, last])
    other = b"%08x%b" % (number, sample[8:])
    return other.join([sample.join([first, *between]), last])


def sample_id(kind: str) -> str:
    """The id in the sample of this kind."""
    return f"{kind}-{SAMPLE_ID}"


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Counter[bytes]) -> None:
        self._requests = requests
        self._pieces = pieces()
        self._unread = b""
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._unread = (self._unread + data).split(_END)
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.write(b"".join(map(self._answer, requests)))

    def _answer(self, request: bytes) -> bytes:
        path = request.split(b" ", 2)[1].partition(b"?")[0].removesuffix(b"/status")
        asked = path.rpartition(b"/")[2]
        kind = asked.partition(b"-")[0]
        if kind == b"polled":
            kind = self._polled(asked)
        found = self._pieces.get(kind)
        if found is None:
            return _other(path.decode())
        body = asked.join(found)
        return _HEAD % (b"200 OK", len(body)) + body

    def _polled(self, job_id: bytes) -> bytes:
        self._requests[job_id] += 1
        if self._requests[job_id] < POLLS:
            return b"processing"
        del self._requests[job_id]
        return b"compact"


def _other(path: str) -> bytes:
    if path != _CPU_TIME:
        return _HEAD % (b"404 Not Found", 2) + b"{}"
    body = bodies.encode({"seconds": time.process_time()})
    return _HEAD % (b"200 OK", len(body)) + body


async def serve(listener: socket.socket) -> asyncio.Server:
    """Begin to answer on a socket."""
    requests: Counter[bytes] = Counter()
    return await asyncio.get_running_loop().create_server(
        lambda: _Connection(requests), sock=listener, backlog=BACKLOG
    )
