"""The least HTTP/1.1 server that keeps connections alive, in a process of its own.

Bodies are prepared; an answer costs some splitting and joining of bytes. The beginning of an id
says what to answer, and the rest makes it one that was never asked for before:
``processing-00000017-4c5e`` is a job that still runs.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPConnection
from pathlib import Path

from benchmarks import bodies, peer_bodies

PROCESSOR_TIME = "/processor-time"
ID_OF_USUAL_LENGTH = b"finished-00000017-4c5e-8f2d-7b6a5c4d3e2f"

_ROOT = Path(__file__).parent.parent
_BACKLOG = 1024
_END = b"\r\n\r\n"
_HEAD = (
    b"HTTP/1.1 %s\r\n"
    b"date: Sun, 15 Dec 2024 01:48:32 GMT\r\n"
    b"server: benchmark\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n"
    b"\r\n"
)


@contextmanager
def serving() -> Iterator[str]:
    """Run the server in a process of its own, which ends with the block; gives its URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "benchmarks.server", str(listener.fileno())]
        process = subprocess.Popen(  # noqa: S603 - nothing in it comes from outside
            command, cwd=_ROOT, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]
        )
    with process:  # whose end closes its standard input, and that ends the server
        yield f"http://127.0.0.1:{port}"


class Meter:
    """Tells how much of its processor a server has used so far.

    Args:
        url: Where it is.
    """

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(url.removeprefix("http://"))

    def __call__(self) -> float:
        """Ask it."""
        self._connection.request("GET", PROCESSOR_TIME)
        with self._connection.getresponse() as response:
            return float(json.load(response)["seconds"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@cache
def prepared() -> dict[bytes, list[bytes]]:
    """For each first word of an id, the pieces of a body between which the id stands."""
    documents = {
        b"queued": bodies.queued_job(),
        b"processing": bodies.job("processing"),
        b"finished": bodies.job("finished"),
        b"compact": bodies.compact_job(),
        b"various": bodies.job_of_its_own_function(),
        b"many": bodies.job_with(200),
        b"most": bodies.job_with(5000),
        b"ready": bodies.version(),
        b"batch": peer_bodies.batch(),
        b"messages": peer_bodies.message_batch(),
        b"prediction": peer_bodies.prediction(),
        b"request": peer_bodies.request_status(),
        b"media": peer_bodies.media_job(),
    }
    placeholder = bodies.ID.encode()
    return {word: bodies.encode(body).split(placeholder) for word, body in documents.items()}


def size(word: str) -> int:
    """How many bytes the body of this word has."""
    return len(ID_OF_USUAL_LENGTH.join(prepared()[word.encode()]))


class Connection(asyncio.Protocol):
    """One connection.

    Args:
        answers: What ``prepared`` made.
    """

    def __init__(self, answers: dict[bytes, list[bytes]]) -> None:
        self._answers = answers
        self._unread = b""
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        *requests, self._unread = (self._unread + data).split(_END)
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.write(b"".join(map(self._answer, requests)))

    def _answer(self, request: bytes) -> bytes:
        path = request.split(b" ", 2)[1]
        path = path.partition(b"?")[0].removesuffix(b"/status")
        asked_for = path.rpartition(b"/")[2]
        pieces = self._answers.get(asked_for.partition(b"-")[0])
        if pieces is None:
            return _other(path.decode())
        body = asked_for.join(pieces)
        return _HEAD % (b"200 OK", len(body)) + body


def _other(path: str) -> bytes:
    if path != PROCESSOR_TIME:
        return _HEAD % (b"404 Not Found", 2) + b"{}"
    body = bodies.encode({"seconds": time.process_time()})
    return _HEAD % (b"200 OK", len(body)) + body


async def _serve(descriptor: int) -> None:
    answers = prepared()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(answers), sock=socket.socket(fileno=descriptor), backlog=_BACKLOG
    )
    async with server:
        await asyncio.to_thread(sys.stdin.read)  # until whoever started this ends


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("descriptor", type=int, help="the listening socket")
    asyncio.run(_serve(parser.parse_args().descriptor))
