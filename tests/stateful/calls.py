"""Calls for jobs and builds: the call, its result, and whether that is correct."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from sieve_async import (
    ClientClosedError,
    FunctionVersion,
    Job,
    JobOutcome,
    Output,
    PollPolicy,
    SieveClient,
    SieveError,
)
from sieve_async.testing import FakeSieve
from stateful.error_checks import OUTAGE_TIMEOUT, CallContext, first, problem_with_error
from stateful.fault_plan import FaultPlan
from stateful.model import NAME, OWNER, JobModel, Problem, VersionModel

POLICY = PollPolicy(outage_timeout=OUTAGE_TIMEOUT)


@attrs.define(eq=False, kw_only=True)
class Call(ABC):
    """One call in progress."""

    sieve: FakeSieve
    plan: FaultPlan
    client: SieveClient
    timeout: float | None = None
    busy: float = 0.0  # seconds for which the caller works on each item
    is_cancelled: bool = attrs.field(default=False, init=False)
    started: float = attrs.field(init=False)
    ended: float | None = attrs.field(default=None, init=False)
    task: asyncio.Task[Any] = attrs.field(init=False)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the call in a task."""
        self.started = loop.time()
        self.task = loop.create_task(self._run(loop.time))

    def problem(self) -> Problem:
        """Why its result so far can not be correct."""
        if not self.task.done():
            return self._problem_so_far()
        if self.task.cancelled():
            return None if self.is_cancelled else "it was not cancelled"
        error = self.task.exception()
        if error is None:
            return first([self._problem_so_far(), self._problem_with_result(self.task.result())])
        if isinstance(error, ClientClosedError):
            return None if self.client.closed else "the client is not closed"
        if not isinstance(error, SieveError):
            return f"not a SieveError: {error!r}"
        return first([self._problem_so_far(), self._problem_with_error(error)])

    def is_overdue(self, now: float, latency: float) -> bool:
        """Whether one of its jobs has been terminal for so long that the call must have ended."""
        if self.task.done() or not self.plan.is_healthy(now):
            return False
        since = max(self.plan.healthy_since, self.started) + latency
        return any(
            over is not None and now > max(since, over + latency) for over in self._end_times()
        )

    def polls(self, job: JobModel) -> bool:
        """Whether this call may send requests for a job."""
        return not self.task.done() and any(each is job for each in self._jobs())

    def context(self, updates: int | None = None, busy: float = 0.0) -> CallContext:
        """What happened during the call."""
        assert self.ended is not None
        return CallContext(
            self.sieve, self.plan, self.started, self.ended, self.timeout, updates, busy
        )

    async def _run(self, clock: Callable[[], float]) -> Any:
        try:
            return await self._call()
        finally:
            self.ended = clock()

    def _jobs(self) -> Sequence[JobModel]:
        return ()

    def _end_times(self) -> Sequence[float | None]:
        """When each of its targets was over."""
        return [job.over_at for job in self._jobs()]

    def _problem_so_far(self) -> Problem:
        return None

    @abstractmethod
    async def _call(self) -> Any:
        """Make the call."""

    @abstractmethod
    def _problem_with_result(self, result: Any) -> Problem:
        """Why the returned value can not be correct."""

    @abstractmethod
    def _problem_with_error(self, error: SieveError) -> Problem:
        """Why the raised error can not be correct."""


@attrs.define(eq=False, kw_only=True)
class JobWait(Call):
    """A wait for one job."""

    job: JobModel
    strategy: Any = "poll"
    check: bool = False
    updates: list[Job] = attrs.field(factory=list, init=False)

    def _jobs(self) -> Sequence[JobModel]:
        return (self.job,)

    async def _call(self) -> Job:
        return await self.client.wait_for_job(
            self.job.id,
            timeout=self.timeout,
            polling=POLICY,
            strategy=self.strategy,
            on_update=self.updates.append,
            check=self.check,
        )

    def _problem_so_far(self) -> Problem:
        for number, job in enumerate(self.updates):
            if problem := self.job.problem_with_state(job):
                return f"reported a state that never was: {problem}"
            if self.updates[number - 1 : number] == [job]:
                return f"reported twice: {job}"
        return None

    def _problem_with_result(self, result: Job) -> Problem:
        if self.check and self.job.status != "finished":
            return "it should have raised"
        if self.updates and self.updates[-1] != result:
            return "on_update was not called for the result"
        return self.job.problem_with_result(result)

    def _problem_with_error(self, error: SieveError) -> Problem:
        return problem_with_error(error, self.context(len(self.updates)), self.job)


@attrs.define(eq=False, kw_only=True)
class Lookup(Call):
    """A lookup of a job."""

    job: JobModel

    def _jobs(self) -> Sequence[JobModel]:
        return (self.job,)

    def _end_times(self) -> Sequence[float | None]:
        return [0.0]

    async def _call(self) -> Job:
        return await self.client.get_job(self.job.id)

    def _problem_with_result(self, result: Job) -> Problem:
        return self.job.problem_with_state(result)

    def _problem_with_error(self, error: SieveError) -> Problem:
        had_fault = any(until >= self.started for _, until in self.plan.unhealthy)
        is_right = had_fault or self.job.is_removed
        return None if is_right else f"there was no fault: {error!r}"


@attrs.define(eq=False, kw_only=True)
class VersionWait(Call):
    """A wait for a build."""

    versions: Sequence[VersionModel]
    slug: str = "latest"
    updates: list[FunctionVersion] = attrs.field(factory=list, init=False)

    def _end_times(self) -> Sequence[float | None]:
        return [max(version.over_at for version in self.versions)]

    async def _call(self) -> FunctionVersion:
        return await self.client.wait_until_ready(
            OWNER,
            NAME,
            self.slug,
            timeout=self.timeout,
            polling=POLICY,
            on_update=self.updates.append,
        )

    def _problem_so_far(self) -> Problem:
        ids = {version.id for version in self.updates}
        return f"it followed {ids}" if len(ids) > 1 else None

    def _problem_with_result(self, result: FunctionVersion) -> Problem:
        models = {version.id: version for version in self.versions}
        assert self.ended is not None
        if self.updates and self.updates[-1] != result:
            return "on_update was not called for the result"
        if self.slug == "latest" and not self._was_latest(models[result.id]):
            return f"{result.id} was not the latest"
        if self.slug not in {"latest", result.id}:
            return f"{result.id} is another version"
        return models[result.id].problem_with_result(result, self.ended)

    def _was_latest(self, version: VersionModel) -> bool:
        later = [each.since for each in self.versions if each.since > version.since]
        return not later or min(later) >= self.started

    def _problem_with_error(self, error: SieveError) -> Problem:
        return problem_with_error(error, self.context(len(self.updates)), None)


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
