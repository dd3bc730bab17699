"""Whoever waits: what was asked, what came of it, and whether that is the truth."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from faults.life import NAME, OWNER, Complaint, JobTruth, VersionTruth
from faults.life_verdicts import MAX_UNREACHABLE, Circumstances, first, why_not
from faults.life_weather import Weather
from sieve_async import (
    ClientClosedError,
    FunctionVersion,
    Job,
    PollPolicy,
    SieveClient,
    SieveError,
)
from sieve_async.testing import FakeSieve

POLICY = PollPolicy(outage_timeout=MAX_UNREACHABLE)


@attrs.define(eq=False, kw_only=True)
class Waiting(ABC):
    """One call that goes on.

    Attributes:
        sieve: Who is asked.
        weather: What is wrong there.
        client: Who asks.
        timeout: How long it is to take at the most; None for no limit.
        busy: For how long its caller is busy with each thing that it is told.
    """

    sieve: FakeSieve
    weather: Weather
    client: SieveClient
    timeout: float | None = None
    busy: float = 0.0
    is_cancelled: bool = attrs.field(default=False, init=False)
    started: float = attrs.field(init=False)
    ended: float | None = attrs.field(default=None, init=False)
    task: asyncio.Task[Any] = attrs.field(init=False)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask, as a task of the loop."""
        self.started = loop.time()
        self.task = loop.create_task(self._run(loop.time))

    def judge(self) -> Complaint:
        """What is wrong with how it has ended, if it has."""
        if not self.task.done():
            return self._judge_so_far()
        if self.task.cancelled():
            return None if self.is_cancelled else "it was not cancelled"
        error = self.task.exception()
        if error is None:
            return first([self._judge_so_far(), self._judge_result(self.task.result())])
        if isinstance(error, ClientClosedError):
            return None if self.client.closed else "the client is not closed"
        if not isinstance(error, SieveError):
            return f"not an error of ours: {error!r}"
        return first([self._judge_so_far(), self._judge_error(error)])

    def must_be_over(self, now: float, patience: float) -> bool:
        """Whether its end, or one of its ends, has been there for so long that it must be seen."""
        if self.task.done() or not self.weather.is_fair(now):
            return False
        since = max(self.weather.fair_since, self.started) + patience
        return any(over is not None and now > max(since, over + patience) for over in self._ends())

    def asks_for(self, job: JobTruth) -> bool:
        """Whether a job may be asked for because of this."""
        return not self.task.done() and any(each is job for each in self._jobs())

    def about(self, seen: int | None = None, busy: float = 0.0) -> Circumstances:
        """What was going on meanwhile."""
        assert self.ended is not None
        return Circumstances(
            self.sieve, self.weather, self.started, self.ended, self.timeout, seen, busy
        )

    async def _run(self, clock: Callable[[], float]) -> Any:
        try:
            return await self._ask()
        finally:
            self.ended = clock()

    def _jobs(self) -> Sequence[JobTruth]:
        return ()

    def _ends(self) -> Sequence[float | None]:
        """When what it waits for was over."""
        return [job.over_at for job in self._jobs()]

    def _judge_so_far(self) -> Complaint:
        return None

    @abstractmethod
    async def _ask(self) -> Any:
        """Make the call."""

    @abstractmethod
    def _judge_result(self, result: Any) -> Complaint:
        """What is wrong with what the call has returned."""

    @abstractmethod
    def _judge_error(self, error: SieveError) -> Complaint:
        """What is wrong with what the call has raised."""


@attrs.define(eq=False, kw_only=True)
class OneJob(Waiting):
    """A wait for one job."""

    job: JobTruth
    strategy: Any = "poll"
    check: bool = False
    seen: list[Job] = attrs.field(factory=list, init=False)

    def _jobs(self) -> Sequence[JobTruth]:
        return (self.job,)

    async def _ask(self) -> Job:
        return await self.client.wait_for_job(
            self.job.id,
            timeout=self.timeout,
            polling=POLICY,
            strategy=self.strategy,
            on_update=self.seen.append,
            check=self.check,
        )

    def _judge_so_far(self) -> Complaint:
        for number, job in enumerate(self.seen):
            if complaint := self.job.why_not_a_state(job):
                return f"told of what never was: {complaint}"
            if self.seen[number - 1 : number] == [job]:
                return f"told twice of {job}"
        return None

    def _judge_result(self, result: Job) -> Complaint:
        if self.check and self.job.status != "finished":
            return "it should have raised"
        if self.seen and self.seen[-1] != result:
            return "the listener was not told of the end"
        return self.job.why_not_the_end(result)

    def _judge_error(self, error: SieveError) -> Complaint:
        return why_not(error, self.about(len(self.seen)), self.job)


@attrs.define(eq=False, kw_only=True)
class Lookup(Waiting):
    """One look at a job, without any waiting."""

    job: JobTruth

    def _jobs(self) -> Sequence[JobTruth]:
        return (self.job,)

    def _ends(self) -> Sequence[float | None]:
        return [0.0]

    async def _ask(self) -> Job:
        return await self.client.get_job(self.job.id)

    def _judge_result(self, result: Job) -> Complaint:
        return self.job.why_not_a_state(result)

    def _judge_error(self, error: SieveError) -> Complaint:
        was_bad = any(until >= self.started for _, until in self.weather.bad)
        is_bad = was_bad or self.job.is_removed
        return None if is_bad else f"nothing was wrong: {error!r}"


@attrs.define(eq=False, kw_only=True)
class OneVersion(Waiting):
    """A wait for a build."""

    versions: Sequence[VersionTruth]
    slug: str = "latest"
    seen: list[FunctionVersion] = attrs.field(factory=list, init=False)

    def _ends(self) -> Sequence[float | None]:
        return [max(version.over_at for version in self.versions)]

    async def _ask(self) -> FunctionVersion:
        return await self.client.wait_until_ready(
            OWNER,
            NAME,
            self.slug,
            timeout=self.timeout,
            polling=POLICY,
            on_update=self.seen.append,
        )

    def _judge_so_far(self) -> Complaint:
        ids = {version.id for version in self.seen}
        return f"it has followed {ids}" if len(ids) > 1 else None

    def _judge_result(self, result: FunctionVersion) -> Complaint:
        truths = {version.id: version for version in self.versions}
        assert self.ended is not None
        if self.seen and self.seen[-1] != result:
            return "the listener was not told of the end"
        if self.slug == "latest" and not self._was_latest(truths[result.id]):
            return f"{result.id} was not the latest"
        if self.slug not in {"latest", result.id}:
            return f"{result.id} was not asked for"
        return truths[result.id].why_not_the_end(result, self.ended)

    def _was_latest(self, version: VersionTruth) -> bool:
        later = [each.since for each in self.versions if each.since > version.since]
        return not later or min(later) >= self.started

    def _judge_error(self, error: SieveError) -> Complaint:
        return why_not(error, self.about(len(self.seen)), None)
