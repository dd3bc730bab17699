"""What it takes to watch a thousand jobs or a hundred thousand until all are terminal.

The same jobs for all ways, over real sockets on loopback and in virtual time, each run in a process
of its own. Durations are lognormal with a median of 30 s and a sigma of 1.5; 5 % of the answers are
500, 502, 503 or a lost connection. Client and server share a loop whose clock jumps to the next
timer whenever nothing is on its way. The network takes no time unless stated.
"""

import argparse
import asyncio
import gc
import json
import logging
import math
import random
import socket
import statistics
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from time import thread_time
from typing import Any, TypeAlias

import aiohttp
import attrs
import looptime

from benchmarks import harness
from benchmarks.clients import API_KEY, open_session
from benchmarks.job_server import JOB_STATUSES, JobServer, Timeline, start
from sieve_async import Job, Limits, SieveClient, SieveError

_WEIGHTS = (94, 4, 2)
_MEDIAN, _SIGMA = 30.0, 1.5
_NAIVE_INTERVAL = 2.0
_CONNECTIONS, _MANY_CONNECTIONS = 64, 2048
_TOO_MANY = 100_000  # for naive loops, and for polls without a rate: hours
_NEVER = 10**9  # milliseconds
_HEADER = (
    *("", "requests", "of lists", "MB", "client s", "ms/job", "MiB", "delay s", "95 %"),
    *("by duration", "longest 5 %", "most/s", "lost/twice/wrong"),
)
_LEGEND = """\
naive        asyncio.gather of a loop for each job: aiohttp with 64 connections, json, every 2 s
poll, list   as_completed, Limits(max_connections=64, polls_per_second=None) unless stated
long_poll    the same with max_connections=2048
gather       asyncio.gather of wait_for_job, with the default limits
client s     processor time without that of the server in the same process
MiB          growth of the process at its peak, the server's connections included
delay s      from the end of a job to its outcome, on average
by duration  the same by the duration of the job
longest 5 %  requests for the twentieth of the jobs that takes longest, without lists"""


@attrs.frozen(kw_only=True)
class Run:
    """What is watched, and how."""

    way: str  # naive, gather, or a strategy of as_completed
    jobs: int
    rate: float | None = None  # Limits.polls_per_second
    connections: int = _CONNECTIONS  # Limits.max_connections
    failing: float = 0.05  # the share of answers that fail
    latency: float = 0.0  # seconds from a request to its answer
    foreign: int = 0  # jobs of others that run all the time
    durations: tuple[float, float] | None = None  # bounds of uniform ones; None is lognormal
    seed: int = 17  # which answers fail


@attrs.frozen(kw_only=True)
class Cost:
    """What a run took, in seconds and bytes; see the legend of the table."""

    requests: int
    lists: int
    received: int
    client: float
    memory: int
    delay: float
    delay_95: float
    relative: float
    longest: int
    in_second: int
    lost: int
    duplicated: int
    wrong: int
    lookup: float  # the longest time of a plain lookup meanwhile; zero if there was none


Costs: TypeAlias = Mapping[str, Cost]


@attrs.define
class Results:
    """The outcomes of a run, compared with what the ids say."""

    jobs: dict[str, Timeline]
    seen: dict[str, float] = attrs.field(factory=dict)  # when, in seconds of the loop
    duplicated: int = 0
    wrong: int = 0  # another end, or too early
    lookup: float = 0.0  # the longest time of a plain lookup

    def add(self, job_id: str, status: str, outputs: Sequence[object]) -> None:
        """Record an outcome."""
        job, now = self.jobs[job_id], asyncio.get_running_loop().time()
        self.duplicated += job_id in self.seen
        self.seen[job_id] = now
        expected = job.status, [job.output(0, index) for index in range(job.outputs)]
        self.wrong += (status, list(outputs)) != expected or 1000 * now < job.completes - 1

    def add_job(self, job_id: str, job: Job | None, error: SieveError | None) -> None:
        """Record an outcome of the package."""
        if job is None:
            self.add(job_id, type(error).__name__, ())
        else:
            self.add(job_id, str(job.status), job.data)


Watch: TypeAlias = Callable[[str, Run, Results], Awaitable[None]]


