"""Who lives on the server: the jobs and versions that tests have added, found by name."""

from collections import defaultdict

import attrs

from sieve_async.testing.clocks import Clock
from sieve_async.testing.documents import Document
from sieve_async.testing.jobs import JobScript
from sieve_async.testing.lives import Course
from sieve_async.testing.versions import VersionScript


@attrs.define
class Population:
    """The jobs and versions there are now, each with how far it has come."""

    clock: Clock
    _jobs: dict[str, tuple[JobScript, Course]] = attrs.field(factory=dict, init=False)
    _versions: dict[str, tuple[VersionScript, Course]] = attrs.field(factory=dict, init=False)
    # The ids of each function's versions, in the order of being added.
    _history: dict[str, list[str]] = attrs.field(factory=lambda: defaultdict(list), init=False)

    def add_job(self, script: JobScript) -> None:
        """Let a job begin now.

        Raises:
            ValueError: There is one with this id.
        """
        if script.id in self._jobs:
            message = f"there is a job {script.id!r} already"
            raise ValueError(message)
        self._jobs[script.id] = script, Course(script.life, script.by, self.clock.now())

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

    def remove_job(self, job_id: str) -> None:
        """Let a job vanish.

        Raises:
            ValueError: There is none with this id.
        """
        if self._jobs.pop(job_id, None) is None:
            message = f"there is no job {job_id!r}"
            raise ValueError(message)

    def look_at_job(self, job_id: str, *, offset: int) -> Document | None:
        """Look up one job; a job that goes by polls comes one step further."""
        if job_id not in self._jobs:
            return None
        script, course = self._jobs[job_id]
        look = course.look(self.clock.now())
        return script.document(look, self.clock.stamp, offset=offset)

    def look_at_version(self, version_id: str) -> Document:
        """Look up one version by its full id, which must be known."""
        script, course = self._versions[version_id]
        return script.document(course.look(self.clock.now()), self.clock.stamp)

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
        return f"{len(self._jobs)} jobs, {len(self._versions)} versions"
