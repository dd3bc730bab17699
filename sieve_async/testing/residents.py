"""One job that lives on the server: its script, how far it has come, and its body as last sent."""

import json

import attrs

from sieve_async.testing.jobs import JOB_ENDS, JobScript, Stamp
from sieve_async.testing.lives import Course


@attrs.define(eq=False)
class Resident:
    """One job.

    Its body is kept until what it shows changes, since most looks find it as it was.
    """

    script: JobScript
    course: Course
    number: int
    """How many jobs were added before it."""
    listed: bool
    filed_under: str = attrs.field(init=False)
    """The status that lists look for it by; right as of when it was last filed."""
    _shown: tuple[int, int, int] | None = attrs.field(default=None, init=False)
    _body: bytes = attrs.field(default=b"", init=False)

    @filed_under.default
    def _file(self) -> str:
        return self.status_at(self.course.added_at)

    def body(self, now: float, stamp: Stamp, *, offset: int = 0) -> bytes:
        """Write the job as it is, without its first ``offset`` outputs."""
        stage, depth = self.course.place(now)
        shown = self.script.shown_at(self.course.life.statuses[stage], depth)
        shows = (stage, shown, min(offset, shown))
        if shows != self._shown:
            look = self.course.view(now)
            self._body = self.script.write(look, stamp, shown=shown, offset=offset)
            self._shown = shows
        return self._body

    def has_ended(self, now: float) -> bool:
        """Tell whether its life, as scripted, is over."""
        return self.course.life.statuses[self.course.place(now)[0]] in JOB_ENDS

    def ends_at(self) -> float:
        """Say when the clock will end it; infinity when the clock alone will not."""
        life = self.course.life
        last = len(life.statuses) - 1
        return self.course.begins(last if life.statuses[last] in JOB_ENDS else last + 1)

    def status_at(self, now: float) -> str:
        """Say which status its document shows."""
        if "status" in self.script.fields:
            return str(json.loads(self.script.fields["status"]))
        return self.course.life.statuses[self.course.place(now)[0]]

    def changes_at(self, now: float) -> float:
        """Say when the clock will bring its next stage; infinity when it will not."""
        return self.course.begins(self.course.place(now)[0] + 1)