async def _run_naively(url: str, _: Run, results: Results) -> None:
    """What users write: a loop for each job, at a fixed interval."""
    async with open_session(_CONNECTIONS) as session:

        async def poll(job_id: str) -> dict[str, Any] | None:
            try:
                async with session.get(f"{url}/v2/jobs/{job_id}") as response:
                    response.raise_for_status()
                    job: dict[str, Any] = json.loads(await response.read())
            except (aiohttp.ClientError, TimeoutError):
                return None
            return job if job["status"] in JOB_STATUSES else None

        async def wait(job_id: str) -> None:
            while (job := await poll(job_id)) is None:  # noqa: ASYNC110 - this is what they write
                await asyncio.sleep(_NAIVE_INTERVAL)
            results.add(job["id"], job["status"], [output["data"] for output in job["outputs"]])

        await asyncio.gather(*map(wait, results.jobs))


async def _run_watch(url: str, run: Run, results: Results) -> None:
    async with _open(url, run) as client:
        async for outcome in client.as_completed(results.jobs, strategy=run.way):  # type: ignore[arg-type] # one of three words
            results.add_job(outcome.job_id, outcome.job, outcome.error)


async def _run_gather(url: str, run: Run, results: Results) -> None:
    """Single waits, with a plain lookup beside them every half second."""
    loop = asyncio.get_running_loop()

    async def wait(job_id: str) -> None:
        results.add_job(job_id, await client.wait_for_job(job_id), None)

    async def look_up() -> None:
        other = Timeline("finished", int(1000 * loop.time()), 0, _NEVER).id
        while True:
            started = loop.time()
            await client.get_job(other)
            results.lookup = max(results.lookup, loop.time() - started)
            await asyncio.sleep(0.5)

    async with _open(url, run) as client:
        task = asyncio.create_task(look_up())
        await asyncio.gather(*map(wait, results.jobs))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


_WAYS: Mapping[str, Watch] = {
    "naive": _run_naively,
    "gather": _run_gather,
    **dict.fromkeys(("poll", "long_poll", "list"), _run_watch),
}


def _open(url: str, run: Run) -> SieveClient:
    limits = Limits(max_connections=run.connections, polls_per_second=run.rate)
    return SieveClient(API_KEY, base_url=url, limits=limits)


def draw(run: Run, now: int) -> dict[str, Timeline]:
    """The jobs of a run, the same for all ways; ``now`` is in milliseconds."""
    rng = random.Random(20241215)
    jobs = []
    for number in range(run.jobs):
        if run.durations is None:
            seconds = max(0.01, rng.lognormvariate(math.log(_MEDIAN), _SIGMA))
        else:
            seconds = rng.uniform(*run.durations)
        duration = int(1000 * seconds)
        (status,) = rng.choices(JOB_STATUSES, _WEIGHTS)
        outputs = int(status == "finished")
        jobs.append(Timeline(status, now, 0, duration, 1, outputs, number))
    return {job.id: job for job in jobs}


async def measure(run: Run) -> Cost:
    """Watch all jobs, and count."""
    loop = asyncio.get_running_loop()
    results = Results(draw(run, int(1000 * loop.time())))
    server = JobServer(failing=run.failing, latency=run.latency, seed=run.seed)
    for job in results.jobs.values():
        server.add(job)
    for number in range(run.foreign):
        server.add(Timeline("finished", int(1000 * loop.time()), 0, _NEVER, 1, 0, number))
    url, listening = await _listen(server)
    gc.collect()
    gc.freeze()  # the server's objects are no burden for the client
    memory, cpu = harness.peak_bytes(), thread_time()
    await _WAYS[run.way](url, run, results)
    cpu, memory = thread_time() - cpu, harness.peak_bytes() - memory
    listening.close()
    return _cost(server, results, client=cpu - server.cpu, memory=memory)


