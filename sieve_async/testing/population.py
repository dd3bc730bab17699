"""Who lives on the server: the jobs and versions that tests have added, found by name."""

from collections import defaultdict

import attrs

from sieve_async.testing.clocks import Clock
from sieve_async.testing.documents import encode
from sieve_async.testing.holds import Holds, Wake
from sieve_async.testing.jobs import JOB_ENDS, JobScript
from sieve_async.testing.listings import Listings
from sieve_async.testing.lives import Course
from sieve_async.testing.residents import Resident
from sieve_async.testing.versions import VersionScript


@attrs.define
class Population:
    """The jobs and versions there are now, each with how far it has come."""

    clock: Clock
    holds: Holds
    jobs: dict[str, Resident] = attrs.field(factory=dict, init=False)
    _added: int = attrs.field(default=0, init=False)
    _listings: Listings = attrs.field(factory=Listings, init=False)
    _versions: dict[str, tuple[VersionScript, Course]] = attrs.field(factory=dict, init=False)
    # The ids of each function's versions, in the order of being added.
    _history: dict[str, list[str]] = attrs.field(factory=lambda: defaultdict(list), init=False)

    def add_job(self, script: JobScript, *, listed: bool) -> None:
        """Let a job begin now.

        Raises:
            ValueError: There is one with this id.
        """
        if script.id in self.jobs:
            message = f"there is a job {script.id!r} already"
            raise ValueError(message)
        course = Course(script.life, script.by, self.clock.now())
        job = self.jobs[script.id] = Resident(script, course, self._added, listed)
        self._added += 1
        if listed:
            self._listings.add(job)

    def add_version(self, script: VersionScript) -> None:
        """Let a build begin now; it becomes its function's latest.

        Raises:
            ValueError: There is one with this id.
        """
        if script.id in self._versions:
            message = f"there is a version {script.id!r} already"
            raise ValueError(message)
        self._versions[script.id] = script, Course(script.life, script.by, self.clock.now())
        self._history[script.function].append(script.id)

    def job(self, job_id: str) -> Resident:
        """Find a job by its id, without looking at it.

        Raises:
            ValueError: There is none with this id.
        """
        if job := self.jobs.get(job_id):
            return job
        message = f"there is no job {job_id!r}"
        raise ValueError(message)

    def remove_job(self, job_id: str) -> None:
        """Let a job vanish.

        Raises:
            ValueError: There is none with this id.
        """
        job = self.job(job_id)
        del self.jobs[job_id]
        if job.listed:
            self._listings.remove(job)
        self.holds.wake(job_id, Wake.REMOVED)

    def look_at_job(self, job_id: str) -> Resident | None:
        """Look up one job; a job that goes by polls comes one step further."""
        job = self.jobs.get(job_id)
        if job and job.script.by == "polls":
            job.course.step(self.clock.now())
            self.has_moved(job)
        return job

    def has_moved(self, job: Resident) -> None:
        """Take notice of a job that has come further otherwise than by the clock."""
        now = self.clock.now()
        self._listings.refile(job, now)
        if job.has_ended(now):
            self.holds.wake(job.script.id, Wake.ENDED)

    def show(self, job: Resident, *, offset: int) -> tuple[bytes, bool]:
        """Write one job as it is now, and say whether this shows that it has ended."""
        now = self.clock.now()
        return job.body(now, self.clock.stamp, offset=offset), job.status_at(now) in JOB_ENDS

    def list_jobs(
        self, function: str | None, *, status: str | None, limit: int, offset: int
    ) -> tuple[list[bytes], int]:
        """Write one page of jobs, newest first; lives that go by polls stay where they are.

        Returns:
            The jobs, and the offset of the next page: -1 when there is none.
        """
        now = self.clock.now()
        jobs, next_offset = self._listings.page(function, status, now, limit=limit, offset=offset)
        return [job.body(now, self.clock.stamp) for job in jobs], next_offset

    def knows_function(self, function: str) -> bool:
        """Tell whether there ever was a job or a version of it."""
        return function in self._history or self._listings.knows(function)

    def look_at_version(self, version_id: str) -> bytes:
        """Look up one version by its full id, which must be known."""
        script, course = self._versions[version_id]
        now = self.clock.now()
        course.step(now)
        return encode(script.document(course.view(now), self.clock.stamp))

    def resolve_version(self, function: str, slug: str) -> str | None:
        """Find the one version meant by an id, the beginning of an id, or ``latest``."""
        ids = self._history.get(function, [])
        if slug == "latest":
            return ids[-1] if ids else None
        if slug in ids:
            return slug
        matching = [version_id for version_id in ids if version_id.startswith(slug)]
        return matching[0] if len(matching) == 1 else None

    def __repr__(self) -> str:
        return f"{len(self.jobs)} jobs, {len(self._versions)} versions"
