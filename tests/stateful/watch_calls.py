"""Calls that yield many items: watches of jobs, and output streams."""

import asyncio
from collections.abc import Sequence
from typing import Any

import attrs

from sieve_async import ClientClosedError, JobOutcome, Output, SieveError
from stateful.calls import POLICY, Call
from stateful.error_checks import CallContext, first, problem_with_error
from stateful.model import JobModel, Problem


@attrs.define(eq=False, kw_only=True)
class Watch(Call):
    """A watch of many jobs by ``as_completed`` or ``wait_for_jobs``."""

    jobs: Sequence[JobModel]
    strategy: Any = "poll"
    at_once: bool = False
    outcomes: list[JobOutcome] = attrs.field(factory=list, init=False)

    def _jobs(self) -> Sequence[JobModel]:
        found = {outcome.job_id for outcome in self.outcomes}
        return [job for job in self.jobs if job.id not in found]

    def _end_times(self) -> Sequence[float | None]:
        ends = [job.over_at for job in self._jobs()]
        if self.at_once:
            return [None if None in ends else max((end or 0.0 for end in ends), default=0.0)]
        return ends or [self.ended]

    def is_overdue(self, now: float, latency: float) -> bool:
        """As above; the caller needs time for each outcome."""
        return super().is_overdue(now, latency + self.busy * len(self.jobs))

    def context(self, updates: int | None = None, busy: float = 0.0) -> CallContext:
        """As above; it may share polls with other watches."""
        return attrs.evolve(super().context(updates, busy), is_watch=True)

    async def _call(self) -> None:
        ids = [job.id for job in self.jobs]
        settings = {"timeout": self.timeout, "polling": POLICY, "strategy": self.strategy}
        if self.at_once:
            self.outcomes += await self.client.wait_for_jobs(ids, **settings)
            return
        async with self.client.as_completed(ids, **settings) as outcomes:
            async for outcome in outcomes:
                self.ended = asyncio.get_running_loop().time()
                self.outcomes.append(outcome)
                await asyncio.sleep(self.busy)

    def _problem_so_far(self) -> Problem:
        ids = [outcome.job_id for outcome in self.outcomes]
        if not self.at_once and len(set(ids)) < len(ids):
            return f"an outcome came twice: {ids}"
        models = {job.id: job for job in self.jobs}
        return first(
            [
                self._problem_with_outcome(outcome, models[outcome.job_id])
                for outcome in self.outcomes
            ]
        )

    def _problem_with_outcome(self, outcome: JobOutcome, job: JobModel) -> Problem:
        if outcome.error is None:
            return job.problem_with_result(outcome.job)
        if isinstance(outcome.error, ClientClosedError):
            return None if self.client.closed else "the client is not closed"
        return problem_with_error(outcome.error, self.context(), job)

    def _problem_with_result(self, _: None) -> Problem:
        ids = [job.id for job in self.jobs]
        found = [outcome.job_id for outcome in self.outcomes]
        if self.at_once:
            return None if found == ids else f"{found} instead of {ids}"
        return None if sorted(found) == sorted(set(ids)) else f"{found} of {ids}"

    def _problem_with_error(self, error: SieveError) -> Problem:
        return f"it should have been an outcome: {error!r}"


@attrs.define(eq=False, kw_only=True)
class Stream(Call):
    """A stream of the outputs of one job."""

    job: JobModel
    offset: int = 0
    on_restart: Any = "raise"
    outputs: list[Output] = attrs.field(factory=list, init=False)

    def _jobs(self) -> Sequence[JobModel]:
        return (self.job,)

    async def _call(self) -> None:
        async with self.client.stream_outputs(
            self.job.id,
            offset=self.offset,
            timeout=self.timeout,
            polling=POLICY,
            on_restart=self.on_restart,
        ) as outputs:
            async for output in outputs:
                self.outputs.append(output)
                await asyncio.sleep(self.busy)

    def is_overdue(self, now: float, latency: float) -> bool:
        """As above; the caller needs time for each output."""
        made = sum(len(run.outputs) for run in self.job.runs)
        return super().is_overdue(now, latency + self.busy * (made + 1))

    def _problem_so_far(self) -> Problem:
        return self._problem_with_outputs(has_finished=False)

    def _problem_with_outputs(self, *, has_finished: bool) -> Problem:
        return self.job.problem_with_stream(
            self.outputs,
            self.offset,
            has_finished=has_finished,
            is_continued=self.on_restart == "continue",
        )

    def _problem_with_result(self, _: None) -> Problem:
        if self.job.status != "finished":
            return f"the job is {self.job.status}"
        return self._problem_with_outputs(has_finished=True)

    def _problem_with_error(self, error: SieveError) -> Problem:
        call = self.context(len(self.outputs), self.busy)
        return problem_with_error(error, call, self.job)
