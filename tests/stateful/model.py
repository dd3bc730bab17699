"""Model of jobs and builds: what really happened to them, kept apart from the fake server.

The machine applies every action to the fake server and to this model. Whatever a client returns is
compared with the model.
"""

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from helpers.job_snapshots import output_value
from sieve_async import FunctionVersion, Job, Output
from sieve_async.testing import FakeSieve, JobHandle

TERMINAL_STATUSES = {"finish": "finished", "fail": "error", "cancel": "cancelled"}
OWNER, NAME = "owner", "name"

# The reason why something is wrong; None if it is correct.
Problem: TypeAlias = str | None


@attrs.define
class Run:
    """One run of a job and its outputs so far."""

    id: str
    outputs: list[str] = attrs.field(factory=list)


class JobModel:
    """One job that the machine moves by hand."""

    def __init__(self, sieve: FakeSieve, job_id: str) -> None:
        self.id = sieve.add_job(job_id, by="manual")
        self.status = "queued"
        self.over_at: float | None = None  # when it became terminal or was removed
        self.is_removed = False
        self._sieve = sieve
        self._handle: JobHandle = sieve.job(job_id)
        self.runs = [Run(self._run_id())]

    @property
    def run(self) -> Run:
        """The current run."""
        return self.runs[-1]

    @property
    def is_terminal(self) -> bool:
        """Whether the status is terminal."""
        return self.status in TERMINAL_STATUSES.values()

    def apply(self, action: str, now: float) -> None:
        """Apply an action, unless the job is in a state that does not allow it."""
        if self.is_removed:
            return
        if action == "remove":
            self._sieve.remove_job(self.id)
            self.is_removed = True
            self.over_at = now if self.over_at is None else self.over_at
        elif action in TERMINAL_STATUSES and not self.is_terminal:
            getattr(self._handle, action)()
            self.status, self.over_at = TERMINAL_STATUSES[action], now
        elif not self.is_terminal:
            self._apply_while_running(action)

    def _apply_while_running(self, action: str) -> None:
        if self.status == "queued":
            self._handle.start()
            self.status = "processing"
        if action == "yield":
            value = f"{self.id}/{len(self.runs) - 1}/{len(self.run.outputs)}"
            self._handle.yield_output(value)
            self.run.outputs.append(value)
        elif action == "restart":
            self._handle.restart()
            self.runs.append(Run(self._run_id()))

    def _run_id(self) -> str:
        return self._handle._job.script.run_ids[-1]

    def problem_with_state(self, job: Job) -> Problem:
        """Why a job can not be a state that this job once had."""
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

    def problem_with_result(self, job: Job | None) -> Problem:
        """Why a job can not be the terminal state of this job."""
        if job is None or not self.is_terminal:
            return f"it is {self.status}"
        if job.status != self.status or job.run_id not in {None, self.run.id}:
            return f"it is {self.status} in the run {self.run.id}"
        if [output_value(output) for output in job.outputs] != self.run.outputs:
            return f"its outputs are {self.run.outputs}"
        return self.problem_with_state(job)

    def problem_with_stream(
        self, outputs: Sequence[Output], offset: int, *, has_finished: bool, is_continued: bool
    ) -> Problem:
        """Why a stream can not have yielded these outputs."""
        values = [str(output_value(output)) for output in outputs]
        numbers = sorted({int(value.split("/")[1]) for value in values})
        if len(numbers) > 1 and not is_continued:
            return f"of several runs: {values}"
        expected: list[str] = []
        for number in numbers:
            made = self.runs[number].outputs
            first = offset if values[len(expected)] != made[0] else 0
            if first == 0 < offset and not (number and is_continued):
                return f"below the offset: {made[0]}"
            count = sum(value in made for value in values)
            expected += made[first : first + count]
        if values != expected:
            return f"{values} instead of {expected}"
        last = [value for value in values if value in self.run.outputs]
        # The last run may have no more outputs than the offset.
        is_whole = last[-1:] == self.run.outputs[-1:] if last else not self.run.outputs[offset:]
        return f"not all of {self.run.outputs}" if has_finished and not is_whole else None


@attrs.frozen
class VersionModel:
    """One function version, whose build follows the clock."""

    id: str
    since: float
    over_at: float
    status: str

    @classmethod
    def deploy(
        cls, sieve: FakeSieve, version_id: str, now: float, spans: tuple[float, float], status: str
    ) -> "VersionModel":
        """Deploy a version that is queued and built for so many seconds."""
        queued, building = spans
        sieve.add_version(
            OWNER,
            NAME,
            version_id,
            queued=queued,
            building=building,
            status="ready" if status == "ready" else "error",
        )
        return cls(version_id, now, now + queued + building, status)

    def problem_with_result(self, version: FunctionVersion, now: float) -> Problem:
        """Why a version can not be the result of this build."""
        if (version.id, version.build_status) != (self.id, self.status):
            return f"it is {version.id} ({version.build_status})"
        return "it is being built" if now < self.over_at - 1e-3 else None
