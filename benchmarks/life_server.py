"""The least server for jobs with scripted lives, on the loop of whoever asks.

It answers lookups, awaits and lists, lets a share of its answers fail, and counts all of it. It
shares a loop with the client so that both have the same virtual time; the processor time that it
takes is measured, to be taken off the client's.
"""

import asyncio
import random
import socket
from array import array
from collections import deque
from collections.abc import Callable
from itertools import islice
from time import thread_time
from urllib.parse import parse_qs

import attrs

from benchmarks import bodies
from benchmarks.lives import PROCESSING, QUEUED, Lives, output_of

LONGEST_AWAIT = 600.0
_LARGEST_PAGE = 500
_BACKLOG = 4096
_SEND_BUFFER = 1024 * 1024
_END = b"\r\n\r\n"
_HEAD = (
    b"HTTP/1.1 %s\r\n"
    b"date: Sun, 15 Dec 2024 01:48:32 GMT\r\n"
    b"server: benchmark\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n"
    b"\r\n"
)
_GOOD, _TOO_LONG, _UNKNOWN = b"200 OK", b"408 Request Timeout", b"404 Not Found"
_FAILURES = (
    b"500 Internal Server Error",
    b"502 Bad Gateway",
    b"503 Service Unavailable",
    None,  # the connection is dropped
)
_DETAIL = b'{"detail":"as the benchmark wants it"}'
_PATH = b"/v2/jobs"


@attrs.define
class Peak:
    """The most that there ever was in any stretch of time.

    Attributes:
        length: Of the stretch, in seconds.
        most: How many there were in it.
    """

    length: float
    most: int = 0
    _recent: deque[float] = attrs.field(factory=deque, init=False)

    def count(self, now: float) -> None:
        """Count one more."""
        recent = self._recent
        recent.append(now)
        while recent[0] <= now - self.length:
            recent.popleft()
        self.most = max(self.most, len(recent))


class Site:
    """The jobs of the server, and its ledger.

    Attributes:
        processor: Seconds of the processor that were spent here.
        sent: Bytes of all answers, heads included.
        lists: Requests for lists.
        asked: Requests for each job.
        in_second: The most requests in any second.
        in_tenth: The most in any tenth of a second.
        held: How many requests are held.
        most_held: How many were at once.

    Args:
        lives: The jobs.
        failing: The share of the answers that fail.
        latency: Seconds from a request to its answer.
    """

    def __init__(self, lives: Lives, *, failing: float, latency: float) -> None:
        self.processor = 0.0
        self.sent = self.lists = self.held = self.most_held = 0
        self.asked = array("I", [0]) * len(lives.ids)
        self.in_second, self.in_tenth = Peak(1.0), Peak(0.1)
        self.lives, self.latency = lives, latency
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._failing = failing
        self._draws = random.Random(17)
        self._ids = [job_id.encode() for job_id in lives.ids]
        self._numbers = {job_id: number for number, job_id in enumerate(self._ids)}
        self._pieces = _prepared()
        self._listed: dict[str, dict[int, None]] = {QUEUED: {}, PROCESSING: {}}
        for number, queued in enumerate(lives.queued):
            self._listed[QUEUED if queued else PROCESSING][number] = None
        self._changes = lives.changes()[::-1]

    @property
    def age(self) -> float:
        """How long ago the jobs began."""
        return self._loop.time() - self._began

    def begin(self) -> None:
        """Let all jobs begin now."""
        self._began = self._loop.time()

    def number_of(self, job_id: bytes) -> int | None:
        """The number of a job; None when there is none."""
        return self._numbers.get(job_id)

    def count(self) -> None:
        """Count a request."""
        now = self._loop.time()
        self.in_second.count(now)
        self.in_tenth.count(now)

    def whole(self, number: int, age: float) -> bytes:
        """A job as it is so long after its beginning."""
        return self._ids[number].join(self._pieces[self.lives.status_at(number, age)])

    def page(self, query: str) -> bytes:
        """One page of a list."""
        asked = parse_qs(query)
        self._pass_time()
        offset = int(asked.get("offset", ["0"])[0])
        limit = min(int(asked.get("limit", ["500"])[0]), _LARGEST_PAGE)
        status = asked["status"][0]
        pieces, ids = self._pieces[status], self._ids
        listed = self._listed.get(status, {})
        rows = [ids[number].join(pieces) for number in islice(listed, offset, offset + limit)]
        further = offset + limit if offset + limit < len(listed) else -1
        return b'{"data":[%s],"next_offset":%d}' % (b",".join(rows), further)

    def fate(self) -> bytes | None:
        """How an answer fares: well, or which way it fails; None for a dropped connection."""
        if self._draws.random() >= self._failing:
            return _GOOD
        return self._draws.choice(_FAILURES)

    def hold(self, by: int) -> None:
        """Note that there is one held request more or less."""
        self.held += by
        self.most_held = max(self.most_held, self.held)

    def _pass_time(self) -> None:
        age, changes, listed = self.age, self._changes, self._listed
        while changes and changes[-1][0] <= age:
            _, number, status = changes.pop()
            listed[QUEUED].pop(number, None)
            if status == PROCESSING:
                listed[PROCESSING][number] = None
            else:
                listed[PROCESSING].pop(number, None)


