"""One run of ``watch_many``, in a process of its own: one way to watch so many jobs.

Prints one JSON object with what it cost. Client and server share a loop whose time is virtual: it
jumps to the next timer whenever nothing is on its way, so hours pass in minutes, and the network
takes no time. What the loop costs to run counts for the client, except for what the server does.
"""

import asyncio
import gc
import json
import logging
import resource
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping
from time import thread_time
from typing import Any

import aiohttp
import attrs
import looptime

from benchmarks.life_server import LONGEST_AWAIT, Site, serve
from benchmarks.lives import Deliveries, draw
from sieve_async import Limits, SieveClient
from sieve_async.watching import Strategy

_API_KEY = "a-key-for-nobody-but-this-benchmark"
_INTERVAL = 2.0
_NAIVE_CONNECTIONS = 64
_TERMINAL = frozenset({"finished", "error", "cancelled"})

Watch = Callable[[str, Site, Deliveries], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Run:
    """What is watched, and how.

    Attributes:
        way: ``naive``, or a strategy of the SDK.
        jobs: How many jobs there are.
        per_second: ``Limits.polls_per_second``.
        slots: ``Limits.max_connections``.
        minutes: After how many of virtual time to stop; None for the end of the last job.
        failing: The share of answers that fail.
        queued: The share of its duration that each job spends in the queue.
        latency: Seconds from a request to its answer.
    """

    way: str
    jobs: int
    per_second: float | None = None
    slots: int = 64
    minutes: float | None = None
    failing: float = 0.05
    queued: float = 0.03
    latency: float = 0.0


@attrs.frozen(kw_only=True)
class Cost:
    """What a run has cost and brought; seconds and bytes.

    Attributes:
        requests: All of them.
        lists: Those of them that asked for a list.
        received: Bytes of all answers.
        client: Processor time without the server's.
        server: That of the server.
        memory: What the process grew by at its largest.
        delay: From the end of a job until it was handed out, on average.
        delay_95: The 95th percentile of it.
        relative: The delay by the duration of the job, on average.
        longest: Requests for the longest twentieth of the jobs, lists apart.
        short: Requests per job for the jobs under ten minutes.
        in_second: The most requests in any second.
        in_tenth: The most in any tenth of a second.
        most_held: The most requests that the server held at once.
        delivered: How many jobs were handed out.
        lost: How many have ended and were not.
        duplicated: How many were, more than once.
        wrong: How many were otherwise than they ended.
        passed: Virtual seconds.
    """

    requests: int
    lists: int
    received: int
    client: float
    server: float
    memory: int
    delay: float
    delay_95: float
    relative: float
    longest: int
    short: float
    in_second: int
    in_tenth: int
    most_held: int
    delivered: int
    lost: int
    duplicated: int
    wrong: int
    passed: float


async def _naive(url: str, site: Site, deliveries: Deliveries) -> None:
    """What users write: a coroutine for each job, and a fixed interval."""
    connector = aiohttp.TCPConnector(limit=_NAIVE_CONNECTIONS)
    headers = {"X-API-Key": _API_KEY}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def look(job_id: str) -> dict[str, Any] | None:
            try:
                async with session.get(f"{url}/v2/jobs/{job_id}") as response:
                    response.raise_for_status()
                    job: dict[str, Any] = json.loads(await response.read())
            except (aiohttp.ClientError, TimeoutError):
                return None
            return job if job["status"] in _TERMINAL else None

        async def wait(job_id: str) -> None:
            while (job := await look(job_id)) is None:  # noqa: ASYNC110 - that is what it is
                await asyncio.sleep(_INTERVAL)
            output = job["outputs"][0]["data"]["url"] if job["outputs"] else ""
            deliveries.take(job["id"], job["status"], output, site.age)

        await asyncio.gather(*(wait(job_id) for job_id in deliveries.lives.ids))


def _watching(run: Run, strategy: Strategy) -> Watch:
    """The same with the SDK."""
    limits = Limits(max_connections=run.slots, polls_per_second=run.per_second)

    async def watch(url: str, site: Site, deliveries: Deliveries) -> None:
        async with SieveClient(_API_KEY, base_url=url, limits=limits) as client:
            async for outcome in client.as_completed(deliveries.lives.ids, strategy=strategy):
                job = outcome.job
                output = job.outputs[0] if job is not None and job.outputs else None
                data = getattr(output, "data", None)
                deliveries.take(
                    outcome.job_id,
                    str(outcome.error) if job is None else str(job.status),
                    data["url"] if data else "",
                    site.age,
                )

    return watch


def _way(run: Run) -> Watch:
    match run.way:
        case "naive":
            return _naive
        case "poll" | "long_poll" | "list" as strategy:
            return _watching(run, strategy)
    raise ValueError(f"no such way: {run.way}")


async def measure(run: Run) -> Cost:
    """Watch all jobs, and count."""
    lives = draw(run.jobs, queued=run.queued)
    site, deliveries = Site(lives, failing=run.failing, latency=run.latency), Deliveries(lives)
    watch = _way(run)
    server = await serve(site)
    host, port = server.sockets[0].getsockname()
    gc.collect()
    gc.freeze()  # the server's share is no burden for the client
    memory, began = _peak_memory(), thread_time()
    site.begin()
    try:
        async with asyncio.timeout(None if run.minutes is None else 60 * run.minutes):
            await watch(f"http://{host}:{port}", site, deliveries)
    except TimeoutError:
        pass  # as agreed
    took = thread_time() - began
    memory = _peak_memory() - memory
    passed = site.age
    server.close()
    return _cost(site, deliveries, client=took - site.processor, memory=memory, passed=passed)


def _cost(site: Site, deliveries: Deliveries, *, client: float, memory: int, passed: float) -> Cost:
    lives = site.lives
    pairs = deliveries.delays()
    delays = [delay for delay, _ in pairs]
    short = [number for number, took in enumerate(lives.durations) if took < LONGEST_AWAIT]
    is_cut = len(pairs) < len(lives.ids) and passed < max(lives.durations)
    return Cost(
        requests=site.lists + sum(site.asked),
        lists=site.lists,
        received=site.sent,
        client=client,
        server=site.processor,
        memory=memory,
        delay=statistics.fmean(delays),
        delay_95=statistics.quantiles(delays, n=20)[-1],
        relative=statistics.fmean(delay / duration for delay, duration in pairs),
        longest=sum(site.asked[number] for number in lives.longest_twentieth()),
        short=sum(site.asked[number] for number in short) / len(short),
        in_second=site.in_second.most,
        in_tenth=site.in_tenth.most,
        most_held=site.most_held,
        delivered=len(pairs),
        lost=deliveries.lost(passed if is_cut else float("inf")),
        duplicated=deliveries.duplicated,
        wrong=deliveries.wrong,
        passed=passed,
    )


def _peak_memory() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class _VirtualLoop(looptime.LoopTimeEventLoop, asyncio.SelectorEventLoop):
    """On loopback, what was sent has arrived: no idle turns are needed before time goes on."""

    def __init__(self) -> None:
        super().__init__(noop_cycles=1)


def perform(settings: Mapping[str, Any]) -> Cost:
    """Run in virtual time."""
    logging.getLogger("sieve_async").setLevel(logging.ERROR)  # failing polls are no news here
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(measure(Run(**settings)))


if __name__ == "__main__":
    print(json.dumps(attrs.asdict(perform(json.loads(sys.argv[1])))))
