"""The lists of jobs: newest first, by function and by status, a page at a time.

A page costs what it shows, not what there is: jobs stand on shelves, which are kept as time
goes by, and only those jobs are touched whose status has changed.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice
from operator import attrgetter
from typing import TypeAlias

import attrs

from sieve_async.testing.residents import Resident

Place: TypeAlias = tuple[str | None, str | None]
"""A function and a status; None stands for all of them."""

BLOCK = 512
# Positions are rounded to microseconds, so a change may show this much before its moment.
EARLY = 1e-6
_number = attrgetter("number")


@attrs.define
class Shelf:
    """Jobs in the order in which they were added, in blocks small enough to insert into."""

    _blocks: dict[int, list[Resident]] = attrs.field(factory=dict, init=False)

    def add(self, job: Resident) -> None:
        """Put a job in its place."""
        block = self._blocks.setdefault(job.number // BLOCK, [])
        insort(block, job, key=_number)

    def remove(self, job: Resident) -> None:
        """Take a job away that is there."""
        block = self._blocks[job.number // BLOCK]
        del block[bisect_left(block, job.number, key=_number)]

    def newest_first(self, *, offset: int) -> Iterator[Resident]:
        """Go through all but the ``offset`` newest."""
        for number in sorted(self._blocks, reverse=True):
            block = self._blocks[number]
            yield from block[::-1][offset:]
            offset = max(0, offset - len(block))


@attrs.define
class Listings:
    """Who is listed where, at the moment of the last page that asked for a status."""

    _shelves: dict[Place, Shelf] = attrs.field(factory=lambda: defaultdict(Shelf), init=False)
    # When the clock will bring each job's next stage; the number only breaks ties.
    _changes: list[tuple[float, int, Resident]] = attrs.field(factory=list, init=False)

    def add(self, job: Resident) -> None:
        """List a job."""
        for place in self._places(job):
            self._shelves[place].add(job)
        self._expect_change(job, job.course.added_at)

    def remove(self, job: Resident) -> None:
        """List a job no more."""
        for place in self._places(job):
            self._shelves[place].remove(job)
        job.listed = False

    def refile(self, job: Resident, now: float) -> None:
        """Move a job to the shelves of its present status."""
        status = job.status_at(now)
        if not job.listed or status == job.filed_under:
            return
        for function in (None, job.script.function):
            self._shelves[function, job.filed_under].remove(job)
            self._shelves[function, status].add(job)
        job.filed_under = status

    def knows(self, function: str) -> bool:
        """Tell whether there ever was a listed job of that function."""
        return (function, None) in self._shelves

    def page(
        self, function: str | None, status: str | None, now: float, *, limit: int, offset: int
    ) -> tuple[list[Resident], int]:
        """Show at most ``limit`` jobs after the first ``offset``, and where the next page begins.

        There is no next page at -1.
        """
        if status is not None:
            self._pass_time(now)
        shelf = self._shelves.get((function, status), Shelf())
        jobs = list(islice(shelf.newest_first(offset=offset), limit + 1))
        return jobs[:limit], offset + limit if len(jobs) > limit else -1

    def _pass_time(self, now: float) -> None:
        due = []
        while self._changes and self._changes[0][0] <= now + EARLY:
            due.append(heappop(self._changes)[-1])
        for job in due:
            self.refile(job, now)
            self._expect_change(job, now)

    def _expect_change(self, job: Resident, now: float) -> None:
        moment = job.changes_at(now)
        if moment < float("inf"):
            heappush(self._changes, (moment, job.number, job))

    def _places(self, job: Resident) -> list[Place]:
        functions, statuses = (None, job.script.function), (None, job.filed_under)
        return [(function, status) for function in functions for status in statuses]