class Connection(asyncio.Protocol):
    """One connection; its client asks one thing at a time.

    Args:
        site: What is asked.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._unread = b""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            # Room for a page, so that it leaves while the server's time is measured.
            opened: socket.socket = transport.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def connection_lost(self, _: Exception | None) -> None:
        """Hold nothing any more."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._let_go()

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is complete."""
        self._timed(self._receive, data)

    def _timed(self, work: Callable[[bytes], None], data: bytes) -> None:
        began = thread_time()
        work(data)
        self._site.processor += thread_time() - began

    def _receive(self, data: bytes) -> None:
        self._unread += data
        if not self._unread.endswith(_END):
            return
        path, _, query = self._unread.split(b" ", 2)[1].partition(b"?")
        self._unread = b""
        self._site.count()
        if path == _PATH:
            self._site.lists += 1
            self._answer(_GOOD, self._site.page(query.decode()))
            return
        job_id, _, verb = path[len(_PATH) + 1 :].partition(b"/")
        number = self._site.number_of(job_id)
        if number is None:
            self._answer(_UNKNOWN, _DETAIL)
            return
        self._site.asked[number] += 1
        if verb and self._site.age < self._site.lives.durations[number]:
            self._hold(number)
        else:
            self._answer(_GOOD, self._site.whole(number, self._site.age))

    def _hold(self, number: int) -> None:
        left = self._site.lives.durations[number] - self._site.age
        release, wait = (self._end, left) if left <= LONGEST_AWAIT else (self._tire, LONGEST_AWAIT)
        self._timer = self._loop.call_later(wait, self._timed, release, b"%d" % number)
        self._site.hold(1)

    def _end(self, number: bytes) -> None:
        self._let_go()
        self._answer(_GOOD, self._site.whole(int(number), float("inf")))

    def _tire(self, _: bytes) -> None:
        self._let_go()
        self._answer(_TOO_LONG, _DETAIL)

    def _let_go(self) -> None:
        self._timer = None
        self._site.hold(-1)

    def _answer(self, status: bytes, body: bytes) -> None:
        fate = self._site.fate()
        if fate is None:
            data = b""
        elif fate is _GOOD:
            data = _HEAD % (status, len(body)) + body
        else:
            data = _HEAD % (fate, len(_DETAIL)) + _DETAIL
        if self._site.latency:
            self._loop.call_later(self._site.latency, self._timed, self._write, data)
        else:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self._transport is None:
            return
        if not data:
            self._transport.abort()
            return
        self._site.sent += len(data)
        self._transport.write(data)


async def serve(site: Site) -> asyncio.Server:
    """Begin to answer; the server's sockets say where."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Connection(site), "127.0.0.1", 0, backlog=_BACKLOG)


def _prepared() -> dict[str, list[bytes]]:
    """For each status the pieces of a body, between which the id stands."""
    documents = {status: _document(status) for status in (QUEUED, PROCESSING)}
    documents |= {status: _document(status) for status in ("finished", "error", "cancelled")}
    placeholder = bodies.ID.encode()
    return {word: bodies.encode(body).split(placeholder) for word, body in documents.items()}


def _document(status: str) -> bodies.Document:
    document = bodies.job("finished" if status == "finished" else "processing")
    outputs = [document["outputs"][0] | {"data": {"url": output_of(bodies.ID)}}]
    return document | {
        "status": status,
        "function": {"name": "dubbing", "owner_name": "sieve"},
        "outputs": outputs if status == "finished" else [],
        "error": "no face was found" if status == "error" else "",
    }
