"""What the fake server was asked: the latest requests, and exact totals over all of them."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import overload

import attrs

from sieve_async.testing.documents import Answer

# Enough for a long test, at about 300 bytes each.
MAX_KEPT = 100_000


@attrs.define
class LoggedRequest:
    """One request and how it was answered; the key itself is never kept."""

    method: str
    path: str  # percent-decoded, without the query
    query: Mapping[str, str]
    key_accepted: bool
    at: float  # on the server's clock: seconds since it first started
    took: float = 0.0  # how long it was held, on the same clock
    status: int = 0  # zero until it is answered, and forever when the connection was cut
    body_bytes: int = 0  # of the answer


class RequestLog(Sequence[LoggedRequest]):
    """The latest requests in order of arrival, and exact totals over all of them.

    A request counts from when it arrives; its status and bytes do from when it is answered.
    """

    total: int
    body_bytes: int
    by_status: Counter[int]
    by_path: Counter[str]
    bytes_by_path: Counter[str]
    by_version: Counter[str]
    after_terminal: Counter[str]  # GETs of a job that an answer had shown as terminal
    in_flight: int
    max_in_flight: int

    def __init__(self, *, max_kept: int = MAX_KEPT) -> None:
        self.total = self.body_bytes = self.in_flight = self.max_in_flight = 0
        self.by_status = Counter()
        self.by_path = Counter()
        self.bytes_by_path = Counter()
        self.by_version = Counter()
        self.after_terminal = Counter()
        self._terminal = set[str]()
        self._entries = deque[LoggedRequest](maxlen=max_kept)

    def begin(self, entry: LoggedRequest) -> LoggedRequest:
        """Record a request that has arrived."""
        self._entries.append(entry)
        self.total += 1
        self.by_path[entry.path] += 1
        if self._terminal and entry.method == "GET":
            job_id = entry.path.removeprefix("/v2/jobs/").removesuffix("/await")
            if job_id in self._terminal:
                self.after_terminal[job_id] += 1
        return entry

    def end(self, entry: LoggedRequest, reply: Answer, body_bytes: int) -> None:
        """Record how a request was answered, and how many bytes of the body were sent."""
        entry.status = reply.status
        entry.body_bytes = body_bytes
        self.body_bytes += body_bytes
        self.by_status[reply.status] += 1
        self.bytes_by_path[entry.path] += body_bytes
        if reply.version_id is not None:
            self.by_version[reply.version_id] += 1
        if reply.terminal_job_id is not None:
            self._terminal.add(reply.terminal_job_id)

    def forget(self, job_id: str) -> None:
        """Expect another job under this id, which no answer has shown as terminal."""
        self._terminal.discard(job_id)

    @contextmanager
    def one_in_flight(self) -> Iterator[None]:
        """Count one request as in flight as long as the block lasts."""
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    @overload
    def __getitem__(self, index: int) -> LoggedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LoggedRequest]: ...
    def __getitem__(self, index: int | slice) -> LoggedRequest | Sequence[LoggedRequest]:
        return tuple(self._entries)[index] if isinstance(index, slice) else self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LoggedRequest]:
        # Over a copy: requests may arrive while a test goes through the ones before.
        return iter(tuple(self._entries))

    def __repr__(self) -> str:
        return f"<RequestLog of {self.total} requests>"
