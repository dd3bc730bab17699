"""A server, a client and all that can happen to them, in any order, as rules for hypothesis."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import looptime
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from faults.life import JobTruth, VersionTruth
from faults.life_waits import Lookup, OneJob, OneVersion, Waiting
from faults.life_watches import ManyJobs, Outputs
from faults.life_weather import KINDS, OUTAGE, TARGETS, Weather
from helpers.leak_checks import KEY
from sieve_async import Limits, SieveClient
from sieve_async.testing import FakeSieve

TIMES = st.sampled_from([None, None, 1, 3, 4])
TIMEOUTS = st.sampled_from([None, None, None, 400, 60, 7, 0.5, 0])
WHICH = st.integers(0, 3)
DEEDS = st.lists(st.sampled_from(["start", "yield", "yield", "restart"]), min_size=1, max_size=3)
ENDS = st.sampled_from(["finish", "finish", "fail", "cancel", "remove"])
AFTER = st.sampled_from([0.01, 0.6, 4.0, 25.0])
# When all is well, an end that is there is seen within so many seconds.
PATIENCE = 100.0


class Listener(logging.Handler):
    """Keeps what must not be logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one record."""
        if KEY in self.format(record):
            self.heard.append(self.format(record))


class Lives(RuleBasedStateMachine):
    """Jobs and builds that go on by hand, trouble that comes and goes, and many who wait."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = looptime.new_event_loop()
        self.complaints: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(repr(context)))
        self.listener = Listener()
        logging.getLogger().addHandler(self.listener)
        self.sieve = FakeSieve(api_key=KEY)
        self.weather = Weather(self.sieve)
        self.is_down = False
        self.jobs: list[JobTruth] = []
        self.over: list[JobTruth] = []
        self.versions: list[VersionTruth] = []
        self.waiting: list[Waiting] = []
        self.quiet: dict[str, int] = {}
        self.requests_when_quiet: int | None = None
        self.run(self.sieve.start())

    def run(self, what: Any) -> None:
        """Let the loop turn until something is done."""
        self.loop.run_until_complete(what)

    @property
    def now(self) -> float:
        """The time of the loop."""
        return self.loop.time()

    @initialize(
        slots=st.sampled_from([2, 64]), rate=st.sampled_from([4, 100, None]), jobs=st.integers(1, 4)
    )
    def open(self, slots: int, rate: float | None, jobs: int) -> None:
        """Begin with a client, some jobs and one version."""
        self.limits = Limits(max_connections=slots, polls_per_second=rate)
        self.client = self.new_client()
        self.jobs += [JobTruth(self.sieve, f"job-{number}") for number in range(jobs)]
        self.deploy((5, 60), "ready")

    def new_client(self) -> SieveClient:
        """Make a client."""
        return SieveClient(KEY, base_url=self.sieve.url, limits=self.limits)

    def job(self, which: int) -> JobTruth:
        """One of the jobs."""
        return self.jobs[which % len(self.jobs)]

    def begin(self, kind: Callable[..., Waiting], **how: Any) -> None:
        """Let somebody wait."""
        waiting = kind(sieve=self.sieve, weather=self.weather, client=self.client, **how)
        waiting.begin(self.loop)
        for job in self.jobs:
            if waiting.asks_for(job):
                self.quiet.pop(job.id, None)
        self.waiting.append(waiting)
        self.settle()

    def settle(self, seconds: float = 0.01) -> None:
        """Let what has to happen happen."""
        self.run(asyncio.sleep(seconds))

    @rule(which=WHICH, deeds=DEEDS, after=AFTER)
    def live(self, which: int, deeds: list[str], after: float) -> None:
        """Something happens with a job, and maybe more at the same time; or another one comes."""
        place = which % len(self.jobs)
        if self.jobs[place].over_at is not None:
            self.over.append(self.jobs[place])
            job_id = f"job-{len(self.jobs) + len(self.over)}"
            self.jobs[place] = JobTruth(self.sieve, job_id)
        for deed in deeds:
            self.jobs[place].live(deed, self.now)
        self.settle(after)

    @rule(which=WHICH, deeds=DEEDS, end=ENDS)
    def end(self, which: int, deeds: list[str], end: str) -> None:
        """A job ends, and maybe something happens at the same time."""
        for deed in [*deeds, end]:
            self.job(which).live(deed, self.now)
        self.settle()

    @rule(
        spans=st.sampled_from([(0.0, 0.0), (5.0, 60.0), (300.0, 1.0)]),
        ends=st.sampled_from(["ready", "ready", "error"]),
    )
    def deploy(self, spans: tuple[float, float], ends: str) -> None:
        """Another version becomes the latest."""
        version_id = f"v{len(self.versions)}"
        self.versions.append(VersionTruth.deploy(self.sieve, version_id, self.now, spans, ends))

    @rule(seconds=st.sampled_from([3.0, 40.0, 130.0, 700.0]))
    def pass_a_while(self, seconds: float) -> None:
        """Time passes."""
        self.settle(seconds)

    @rule(
        kind=st.sampled_from([OUTAGE, *KINDS]),
        path=st.sampled_from(TARGETS),
        times=TIMES,
        share=st.sampled_from([1.0, 1.0, 0.5]),
        after=AFTER,
    )
    def spoil(
        self, kind: str, path: str | None, times: int | None, share: float, after: float
    ) -> None:
        """Something goes wrong with some requests, or the server refuses connections."""
        if kind != OUTAGE:
            self.weather.spoil(kind, path, self.now, times=times, share=share)
        elif not self.is_down:
            self.is_down = True
            self.run(self.sieve.stop())
            self.weather.break_down(self.now)
        self.settle(after)

    @rule(which=WHICH, shown=WHICH, times=TIMES)
    def show_another(self, which: int, shown: int, times: int | None) -> None:
        """Lookups of a job are answered as if another one was asked for, or by an old replica."""
        if self.job(which) is self.job(shown):
            self.weather.show_earlier_run(self.job(which), self.now, times)
        else:
            self.weather.show_another(self.job(which), self.job(shown).id, self.now, times)
        self.settle(4)

    @rule()
    def heal(self) -> None:
        """Nothing goes wrong any more."""
        for trouble in self.weather.active:
            self.weather.heal(trouble, self.now)
        if self.is_down:
            self.is_down = False
            self.run(self.sieve.start())

    @rule(
        which=WHICH,
        timeout=TIMEOUTS,
        strategy=st.sampled_from(["poll", "long_poll"]),
        check=st.booleans(),
    )
    def wait(self, which: int, timeout: float | None, strategy: str, *, check: bool) -> None:
        """Somebody waits for a job."""
        self.begin(OneJob, job=self.job(which), timeout=timeout, strategy=strategy, check=check)

    @rule(
        which=st.lists(WHICH, min_size=1, max_size=5),
        timeout=TIMEOUTS,
        strategy=st.sampled_from(["poll", "long_poll", "list"]),
        all_at_once=st.booleans(),
        busy=st.sampled_from([0.0, 0.0, 30.0]),
    )
    def watch(
        self,
        which: list[int],
        timeout: float | None,
        strategy: str,
        busy: float,
        *,
        all_at_once: bool,
    ) -> None:
        """Somebody watches many jobs."""
        jobs = [self.job(each) for each in which]
        how = {"timeout": timeout, "strategy": strategy, "all_at_once": all_at_once, "busy": busy}
        self.begin(ManyJobs, jobs=jobs, **how)

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
        """Somebody takes the outputs of a job while it runs."""
        how = {"timeout": timeout, "offset": offset, "on_restart": on_restart, "busy": busy}
        self.begin(Outputs, job=self.job(which), **how)

    @rule(which=st.sampled_from([None, 0, 1]), timeout=TIMEOUTS)
    def wait_until_ready(self, which: int | None, timeout: float | None) -> None:
        """Somebody waits for a build."""
        slug = "latest" if which is None else self.versions[which % len(self.versions)].id
        self.begin(OneVersion, versions=self.versions, slug=slug, timeout=timeout)

    @rule(which=WHICH)
    def look(self, which: int) -> None:
        """Somebody looks at a job, once."""
        self.begin(Lookup, job=self.job(which))

    @rule(which=st.integers(0, 9))
    def stop(self, which: int) -> None:
        """Somebody waits no longer, which passes at once; or all do, for the client is closed."""
        before = self.now
        stopped = self.waiting[which : which + 1] if which < 9 else self.waiting
        for waiting in stopped:
            waiting.is_cancelled = which < 9 and waiting.task.cancel()
        if which == 9:
            self.run(self.client.close())
            self.client = self.new_client()
        if stopped:
            self.run(asyncio.wait([waiting.task for waiting in stopped], timeout=100_000))
        assert [waiting for waiting in stopped if not waiting.task.done()] == []
        assert self.now == before or any(waiting.busy for waiting in stopped)

    @invariant()
    def all_is_true(self) -> None:
        """Whatever has come is the truth, and what is there to be seen was seen."""
        self.weather.look(self.now)
        for waiting in self.waiting:
            assert waiting.judge() is None, f"{waiting.judge()}: {waiting}"
            assert not waiting.must_be_over(self.now, PATIENCE), f"lost: {waiting}"
        self.waiting = [waiting for waiting in self.waiting if not waiting.task.done()]
        assert self.complaints == []
        assert self.listener.heard == []

    @invariant()
    def nothing_goes_on(self) -> None:
        """What nobody waits for is not asked for."""
        for job in self.jobs + self.over:
            asked = self.sieve.requests_for(job.id)
            if any(waiting.asks_for(job) for waiting in self.waiting):
                self.quiet.pop(job.id, None)
            else:
                assert asked == self.quiet.setdefault(job.id, asked)

    def teardown(self) -> None:
        """In the end all is healed and over, and so is each wait."""
        try:
            self._end()
        finally:
            logging.getLogger().removeHandler(self.listener)
            self.run(self.client.close())
            self.run(self.sieve.stop())
            self.run(self.loop.shutdown_asyncgens())
            self.loop.close()

    def _end(self) -> None:
        self.heal()
        for number, job in enumerate(self.jobs):
            job.live(["finish", "fail", "cancel"][number % 3], self.now)
        self.all_is_true()
        tasks = [waiting.task for waiting in self.waiting]
        if tasks:
            self.run(asyncio.wait(tasks, timeout=10_000))
        self.settle()
        self.all_is_true()
        assert self.waiting == []
        stats = self.client.stats
        assert (stats.waits, stats.in_flight, stats.queued) == (0, 0, 0)
        asked = self.sieve.requests.total
        self.settle(3600)
        assert self.sieve.requests.total == asked
