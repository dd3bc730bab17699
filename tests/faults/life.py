"""The truth about jobs and builds, told apart from the server that shows it.

The embedded server keeps its own truth. What a test did to it is noted here once more, in plain
Python, so that whatever a client hands out can be held against what really happened.
"""

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from helpers.job_snapshots import output_value
from sieve_async import FunctionVersion, Job, Output
from sieve_async.testing import FakeSieve, JobHandle

ENDS = {"finish": "finished", "fail": "error", "cancel": "cancelled"}
OWNER, NAME = "owner", "name"

# A complaint; nothing when all is well.
Complaint: TypeAlias = str | None


@attrs.define
class Run:
    """One run of a job, with the outputs that it has made so far."""

    id: str
    outputs: list[str] = attrs.field(factory=list)


class JobTruth:
    """One job that is told by hand, and everything that has happened to it.

    Args:
        sieve: Where it lives.
        job_id: Its id.

    Attributes:
        over_at: When it ended or vanished; None while it goes on.
    """

    def __init__(self, sieve: FakeSieve, job_id: str) -> None:
        self.id = sieve.add_job(job_id, by="manual")
        self.status = "queued"
        self.over_at: float | None = None
        self.is_removed = False
        self._sieve = sieve
        self._handle: JobHandle = sieve.job(job_id)
        self.runs = [Run(self._run_id())]

    @property
    def run(self) -> Run:
        """The present run."""
        return self.runs[-1]

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing more to come."""
        return self.status in ENDS.values()

    def live(self, deed: str, now: float) -> None:
        """Do something with the job, if that can be done with it as it is."""
        if self.is_removed:
            return
        if deed == "remove":
            self._sieve.remove_job(self.id)
            self.is_removed = True
            self.over_at = now if self.over_at is None else self.over_at
        elif deed in ENDS and not self.has_ended:
            getattr(self._handle, deed)()
            self.status, self.over_at = ENDS[deed], now
        elif not self.has_ended:
            self._go_on(deed)

    def _go_on(self, deed: str) -> None:
        if self.status == "queued":
            self._handle.start()
            self.status = "processing"
        if deed == "yield":
            value = f"{self.id}/{len(self.runs) - 1}/{len(self.run.outputs)}"
            self._handle.yield_output(value)
            self.run.outputs.append(value)
        elif deed == "restart":
            self._handle.restart()
            self.runs.append(Run(self._run_id()))

    def _run_id(self) -> str:
        return self._handle._job.script.run_ids[-1]

    def why_not_a_state(self, job: Job) -> Complaint:
        """What is wrong with a job as one that may have looked so at some time."""
        if job.id != self.id:
            return f"it is {job.id}"
        runs = [run for run in self.runs if job.run_id in {None, run.id}]
        if not runs:
            return f"it never had the run {job.run_id}"
        values = [output_value(output) for output in job.outputs]
        if not any(values == run.outputs[: len(values)] for run in runs):
            return f"its outputs were never {values}"
        if job.status.is_terminal and job.status != self.status:
            return f"it is {self.status} and never was {job.status}"
        return None

    def why_not_the_end(self, job: Job | None) -> Complaint:
        """What is wrong with a job as the one that ended."""
        if job is None or not self.has_ended:
            return f"it is {self.status}"
        if job.status != self.status or job.run_id != self.run.id:
            return f"it is {self.status} in the run {self.run.id}"
        if [output_value(output) for output in job.outputs] != self.run.outputs:
            return f"its outputs are {self.run.outputs}"
        return self.why_not_a_state(job)

    def why_not_handed_out(
        self, outputs: Sequence[Output], offset: int, *, over: bool, again: bool
    ) -> Complaint:
        """What is wrong with the outputs that a stream has handed out so far.

        Args:
            outputs: Them.
            offset: How many it was told to leave out.
            over: Whether it has ended well.
            again: Whether it goes on after a restart.
        """
        values = [str(output_value(output)) for output in outputs]
        numbers = sorted({int(value.split("/")[1]) for value in values})
        if len(numbers) > 1 and not again:
            return f"of several runs: {values}"
        expected: list[str] = []
        for number in numbers:
            made = self.runs[number].outputs
            first = offset if values[len(expected)] != made[0] else 0
            if first == 0 < offset and not (number and again):
                return f"not asked for: {made[0]}"
            count = sum(value in made for value in values)
            expected += made[first : first + count]
        if values != expected:
            return f"{values} in the place of {expected}"
        last = [value for value in values if value in self.run.outputs]
        # A last run that is no longer than the offset may have nothing to hand out.
        is_whole = last[-1:] == self.run.outputs[-1:] if last else not self.run.outputs[offset:]
        return f"not all of {self.run.outputs}" if over and not is_whole else None


@attrs.frozen
class VersionTruth:
    """One version, whose build goes by the clock.

    Attributes:
        id: Its id.
        since: Since when it is the latest.
        over_at: When its build is over.
        ends: How.
    """

    id: str
    since: float
    over_at: float
    ends: str

    @classmethod
    def deploy(
        cls, sieve: FakeSieve, version_id: str, now: float, spans: tuple[float, float], ends: str
    ) -> "VersionTruth":
        """Deploy one, which takes so long to queue and to build."""
        queued, building = spans
        sieve.add_version(
            OWNER,
            NAME,
            version_id,
            queued=queued,
            building=building,
            status="ready" if ends == "ready" else "error",
        )
        return cls(version_id, now, now + queued + building, ends)

    def why_not_the_end(self, version: FunctionVersion, now: float) -> Complaint:
        """What is wrong with a version as the one that this has become."""
        if (version.id, version.build_status) != (self.id, self.ends):
            return f"it is {version.id} ({version.build_status})"
        return "it is being built" if now < self.over_at - 1e-3 else None
