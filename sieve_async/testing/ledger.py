"""What was asked of the server: every request, and totals that stay exact for ever."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import overload

import attrs

from sieve_async.testing.answers import Answer

# Enough for a long test, at about 300 bytes each.
KEPT_ENTRIES = 100_000


@attrs.define
class LedgerEntry:
    """One request and how it was answered; the key itself is never kept.

    A request that is held is written down when it comes, and completed when it is answered.
    """

    method: str
    path: str  # percent-decoded, without the query
    query: Mapping[str, str]
    key_accepted: bool
    at: float  # on the server's clock: seconds since it was first started
    took: float = 0.0  # how long it was held, on the same clock
    status: int = 0  # zero until it is answered, and for ever when it was cut
    body_bytes: int = 0  # of the answer


class Ledger(Sequence[LedgerEntry]):
    """The latest requests in order of arrival, and exact totals over all of them.

    A request counts as soon as it comes; its status and its bytes do when it is answered.
    """

    total: int
    body_bytes: int
    by_status: Counter[int]
    by_path: Counter[str]
    bytes_by_path: Counter[str]
    by_version: Counter[str]
    after_end: Counter[str]  # lookups and awaits of a job whose end had been shown by one before
    in_flight: int
    max_in_flight: int

    def __init__(self, *, kept: int = KEPT_ENTRIES) -> None:
        self.total = self.body_bytes = self.in_flight = self.max_in_flight = 0
        self.by_status = Counter()
        self.by_path = Counter()
        self.bytes_by_path = Counter()
        self.by_version = Counter()
        self.after_end = Counter()
        self._ended = set[str]()
        self._entries = deque[LedgerEntry](maxlen=kept)

    def enter(self, entry: LedgerEntry) -> LedgerEntry:
        """Write down one request that has come."""
        self._entries.append(entry)
        self.total += 1
        self.by_path[entry.path] += 1
        if self._ended:
            job_id = entry.path.removeprefix("/v2/jobs/").removesuffix("/await")
            if job_id in self._ended:
                self.after_end[job_id] += 1
        return entry

    def answered(self, entry: LedgerEntry, reply: Answer, body_bytes: int) -> None:
        """Write down how a request was answered, and how many bytes of the body were sent."""
        entry.status = reply.status
        entry.body_bytes = body_bytes
        self.body_bytes += body_bytes
        self.by_status[reply.status] += 1
        self.bytes_by_path[entry.path] += body_bytes
        if reply.version_id is not None:
            self.by_version[reply.version_id] += 1
        if reply.ended_job_id is not None:
            self._ended.add(reply.ended_job_id)

    def forget(self, job_id: str) -> None:
        """Let a job begin anew under this id, whose end was not shown yet."""
        self._ended.discard(job_id)

    @contextmanager
    def one_in_flight(self) -> Iterator[None]:
        """Count one request as being in flight for as long as the block lasts."""
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    @overload
    def __getitem__(self, index: int) -> LedgerEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LedgerEntry]: ...
    def __getitem__(self, index: int | slice) -> LedgerEntry | Sequence[LedgerEntry]:
        return tuple(self._entries)[index] if isinstance(index, slice) else self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LedgerEntry]:
        # Over a copy: requests may come in while a test goes through the ones before.
        return iter(tuple(self._entries))

    def __repr__(self) -> str:
        return f"<Ledger of {self.total} requests>"
