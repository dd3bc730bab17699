"""Whoever waits for more than one thing: for many jobs, or for each output of one."""

import asyncio
from collections.abc import Sequence
from typing import Any

import attrs

from faults.life import Complaint, JobTruth
from faults.life_verdicts import Circumstances, first, why_not
from faults.life_waits import POLICY, Waiting
from sieve_async import ClientClosedError, JobOutcome, Output, SieveError


@attrs.define(eq=False, kw_only=True)
class ManyJobs(Waiting):
    """A watch of many jobs, whose outcomes are taken as they come, or all at once."""

    jobs: Sequence[JobTruth]
    strategy: Any = "poll"
    all_at_once: bool = False
    outcomes: list[JobOutcome] = attrs.field(factory=list, init=False)

    def _jobs(self) -> Sequence[JobTruth]:
        found = {outcome.job_id for outcome in self.outcomes}
        return [job for job in self.jobs if job.id not in found]

    def _ends(self) -> Sequence[float | None]:
        ends = [job.over_at for job in self._jobs()]
        if self.all_at_once:
            return [None if None in ends else max((end or 0.0 for end in ends), default=0.0)]
        return ends or [self.ended]

    def must_be_over(self, now: float, patience: float) -> bool:
        """The same; it is over only once its caller had the time for each outcome."""
        return super().must_be_over(now, patience + self.busy * len(self.jobs))

    def about(self, seen: int | None = None, busy: float = 0.0) -> Circumstances:
        """The same; it may have joined others."""
        return attrs.evolve(super().about(seen, busy), is_watch=True)

    async def _ask(self) -> None:
        ids = [job.id for job in self.jobs]
        how = {"timeout": self.timeout, "polling": POLICY, "strategy": self.strategy}
        if self.all_at_once:
            self.outcomes += await self.client.wait_for_jobs(ids, **how)
            return
        async with self.client.as_completed(ids, **how) as outcomes:
            async for outcome in outcomes:
                self.ended = asyncio.get_running_loop().time()
                self.outcomes.append(outcome)
                await asyncio.sleep(self.busy)

    def _judge_so_far(self) -> Complaint:
        ids = [outcome.job_id for outcome in self.outcomes]
        if not self.all_at_once and len(set(ids)) < len(ids):
            return f"an outcome came twice: {ids}"
        truths = {job.id: job for job in self.jobs}
        return first(
            [self._judge_outcome(outcome, truths[outcome.job_id]) for outcome in self.outcomes]
        )

    def _judge_outcome(self, outcome: JobOutcome, job: JobTruth) -> Complaint:
        if outcome.error is None:
            return job.why_not_the_end(outcome.job)
        if isinstance(outcome.error, ClientClosedError):
            return None if self.client.closed else "the client is not closed"
        return why_not(outcome.error, self.about(), job)

    def _judge_result(self, _: None) -> Complaint:
        ids = [job.id for job in self.jobs]
        found = [outcome.job_id for outcome in self.outcomes]
        if self.all_at_once:
            return None if found == ids else f"{found} in the place of {ids}"
        return None if sorted(found) == sorted(set(ids)) else f"{found} of {ids}"

    def _judge_error(self, error: SieveError) -> Complaint:
        return f"it should have been an outcome: {error!r}"


@attrs.define(eq=False, kw_only=True)
class Outputs(Waiting):
    """A stream of the outputs of one job."""

    job: JobTruth
    offset: int = 0
    on_restart: Any = "raise"
    outputs: list[Output] = attrs.field(factory=list, init=False)

    def _jobs(self) -> Sequence[JobTruth]:
        return (self.job,)

    async def _ask(self) -> None:
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

    def must_be_over(self, now: float, patience: float) -> bool:
        """The same; it is over only once its caller had the time for each output."""
        made = sum(len(run.outputs) for run in self.job.runs)
        return super().must_be_over(now, patience + self.busy * (made + 1))

    def _judge_so_far(self) -> Complaint:
        return self._judge_outputs(over=False)

    def _judge_outputs(self, *, over: bool) -> Complaint:
        return self.job.why_not_handed_out(
            self.outputs, self.offset, over=over, again=self.on_restart == "continue"
        )

    def _judge_result(self, _: None) -> Complaint:
        if self.job.status != "finished":
            return f"the job is {self.job.status}"
        return self._judge_outputs(over=True)

    def _judge_error(self, error: SieveError) -> Complaint:
        about = self.about(len(self.outputs), self.busy)
        return why_not(error, about, self.job)
