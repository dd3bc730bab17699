"""What was asked of the server: every request, and totals that stay exact for ever."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import overload

import attrs

# Enough for a long test, at about 300 bytes each.
KEPT_ENTRIES = 100_000


@attrs.frozen
class LedgerEntry:
    """One request and how it was answered; the key itself is never kept."""

    method: str
    path: str  # percent-decoded, without the query
    query: Mapping[str, str]
    key_accepted: bool
    status: int
    body_bytes: int  # of the answer
    at: float  # on the server's clock: seconds since it was first started


class Ledger(Sequence[LedgerEntry]):
    """The latest requests in order of arrival, and exact totals over all of them."""

    total: int
    body_bytes: int
    by_status: Counter[int]
    by_path: Counter[str]
    by_version: Counter[str]
    in_flight: int
    most_in_flight: int

    def __init__(self, *, kept: int = KEPT_ENTRIES) -> None:
        self.total = self.body_bytes = self.in_flight = self.most_in_flight = 0
        self.by_status = Counter()
        self.by_path = Counter()
        self.by_version = Counter()
        self._entries = deque[LedgerEntry](maxlen=kept)

    def enter(self, entry: LedgerEntry, *, version_id: str | None = None) -> None:
        """Write down one request."""
        self._entries.append(entry)
        self.total += 1
        self.body_bytes += entry.body_bytes
        self.by_status[entry.status] += 1
        self.by_path[entry.path] += 1
        if version_id is not None:
            self.by_version[version_id] += 1

    @contextmanager
    def one_in_flight(self) -> Iterator[None]:
        """Count one request as being in flight for as long as the block lasts."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
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
