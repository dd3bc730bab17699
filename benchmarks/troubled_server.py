"""A server for lives that are written in ids, in a process of its own, with trouble on purpose.

It knows nothing beforehand and keeps nothing but the jobs that still run, for its lists.
"""

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from benchmarks import encoded_lives
from benchmarks.encoded_lives import BUILDING, Life

_ROOT = Path(__file__).parent.parent
_BACKLOG = 1024
_END = b"\r\n\r\n"
_LONGEST_AWAIT = 1.5  # seconds, and not ten minutes: a server that tires is part of the trouble
_DETAIL = b'{"detail":"as the benchmark wants it"}'
_PAGE = b"<html><body>Bad Gateway</body></html>"
_STATUSES = {200: "OK", 404: "Not Found", 408: "Request Timeout", 429: "Too Many Requests"}


@contextmanager
def serving(*, failing: float, seed: int) -> Iterator[str]:
    """Run the server in a process of its own, which ends with the block; gives its URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        command = [sys.executable, "-m", "benchmarks.troubled_server", f"{descriptor}"]
        process = subprocess.Popen(  # noqa: S603 - nothing in it comes from outside
            [*command, f"{failing}", f"{seed}"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
        )
    with process:  # whose end closes its standard input, and that ends the server
        yield f"http://127.0.0.1:{port}"


def now() -> float:
    """The time that lives go by, in milliseconds."""
    return time.monotonic() * 1000


class Site:
    """What all connections share.

    Args:
        failing: The share of the answers that meet trouble.
        seed: Which ones.
    """

    def __init__(self, failing: float, seed: int) -> None:
        self.draws = random.Random(seed)
        self._failing = failing
        self._running: dict[str, Life] = {}

    def meets_trouble(self) -> bool:
        """Whether something goes wrong with an answer."""
        return self.draws.random() < self._failing

    def job(self, life: Life, query: dict[str, list[str]]) -> dict[str, Any]:
        """A job as it is now; while it runs, lists show it from now on."""
        at = now()
        document = _job(life, at, int(query.get("offset", ["0"])[0]))
        if at < life.ends_at:
            self._running[life.id] = life
        return document

    def page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """One page of a list."""
        at = now()
        for job_id in [one for one, life in self._running.items() if at >= life.ends_at]:
            del self._running[job_id]
        (status,) = query["status"]
        rows = [life for life in self._running.values() if life.status_at(at) == status]
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        further = offset + limit if offset + limit < len(rows) else -1
        data = [_job(life, at, 0) for life in rows[offset : offset + limit]]
        return {"data": data, "next_offset": further}


class Connection(asyncio.Protocol):
    """One connection; its client asks one thing at a time.

    Args:
        site: What is asked.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._unread = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - as TCP has it
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        """Forget what was held."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is complete."""
        self._unread += data
        if not self._unread.endswith(_END):
            return
        target = self._unread.split(b" ", 2)[1].decode()
        self._unread = b""
        path, _, asked = target.partition("?")
        self._route(path.split("/")[2:], parse_qs(asked))

    def _route(self, parts: list[str], query: dict[str, list[str]]) -> None:
        match parts:
            case ["jobs"]:
                self._answer(self._site.page(query))
            case ["jobs", job_id, *verb] if life := encoded_lives.read(job_id):
                self._look_up(life, query, is_held=bool(verb))
            case ["functions", _, name, "versions", _] if life := encoded_lives.read(name):
                self._answer({"id": name, "build_status": life.status_at(now(), BUILDING)})
            case _:
                self._send(404, _DETAIL)

    def _look_up(self, life: Life, query: dict[str, list[str]], *, is_held: bool) -> None:
        left = (life.ends_at - now()) / 1000
        if is_held and left > _LONGEST_AWAIT:
            self._later(_LONGEST_AWAIT, lambda: self._send(408, _DETAIL))
        elif is_held and left > 0:
            self._later(left + 0.002, lambda: self._answer(self._site.job(life, query)))
        else:
            self._answer(self._site.job(life, query))

    def _answer(self, document: dict[str, Any]) -> None:
        body = json.dumps(document, separators=(",", ":")).encode()
        if not self._site.meets_trouble():
            self._send(200, body)
        elif self._site.draws.random() < 0.005:
            self._send(429, _DETAIL, "retry-after: 1\r\n")
        else:
            self._spoil(body)

    def _spoil(self, body: bytes) -> None:
        match self._site.draws.randrange(8):
            case 0:
                self._send(500, _DETAIL)
            case 1:
                self._send(502, _PAGE)
            case 2:
                self._send(503, b"")
            case 3:
                self._send(200, body[: len(body) // 2])
            case 4:
                self._send(200, _PAGE)
            case 5:
                self._later(0.3, lambda: self._send(200, body))
            case 6:  # the connection breaks within the body
                self._write(_head(200, len(body), "") + body[: len(body) // 2])
                self._drop()
            case _:
                self._drop()

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, do)

    def _send(self, status: int, body: bytes, header: str = "") -> None:
        self._write(_head(status, len(body), header) + body)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _head(status: int, length: int, header: str) -> bytes:
    reason = _STATUSES.get(status, "Trouble")
    return f"HTTP/1.1 {status} {reason}\r\n{header}content-length: {length}\r\n\r\n".encode()


def _job(life: Life, at: float, offset: int) -> dict[str, Any]:
    return {
        "id": life.id,
        "status": life.status_at(at),
        "run_id": f"{life.id}-{life.run_at(at)}",
        "outputs": [{"type": "str", "data": text} for text in life.outputs_at(at)[offset:]],
        "error": "no face was found" if at >= life.ends_at and life.end == "error" else "",
    }


async def _serve(descriptor: int, failing: float, seed: int) -> None:
    site = Site(failing, seed)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(site), sock=socket.socket(fileno=descriptor), backlog=_BACKLOG
    )
    await asyncio.to_thread(sys.stdin.read)  # until whoever started this ends
    server.close()  # not waited for: a client that leaks leaves its connections open


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("descriptor", type=int, help="the listening socket")
    parser.add_argument("failing", type=float)
    parser.add_argument("seed", type=int)
    options = parser.parse_args()
    asyncio.run(_serve(options.descriptor, options.failing, options.seed))
