"""Jobs whose timeline is written in their id, and a server for them that fails on purpose.

So the expected outcome of a job is known wherever its id is known. Timelines follow the clock of
the event loop: virtual time if client and server share a loop of virtual time, else the monotonic
clock that all processes of a machine share. The server counts its requests.
"""

import asyncio
import heapq
import random
import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import islice
from time import thread_time
from typing import Any
from urllib.parse import parse_qs

import attrs

from benchmarks import bodies
from benchmarks.harness import BACKLOG

JOB_STATUSES, BUILD_STATUSES = ("finished", "error", "cancelled"), ("ready", "error")
QUEUED, PROCESSING, BUILDING = "queued", "processing", "building"
FEW_FAULTS = ("500", "502", "503", "drop")
ALL_FAULTS = (*FEW_FAULTS, "html", "half", "late", "cut") * 30 + ("429",)

_STATUS_BY_LETTER = {status[0]: status for status in (*JOB_STATUSES, *BUILD_STATUSES)}
_MAX_PAGE = 500
_LATE = 0.3
_SEND_BUFFER = 1024 * 1024
_END = b"\r\n\r\n"
_DETAIL = b'{"detail":"the benchmark wants this"}'
_HTML = b"<html><body>Bad Gateway</body></html>"


@attrs.frozen
class Timeline:
    """The life of a job or build; times are whole milliseconds."""

    status: str  # the terminal one
    created: int  # when it begins
    queued: int  # how long
    run: int  # how long one run takes
    runs: int = 1  # of which the last one counts
    outputs: int = 0  # of each run, evenly over its time
    number: int = 0  # distinguishes it from equal ones

    @property
    def id(self) -> str:
        """The id, which holds all of this."""
        numbers = (self.created, self.queued, self.run, self.runs, self.outputs, self.number)
        return "-".join((self.status[0], *map(str, numbers)))

    @property
    def completes(self) -> int:
        """When it is terminal."""
        return self.created + self.queued + self.run * self.runs

    def status_at(self, now: float, busy: str = PROCESSING) -> str:
        """The status at a time; ``busy`` is the word for what follows the queue."""
        if now >= self.completes:
            return self.status
        return QUEUED if now < self.created + self.queued else busy

    def run_at(self, now: float) -> int:
        """The number of its run, from zero."""
        passed = int(now) - self.created - self.queued
        return max(0, min(self.runs - 1, passed // max(1, self.run)))

    def outputs_at(self, now: float) -> list[str]:
        """The outputs of this run so far."""
        run = self.run_at(now)
        passed = now - self.created - self.queued - run * self.run
        share = 1.0 if now >= self.completes else max(0.0, passed / max(1, self.run))
        return [self.output(run, index) for index in range(int(self.outputs * share))]

    def output(self, run: int, index: int) -> str:
        """One output, unlike any other."""
        return f"{self.id}/{run}/{index}"


def read_id(text: str) -> Timeline | None:
    """The timeline in an id; None if there is no such job."""
    letter, *numbers = text.split("-")
    if letter not in _STATUS_BY_LETTER or len(numbers) != 6:
        return None
    return Timeline(_STATUS_BY_LETTER[letter], *map(int, numbers))


def milliseconds() -> float:
    """The time that timelines follow."""
    return asyncio.get_running_loop().time() * 1000


@attrs.define
class Peak:
    """The largest number of requests in any stretch of so many seconds."""

    seconds: float
    most: int = 0
    _recent: deque[float] = attrs.field(factory=deque, init=False)

    def count(self, now: float) -> None:
        """Count a request."""
        recent = self._recent
        recent.append(now)
        while recent[0] <= now - self.seconds:
            recent.popleft()
        self.most = max(self.most, len(recent))


class JobServer:
    """The jobs, the faults and the counters of a server.

    Args:
        failing: The share of answers that fail.
        seed: Which answers fail, and how.
        all_faults: Whether to fail in all ways, or only with 5xx and lost connections.
        max_await: How long a long poll is held, in seconds.
        latency: Seconds from a request to its answer.
    """

    def __init__(
        self,
        *,
        failing: float = 0.0,
        seed: int = 17,
        all_faults: bool = False,
        max_await: float = 600.0,
        latency: float = 0.0,
    ) -> None:
        self.cpu = 0.0  # processor seconds spent here
        self.sent = self.lists = 0  # bytes of all answers, and requests for pages
        self.polls: Counter[str] = Counter()  # requests for each job
        self.in_second = Peak(1.0)
        self.max_await, self.latency = max_await, latency
        self._failing = failing
        self._random = random.Random(seed)
        self._faults: Sequence[str] = ALL_FAULTS if all_faults else FEW_FAULTS
        self._listed: dict[str, dict[str, None]] = {QUEUED: {}, PROCESSING: {}}
        self._changes: list[tuple[int, str, str]] = []
        self._known: set[str] = set()
        self._pieces = {status: _pieces(status) for status in (QUEUED, PROCESSING)}

    def add(self, job: Timeline) -> None:
        """List a job from now on, as long as it runs."""
        if job.id in self._known or milliseconds() >= job.completes:
            return
        self._known.add(job.id)
        starts = job.created + job.queued
        self._listed[QUEUED if milliseconds() < starts else PROCESSING][job.id] = None
        heapq.heappush(self._changes, (starts, PROCESSING, job.id))
        heapq.heappush(self._changes, (job.completes, "terminal", job.id))

    def job(self, job: Timeline, offset: int) -> bytes:
        """The document of a job now."""
        self.add(job)
        now = milliseconds()
        status = job.status_at(now)
        document = _document(status) | {
            "id": job.id,
            "run_id": f"{job.id}-{job.run_at(now)}",
            "outputs": [{"type": "str", "data": text} for text in job.outputs_at(now)[offset:]],
        }
        return bodies.encode(document)

    def page(self, status: str, offset: int, limit: int) -> bytes:
        """A page of the running jobs; its rows are without outputs."""
        self._update_lists()
        limit = min(limit, _MAX_PAGE)
        listed, pieces = self._listed.get(status, {}), self._pieces[status]
        rows = [job_id.encode().join(pieces) for job_id in islice(listed, offset, offset + limit)]
        following = offset + limit if offset + limit < len(listed) else -1
        return b'{"data":[%s],"next_offset":%d}' % (b",".join(rows), following)

    def draw_fault(self) -> str | None:
        """The fault of the next answer; None for most."""
        return None if self._random.random() >= self._failing else self._random.choice(self._faults)

    def _update_lists(self) -> None:
        now, changes, listed = milliseconds(), self._changes, self._listed
        while changes and changes[0][0] <= now:
            _, status, job_id = heapq.heappop(changes)
            listed[QUEUED].pop(job_id, None)
            if status == PROCESSING:
                listed[PROCESSING][job_id] = None
            else:
                listed[PROCESSING].pop(job_id, None)
                self._known.discard(job_id)


class _Connection(asyncio.Protocol):
    """One connection; its client sends one request at a time."""

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._unread = b""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            # A page leaves at once, so that the time for it counts as the server's.
            opened: socket.socket = transport.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if self._unread.endswith(_END):
            target = self._unread.split(b" ", 2)[1].decode()
            self._unread = b""
            if self._server.latency:
                self._later(self._server.latency, self._route, target)
            else:
                self._timed(self._route, target)

    def _timed(self, work: Callable[..., None], *arguments: Any) -> None:
        started = thread_time()
        work(*arguments)
        self._server.cpu += thread_time() - started

    def _route(self, target: str) -> None:
        self._server.in_second.count(self._loop.time())
        path, _, query = target.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        match path.split("/")[2:]:
            case ["jobs"]:
                self._server.lists += 1
                place = int(asked.get("offset", 0)), int(asked.get("limit", _MAX_PAGE))
                self._answer(self._server.page(asked["status"], *place))
            case ["jobs", job_id, *verb] if job := read_id(job_id):
                self._server.polls[job_id] += 1
                self._look_up(job, int(asked.get("offset", 0)), is_long_poll=bool(verb))
            case ["functions", _, name, "versions", _] if build := read_id(name):
                status = build.status_at(milliseconds(), BUILDING)
                self._answer(bodies.encode({"id": name, "build_status": status}))
            case _:
                self._send(404, _DETAIL)

    def _look_up(self, job: Timeline, offset: int, *, is_long_poll: bool = False) -> None:
        left = (job.completes - milliseconds()) / 1000
        if not is_long_poll or left <= 0:
            self._answer(self._server.job(job, offset))
            return
        if left > self._server.max_await:
            self._later(self._server.max_await, self._send, 408, _DETAIL)
        else:
            self._later(left + 0.002, self._look_up, job, offset)

    def _answer(self, body: bytes) -> None:
        match self._server.draw_fault():
            case None:
                self._send(200, body)
            case "429":
                self._send(429, _DETAIL, "retry-after: 1\r\n")
            case "500" | "502" | "503" as status:
                self._send(int(status), {"500": _DETAIL, "502": _HTML}.get(status, b""))
            case "html":
                self._send(200, _HTML)
            case "half":
                self._send(200, body[: len(body) // 2])
            case "late":
                self._later(_LATE, self._send, 200, body)
            case "cut":
                self._write(_head(200, len(body)) + body[: len(body) // 2])
                self._drop()
            case _:
                self._drop()

    def _later(self, seconds: float, work: Callable[..., None], *arguments: Any) -> None:
        self._timer = self._loop.call_later(seconds, self._timed, work, *arguments)

    def _send(self, status: int, body: bytes, header: str = "") -> None:
        self._write(_head(status, len(body), header) + body)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._server.sent += len(data)
            self._transport.write(data)

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def start(server: JobServer, listener: socket.socket) -> asyncio.Server:
    """Begin to answer on a socket."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Connection(server), sock=listener, backlog=BACKLOG)


async def serve(listener: socket.socket, **settings: Any) -> asyncio.Server:
    """Begin to answer on a socket, in a process of its own."""
    return await start(JobServer(**settings), listener)


def _head(status: int, length: int, header: str = "") -> bytes:
    return f"HTTP/1.1 {status} Status\r\n{header}content-length: {length}\r\n\r\n".encode()


def _document(status: str) -> bodies.Document:
    document = bodies.BODIES["processing"] | {"status": status}
    return document | {"outputs": [], "error": "no face was found" if status == "error" else ""}


def _pieces(status: str) -> list[bytes]:
    """A row of a list, cut where the id stands."""
    return bodies.encode(_document(status)).split(bodies.ID.encode())
