"""Hypothesis state machine: jobs, faults and calls of a client, in any order."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import looptime
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from helpers.leak_checks import KEY
from sieve_async import Limits, SieveClient
from sieve_async.testing import FakeSieve
from stateful.calls import Call, JobWait, Lookup, Stream, VersionWait, Watch
from stateful.fault_plan import KINDS, OUTAGE, TARGETS, FaultPlan
from stateful.model import JobModel, VersionModel

TIMES = st.sampled_from([None, None, 1, 3, 4])
TIMEOUTS = st.sampled_from([None, None, None, 400, 60, 7, 0.5, 0])
WHICH = st.integers(0, 3)
ACTIONS = st.lists(st.sampled_from(["start", "yield", "yield", "restart"]), min_size=1, max_size=3)
ENDS = st.sampled_from(["finish", "finish", "fail", "cancel", "remove"])
AFTER = st.sampled_from([0.01, 0.6, 4.0, 25.0])
# Seconds within which a terminal status is noticed when there are no faults.
MAX_LATENCY = 150.0


class KeyFinder(logging.Handler):
    """Collects log records that contain the API key."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Check one record."""
        if KEY in self.format(record):
            self.found.append(self.format(record))


class ClientMachine(RuleBasedStateMachine):
    """Jobs and builds moved by hand, faults that come and go, and concurrent calls."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = looptime.new_event_loop()
        self.loop_errors: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.loop_errors.append(repr(context)))
        self.key_finder = KeyFinder()
        logging.getLogger().addHandler(self.key_finder)
        self.sieve = FakeSieve(api_key=KEY)
        self.plan = FaultPlan(self.sieve)
        self.is_down = False
        self.jobs: list[JobModel] = []
        self.replaced: list[JobModel] = []
        self.versions: list[VersionModel] = []
        self.calls: list[Call] = []
        self.quiet: dict[str, int] = {}
        self.requests_when_quiet: int | None = None
        self.run(self.sieve.start())

    def run(self, what: Any) -> None:
        """Run the loop until an awaitable is done."""
        self.loop.run_until_complete(what)

    @property
    def now(self) -> float:
        """The loop time."""
        return self.loop.time()

    @initialize(
        slots=st.sampled_from([2, 64]), rate=st.sampled_from([4, 100, None]), jobs=st.integers(1, 4)
    )
    def open(self, slots: int, rate: float | None, jobs: int) -> None:
        """Create a client, some jobs and one version."""
        self.limits = Limits(max_connections=slots, polls_per_second=rate)
        self.client = self.new_client()
        self.jobs += [JobModel(self.sieve, f"job-{number}") for number in range(jobs)]
        self.deploy_version((5, 60), "ready")

    def new_client(self) -> SieveClient:
        """Create a client."""
        return SieveClient(KEY, base_url=self.sieve.url, limits=self.limits)

    def job(self, which: int) -> JobModel:
        """One of the jobs by number."""
        return self.jobs[which % len(self.jobs)]

    def begin(self, kind: Callable[..., Call], **arguments: Any) -> None:
        """Start a call."""
        call = kind(sieve=self.sieve, plan=self.plan, client=self.client, **arguments)
        call.begin(self.loop)
        for job in self.jobs:
            if call.polls(job):
                self.quiet.pop(job.id, None)
        self.calls.append(call)
        self.settle()

    def settle(self, seconds: float = 0.01) -> None:
        """Run the loop for a while."""
        self.run(asyncio.sleep(seconds))

    @rule(which=WHICH, actions=ACTIONS, after=AFTER)
    def advance_job(self, which: int, actions: list[str], after: float) -> None:
        """Apply actions to a job at one time; a terminal job is replaced by a new one."""
        place = which % len(self.jobs)
        if self.jobs[place].over_at is not None:
            self.replaced.append(self.jobs[place])
            job_id = f"job-{len(self.jobs) + len(self.replaced)}"
            self.jobs[place] = JobModel(self.sieve, job_id)
        for action in actions:
            self.jobs[place].apply(action, self.now)
        self.settle(after)

    @rule(which=WHICH, actions=ACTIONS, end=ENDS)
    def end_job(self, which: int, actions: list[str], end: str) -> None:
        """End a job, after other actions at the same time."""
        for action in [*actions, end]:
            self.job(which).apply(action, self.now)
        self.settle()

    @rule(
        spans=st.sampled_from([(0.0, 0.0), (5.0, 60.0), (300.0, 1.0)]),
        status=st.sampled_from(["ready", "ready", "error"]),
    )
    def deploy_version(self, spans: tuple[float, float], status: str) -> None:
        """Deploy another latest version."""
        version_id = f"v{len(self.versions)}"
        self.versions.append(VersionModel.deploy(self.sieve, version_id, self.now, spans, status))

    @rule(seconds=st.sampled_from([3.0, 40.0, 130.0, 700.0]))
    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.settle(seconds)

    @rule(
        kind=st.sampled_from([OUTAGE, *KINDS]),
        path=st.sampled_from(TARGETS),
        times=TIMES,
        share=st.sampled_from([1.0, 1.0, 0.5]),
        after=AFTER,
    )
    def add_fault(
        self, kind: str, path: str | None, times: int | None, share: float, after: float
    ) -> None:
        """Add a fault, or stop the server."""
        if kind != OUTAGE:
            self.plan.add(kind, path, self.now, times=times, share=share)
        elif not self.is_down:
            self.is_down = True
            self.run(self.sieve.stop())
            self.plan.begin_outage(self.now)
        self.settle(after)

    @rule(which=WHICH, shown=WHICH, times=TIMES)
    def answer_for_another_job(self, which: int, shown: int, times: int | None) -> None:
        """Answer with the id of another job, or like a replica that lags."""
        if self.job(which) is self.job(shown):
            self.plan.answer_with_earlier_run(self.job(which), self.now, times)
        else:
            self.plan.answer_with_another_id(self.job(which), self.job(shown).id, self.now, times)
        self.settle(4)

    @rule()
    def clear_faults(self) -> None:
        """End all faults."""
        for fault in self.plan.active:
            self.plan.end(fault, self.now)
        if self.is_down:
            self.is_down = False
            self.run(self.sieve.start())

    @rule(
        which=WHICH,
        timeout=TIMEOUTS,
        strategy=st.sampled_from(["poll", "long_poll"]),
        check=st.booleans(),
    )
    def wait_for_job(
        self, which: int, timeout: float | None, strategy: str, *, check: bool
    ) -> None:
        """Start a wait for a job."""
        self.begin(JobWait, job=self.job(which), timeout=timeout, strategy=strategy, check=check)

    @rule(
        which=st.lists(WHICH, min_size=1, max_size=5),
        timeout=TIMEOUTS,
        strategy=st.sampled_from(["poll", "long_poll", "list"]),
        at_once=st.booleans(),
        busy=st.sampled_from([0.0, 0.0, 30.0]),
    )
    def watch(
        self, which: list[int], timeout: float | None, strategy: str, busy: float, *, at_once: bool
    ) -> None:
        """Start a watch of some jobs."""
        jobs = [self.job(each) for each in which]
        arguments = {"timeout": timeout, "strategy": strategy, "at_once": at_once, "busy": busy}
        self.begin(Watch, jobs=jobs, **arguments)

    @rule(
        which=WHICH,
        timeout=TIMEOUTS,
        offset=st.sampled_from([0, 0, 1, 3]),
        on_restart=st.sampled_from(["continue", "raise"]),
        busy=st.sampled_from([0.0, 0.0, 5.0, 400.0]),
    )
    def stream(
        self, which: int, timeout: float | None, offset: int, on_restart: str, busy: float
    ) -> None:
        """Start a stream of the outputs of a job."""
        arguments = {"timeout": timeout, "offset": offset, "on_restart": on_restart, "busy": busy}
        self.begin(Stream, job=self.job(which), **arguments)

    @rule(which=st.sampled_from([None, 0, 1]), timeout=TIMEOUTS)
    def wait_until_ready(self, which: int | None, timeout: float | None) -> None:
        """Start a wait for a build."""
        slug = "latest" if which is None else self.versions[which % len(self.versions)].id
        self.begin(VersionWait, versions=self.versions, slug=slug, timeout=timeout)

    @rule(which=WHICH)
    def lookup(self, which: int) -> None:
        """Start a lookup of a job."""
        self.begin(Lookup, job=self.job(which))

    @rule(which=st.integers(0, 9))
    def cancel(self, which: int) -> None:
        """Cancel a call, or close the client, which ends all calls; both without delay."""
        before = self.now
        stopped = self.calls[which : which + 1] if which < 9 else self.calls
        for call in stopped:
            call.is_cancelled = which < 9 and call.task.cancel()
        if which == 9:
            self.run(self.client.close())
            self.client = self.new_client()
        if stopped:
            self.run(asyncio.wait([call.task for call in stopped], timeout=100_000))
        assert [call for call in stopped if not call.task.done()] == []
        assert self.now == before or any(call.busy for call in stopped)

    @invariant()
    def results_are_correct(self) -> None:
        """Every result is correct, and no result is overdue."""
        self.plan.update(self.now)
        for call in self.calls:
            assert call.problem() is None, f"{call.problem()}: {call}"
            assert not call.is_overdue(self.now, MAX_LATENCY), f"overdue: {call}"
        self.calls = [call for call in self.calls if not call.task.done()]
        assert self.loop_errors == []
        assert self.key_finder.found == []

    @invariant()
    def only_needed_requests(self) -> None:
        """There are no requests for a job without a call."""
        for job in self.jobs + self.replaced:
            requests = self.sieve.requests_for(job.id)
            if any(call.polls(job) for call in self.calls):
                self.quiet.pop(job.id, None)
            else:
                assert requests == self.quiet.setdefault(job.id, requests)

    def teardown(self) -> None:
        """End all faults and jobs: every call ends, and then there are no requests."""
        try:
            self._finish()
        finally:
            logging.getLogger().removeHandler(self.key_finder)
            self.run(self.client.close())
            self.run(self.sieve.stop())
            self.run(self.loop.shutdown_asyncgens())
            self.loop.close()

    def _finish(self) -> None:
        self.clear_faults()
        for number, job in enumerate(self.jobs):
            job.apply(["finish", "fail", "cancel"][number % 3], self.now)
        self.results_are_correct()
        tasks = [call.task for call in self.calls]
        if tasks:
            self.run(asyncio.wait(tasks, timeout=10_000))
        self.settle()
        self.results_are_correct()
        assert self.calls == []
        stats = self.client.stats
        assert (stats.waits, stats.in_flight, stats.queued) == (0, 0, 0)
        requests = self.sieve.requests.total
        self.settle(3600)
        assert self.sieve.requests.total == requests
