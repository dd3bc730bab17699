"""One sweep, as a state without I/O: pages go in, and what is left to look at comes out."""

from collections.abc import Iterable, Mapping

import attrs

from sieve_async.models import JobStatus
from sieve_async.watching.watch import Watch

# In the order in which jobs go through them: one that moves on meanwhile is met all the same.
RUNNING = (JobStatus.QUEUED, JobStatus.PROCESSING)
# Seconds between two sweeps for each page of them: a page costs server and client some work.
_PAUSE_PER_PAGE = 0.05
# A job that so many sweeps in a row have missed although it ran is looked at by itself from then
# on. Pages shift while they are read, so one that was met before is missed now and then.
_MOST_MISSES = 2
_MISSES_WHEN_MET = -3


@attrs.define(eq=False)
class Round:
    """One sweep.

    Attributes:
        swept: Who is swept for; some may leave before it is over.
        started: When it began.
        unmet: Those that no page has shown to be running yet.
        pages: How many pages were read.
        is_complete: Whether all pages were read without trouble, so that who was not met is on none
            of them, or nearly so.
        met: How many jobs the pages have shown to be running.
    """

    swept: Mapping[str, Watch]
    started: float
    unmet: dict[str, Watch] = attrs.field(init=False)
    pages: int = 0
    is_complete: bool = False
    met: int = 0
    _pauses: float = 0.0
    _paused: int = 0

    def __attrs_post_init__(self) -> None:
        self.unmet = dict(self.swept)

    @property
    def is_decided(self) -> bool:
        """Whether looking at the rest one by one costs no more than was spent on pages already."""
        return len(self.unmet) <= max(self.pages, len(RUNNING))

    def take(self, jobs: Iterable[tuple[str, JobStatus]], asked_at: float, now: float) -> None:
        """Take in one page."""
        self.pages += 1
        for job_id, status in jobs:
            if status.is_terminal:
                continue  # it stays unmet, and so it will be looked at
            watch = self.unmet.pop(job_id, None)
            if watch is not None and self.swept.get(job_id) is watch:
                self.met += 1
                watch.misses = _MISSES_WHEN_MET
                watch.due = now
                wait = watch.wait
                if status is wait.status:
                    wait.unchanged(now)
                else:
                    wait.answered(status, wait.outputs, asked_at=asked_at, now=now)
                self._pauses += wait.policy.plain_pause(now - wait.changed_at)
                self._paused += 1

    def to_look_at(self, now: float) -> list[Watch]:
        """Who was not met and is to be looked at now: some were looked at only just before."""
        due = []
        for job_id, watch in self.unmet.items():
            if self.swept.get(job_id) is not watch:
                continue
            if self.is_complete:
                watch.misses += 1
            if watch.due <= now:
                due.append(watch)
            else:
                self._pauses += watch.due - now
                self._paused += 1
        return due

    def pause(self, least: float) -> float:
        """Seconds from its start to the next one: what the jobs would pause on average."""
        mean = self._pauses / self._paused if self._paused else least
        return max(mean, self.least_pause(least))

    def least_pause(self, least: float) -> float:
        """Seconds from its start to the next one, at the least."""
        return max(least, self.pages * _PAUSE_PER_PAGE)


def is_hopeless(watch: Watch) -> bool:
    """Whether sweeps will not meet this job, though it runs."""
    return watch.misses > _MOST_MISSES
