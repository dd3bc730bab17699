"""One job in the hands of a test: how it is, and what happens to it next."""

import attrs

from sieve_async.testing.documents import outputs_texts
from sieve_async.testing.home import Home, at_home
from sieve_async.testing.jobs import RESTARTS, JobEnd, RestartType, new_run_id
from sieve_async.testing.lives import check_word
from sieve_async.testing.population import Population
from sieve_async.testing.residents import Resident


@attrs.define(eq=False, repr=False)
class JobHandle:
    """A job of the server, to be told what happens if it was added with ``by="manual"``.

    Whatever is told happens now, and held awaits are answered when the job has ended by it.
    The handle is of that one job: it is not of another that takes its id when it was removed.

    Example:
        >>> job = sieve.job(sieve.add_job(by="manual"))
        >>> job.start()
        >>> job.yield_output("first")
        >>> job.finish()
    """

    _population: Population
    _job: Resident
    _home: Home

    @property
    def id(self) -> str:
        """The id of the job."""
        return self._job.script.id

    @property
    @at_home
    def status(self) -> str:
        """The status that a lookup would show, if it does not move the job."""
        return self._job.status_at(self._population.clock.now())

    @property
    def ends(self) -> JobEnd | None:
        """The end that is scripted; by hand, the one that was told."""
        return self._job.script.ends

    @property
    def restarts(self) -> int:
        """How many restarts are scripted; by hand, how many were told."""
        return len(self._job.script.restart_types)

    @at_home
    def start(self) -> None:
        """Begin processing.

        Raises:
            RuntimeError: It is not queued, or its life is not told by hand.
        """
        self._check("start", ("queued",))
        self._go_on("processing")

    @at_home
    def yield_output(self, value: object) -> None:
        """Show one more output, which may be whatever ``add_job`` takes as one.

        Raises:
            RuntimeError: It is not processing, or its life is not told by hand.
            ValueError: The output cannot be written as JSON.
        """
        self._check("yield an output", ("processing",))
        self._job.script.outputs += outputs_texts([value])

    @at_home
    def restart(self, kind: RestartType = "preemption") -> None:
        """Let this run die, and begin the next one, without outputs.

        Raises:
            RuntimeError: It is not processing, or its life is not told by hand.
            ValueError: There is no such kind of restart.
        """
        check_word("kind", kind, tuple(RESTARTS))
        self._check("restart", ("processing",))
        script = self._job.script
        script.run_ids += (new_run_id(script.id),)
        script.restart_types += (kind,)
        script.outputs = ()
        self._go_on("processing")

    @at_home
    def finish(self) -> None:
        """End well; a job that is queued starts first.

        Raises:
            RuntimeError: It has ended, or its life is not told by hand.
        """
        self._end("finish", "finished")

    @at_home
    def fail(self, error: str = "") -> None:
        """End badly, with an error text or a traceback; a job that is queued starts first.

        Raises:
            RuntimeError: It has ended, or its life is not told by hand.
        """
        self._end("fail", "error", error=error)

    @at_home
    def cancel(self) -> None:
        """End cancelled; a job that is queued never starts.

        Raises:
            RuntimeError: It has ended, or its life is not told by hand.
        """
        self._end("be cancelled", "cancelled")

    def __repr__(self) -> str:
        return f"<job {self.id!r}, {self.status}>"

    def _end(self, deed: str, end: JobEnd, *, error: str = "") -> None:
        self._check(deed, ("queued", "processing"))
        if self._stage() == "queued" and end != "cancelled":
            self._go_on("processing")
        self._job.script.ends = end
        self._job.script.error = error
        self._go_on(end)

    def _go_on(self, status: str) -> None:
        self._job.course.tell(status, self._population.clock.now())
        self._population.has_moved(self._job)

    def _stage(self) -> str:
        return self._job.course.life.statuses[-1]

    def _check(self, deed: str, allowed: tuple[str, ...]) -> None:
        if self._population.jobs.get(self.id) is not self._job:
            message = f"job {self.id!r} was removed and cannot {deed}"
            raise RuntimeError(message)
        if self._job.script.by != "manual":
            message = f"job {self.id!r} lives by {self._job.script.by}, and is not told by hand"
            raise RuntimeError(message)
        if self._stage() not in allowed:
            message = f"job {self.id!r} is {self._stage()} and cannot {deed}"
            raise RuntimeError(message)