def _cost(server: JobServer, results: Results, *, client: float, memory: int) -> Cost:
    jobs, seen = results.jobs, results.seen
    durations = {job_id: (job.completes - job.created) / 1000 for job_id, job in jobs.items()}
    delays = {job_id: when - jobs[job_id].completes / 1000 for job_id, when in seen.items()}
    longest = sorted(durations, key=durations.__getitem__)[-math.ceil(len(jobs) / 20) :]
    return Cost(
        requests=server.lists + server.polls.total(),
        lists=server.lists,
        received=server.sent,
        client=client,
        memory=memory,
        delay=statistics.fmean(delays.values()),
        delay_95=statistics.quantiles(delays.values(), n=20)[-1],
        relative=statistics.fmean(delay / durations[job_id] for job_id, delay in delays.items()),
        longest=sum(server.polls[job_id] for job_id in longest),
        in_second=server.in_second.most,
        lost=len(jobs) - len(seen),
        duplicated=results.duplicated,
        wrong=results.wrong,
        lookup=results.lookup,
    )


async def _listen(server: JobServer) -> tuple[str, asyncio.Server]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=harness.BACKLOG)
    return f"http://127.0.0.1:{listener.getsockname()[1]}", await start(server, listener)


class _VirtualLoop(looptime.LoopTimeEventLoop, asyncio.SelectorEventLoop):
    """On loopback, what was sent has arrived: no idle turns are needed before time passes."""

    def __init__(self) -> None:
        super().__init__(noop_cycles=1)


def _run_in_virtual_time(work: Coroutine[Any, Any, Any]) -> Any:
    logging.getLogger("sieve_async").setLevel(logging.CRITICAL)  # failing polls are expected
    harness.allow_sockets(2 * _MANY_CONNECTIONS + 100)
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(work)


def execute(**settings: Any) -> dict[str, Any]:
    """One run, in this process."""
    return attrs.asdict(_run_in_virtual_time(measure(Run(**settings))))


def deadline_delay(jobs: int, timeout: float) -> float:
    """How late the last outcome of pending jobs comes after the deadline, in virtual seconds."""

    async def watch() -> float:
        loop = asyncio.get_running_loop()
        url, listening = await _listen(JobServer())
        now = int(1000 * loop.time())
        ids = [Timeline("finished", now, 0, _NEVER, 1, 0, number).id for number in range(jobs)]
        async with SieveClient(API_KEY, base_url=url) as client:
            started, count = loop.time(), 0
            async for _ in client.as_completed(ids, timeout=timeout):
                count += 1
            late = loop.time() - started - timeout
        listening.close()
        if count != jobs:
            raise RuntimeError(f"{count} outcomes for {jobs} jobs")
        return late

    return float(_run_in_virtual_time(watch()))


def runs(jobs: int, options: argparse.Namespace) -> dict[str, Run]:
    """The runs with so many jobs, by what the table calls them."""
    common: dict[str, Any] = {"jobs": jobs, "failing": options.failing}
    common["latency"] = options.latency
    unlimited = {"naive": Run(way="naive", **common), "poll": Run(way="poll", **common)}
    return {
        **(unlimited if jobs < _TOO_MANY else {}),
        "poll, 100/s": Run(way="poll", rate=100.0, **common),
        "long_poll": Run(way="long_poll", connections=_MANY_CONNECTIONS, **common),
        "list, 100/s": Run(way="list", rate=100.0, **common),
        "list": Run(way="list", **common),
        "list, other faults": Run(way="list", seed=18, **common),
    }


def special_runs(*, quick: bool) -> dict[str, Run]:
    """Runs that stand for themselves: few jobs among many of others, and single waits."""
    jobs, foreign, waits = (20, 1_000, 100) if quick else (200, 30_000, 1_500)
    waiting: dict[str, Any] = {"latency": 0.1, "failing": 0.0, "durations": (5.0, 60.0)}
    return {
        "poll, alone": Run(way="poll", jobs=jobs),
        "list, foreign jobs": Run(way="list", jobs=jobs, foreign=foreign),
        "gather, 100/s": Run(way="gather", jobs=waits, rate=100.0, **waiting),
    }


def report(title: str, planned: Mapping[str, Run]) -> tuple[Costs, list[harness.Target]]:
    """Execute runs, each in a process of its own, and print their table; gives the promises."""
    rows: list[Sequence[str]] = [_HEADER]
    costs, promises = {}, []
    for name, run in planned.items():
        settings = attrs.asdict(run)
        found = harness.call_in_process("benchmarks.watch", "execute", **settings)
        costs[name] = cost = Cost(**found)
        times = (cost.delay, cost.delay_95, cost.relative)
        row = [f"{cost.requests}", f"{cost.lists}", f"{cost.received / 1e6:.1f}"]
        row += [f"{cost.client:.1f}", f"{1e3 * cost.client / run.jobs:.2f}"]
        row += [f"{cost.memory / 1024 / 1024:.1f}", *(f"{seconds:.3f}" for seconds in times)]
        row += [f"{cost.longest}", f"{cost.in_second}"]
        rows.append((name, *row, f"{cost.lost}/{cost.duplicated}/{cost.wrong}"))
        faults = cost.lost + cost.duplicated + cost.wrong
        promises.append(harness.promise(f"{title}, {name}: lost, duplicated or wrong", faults))
    print(f"\n{title}\n{harness.table(rows)}", flush=True)
    return costs, promises


def targets(jobs: int, costs: Costs) -> Iterator[harness.Target]:
    """The targets that the runs with so many jobs say something of."""
    target = harness.Target
    for name, cost in costs.items():
        subject = f"{jobs} jobs, {name}"
        if name == "poll, 100/s":
            yield target(f"{subject}: most in a second", cost.in_second, 100)
        if name == "long_poll" and jobs <= _MANY_CONNECTIONS / 2:
            yield target(f"{subject}: mean delay", cost.delay, 0.2)
        if naive := costs.get("naive"):
            yield from _targets_to_naive(subject, jobs, cost, naive)


def _targets_to_naive(subject: str, jobs: int, cost: Cost, naive: Cost) -> Iterator[harness.Target]:
    target, requests = harness.Target, cost.requests / naive.requests
    if subject.endswith("poll"):
        yield target(f"{subject}: requests to naive", requests, 1)
        yield target(f"{subject}: delay by duration to naive", cost.relative / naive.relative, 0.55)
    elif ", list" in subject and jobs >= 10_000:  # of fewer jobs, a page holds fewer
        yield target(f"{subject}: requests to naive", requests, 1 / 20)
        yield target(f"{subject}: mean delay", cost.delay, 26 if "100/s" in subject else 5)
        yield target(f"{subject}: processor time to naive", cost.client / naive.client, 0.1)


def _special(*, quick: bool) -> Iterator[harness.Target]:
    costs, promises = report("other jobs", special_runs(quick=quick))
    yield from promises
    waits, jobs = costs["gather, 100/s"], 1_000 if quick else 100_000
    late = harness.call_in_process("benchmarks.watch", "deadline_delay", jobs=jobs, timeout=60.0)
    share = costs["list, foreign jobs"].received / costs["poll, alone"].received
    target = harness.Target
    yield target("list among foreign jobs: bytes to poll", share, 2.2)
    yield target("gathered waits: most in a second, lookups apart", waits.in_second - 2, 100)
    yield target("gathered waits: mean delay", waits.delay, 6)
    yield target("gathered waits: longest get_job beside them, s", waits.lookup, 0.5)
    yield target(f"deadline of {jobs} pending jobs: s late", late, 0.1)


def main(arguments: Sequence[str] | None = None) -> list[harness.Target]:
    """Measure and print."""
    parser = harness.parser_of("watch", __doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1_000, 10_000], metavar="N")
    parser.add_argument("--only", nargs="+", help="naive, poll, long_poll, list or special")
    parser.add_argument("--full", action="store_true", help="100,000 jobs too: most of an hour")
    parser.add_argument("--failing", type=float, default=0.05, help="the share of failing answers")
    parser.add_argument("--latency", type=float, default=0.0, help="virtual seconds of a request")
    options = parser.parse_args(arguments)
    only = options.only or ["naive", "poll", "long_poll", "list", "special"]
    print(_LEGEND)
    found: list[harness.Target] = []
    for jobs in [60] if options.quick else options.jobs + [_TOO_MANY] * options.full:
        planned = {name: run for name, run in runs(jobs, options).items() if run.way in only}
        if planned:
            costs, promises = report(f"{jobs} jobs", planned)
            found += [*promises, *targets(jobs, costs)]
    return found + list(_special(quick=options.quick)) if "special" in only else found


if __name__ == "__main__":
    harness.finish(main())
