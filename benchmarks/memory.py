"""The memory of 100,000 waits, and how busy and how late their event loop is.

Each way has a process of its own. First each job is polled once, over loopback; then all wait for a
poll that is far away, and the growth of the process is theirs. For the second table the jobs are
polled at 100 polls a second, in real time.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import attrs

from benchmarks import harness
from benchmarks.clients import API_KEY, loads, new_ids, open_session
from benchmarks.server import serving
from sieve_async import Limits, PollPolicy, SieveClient

_MEBIBYTE = 1024 * 1024
_PACKAGES = ("sieve-async", "aiohttp", "orjson")
_HEADER = ("", "MiB", "bytes per wait", "peak MiB", "CPU s", "memory to loops", "peak")
_STEADY_HEADER = ("", "polls/s", "CPU us per poll", "lag ms: median", "99 %", "max")
_CONNECTIONS = 64
_PAUSE = 3600.0
_KIND = "queued"  # without outputs, which would be kept
_TERMINAL = frozenset({"finished", "error", "cancelled"})
_LOOPS, _LEAN_LOOPS, _WATCH = "tasks that poll and sleep", "the same, lean", "as_completed"
_LAG_INTERVAL = 0.005


@attrs.frozen
class _Growth:
    """The growth of this process since this object was made."""

    before: int = attrs.field(factory=harness.resident_bytes)
    started: float = attrs.field(factory=time.process_time)

    def read(self) -> dict[str, float]:
        seconds = time.process_time() - self.started
        gc.collect()
        now, peak = harness.resident_bytes(), harness.peak_bytes()
        return {"now": now - self.before, "peak": peak - self.before, "seconds": seconds}


async def _run_loops(url: str, job_ids: Sequence[str], *, is_lean: bool) -> dict[str, float]:
    """A task for each job that polls and sleeps, as users write it.

    The variable of the loop keeps the answer. A lean one keeps none while it sleeps, and asks only
    with one of a few slots, so that it takes as little memory as it can.
    """
    polls = 0
    slots = asyncio.Semaphore(_CONNECTIONS) if is_lean else nullcontext()
    async with open_session(_CONNECTIONS) as session:

        async def poll(job_id: str) -> Any:
            nonlocal polls
            async with slots, session.get(f"{url}/v2/jobs/{job_id}") as response:
                response.raise_for_status()
                job = loads(await response.read())
            polls += 1
            return None if is_lean and job["status"] not in _TERMINAL else job

        async def wait(job_id: str) -> Any:
            while True:
                job = await poll(job_id)
                if job is not None and job["status"] in _TERMINAL:
                    return job
                await asyncio.sleep(_PAUSE)

        await poll(*new_ids(_KIND, 1))  # lazy imports are not measured
        polls = 0
        growth = _Growth()
        tasks = [asyncio.create_task(wait(job_id)) for job_id in job_ids]
        await _until(lambda: polls == len(job_ids))
        found = growth.read()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


async def _run_watch(url: str, job_ids: Sequence[str]) -> dict[str, float]:
    limits = Limits(max_connections=_CONNECTIONS, polls_per_second=None)
    polling = PollPolicy(min_interval=_PAUSE, max_interval=_PAUSE)
    async with SieveClient(API_KEY, base_url=url, limits=limits, polling=polling) as client:
        await client.get_job(*new_ids(_KIND, 1))
        growth = _Growth()
        async with client.as_completed(job_ids) as watch:
            await _until(lambda: client.stats.polls == len(job_ids) and not client.stats.in_flight)
            if len(watch.pending()) != len(job_ids):
                raise RuntimeError("not all jobs are pending")
            return growth.read()


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - rarely, for each check takes time
        await asyncio.sleep(0.05)


def run(way: str, url: str, jobs: int) -> dict[str, float]:
    """One way, in this process."""
    job_ids = list(new_ids(_KIND, jobs))
    if way == _WATCH:
        return asyncio.run(_run_watch(url, job_ids))
    return asyncio.run(_run_loops(url, job_ids, is_lean=way == _LEAN_LOOPS))


def run_steadily(url: str, jobs: int, seconds: float) -> dict[str, float]:
    """Watch jobs at the default rate, in this process; processor time and lag of the loop."""
    return asyncio.run(_run_steadily(url, list(new_ids(_KIND, jobs)), seconds))


async def _run_steadily(url: str, job_ids: Sequence[str], seconds: float) -> dict[str, float]:
    async with SieveClient(API_KEY, base_url=url) as client, client.as_completed(job_ids):
        await _until(lambda: client.stats.waits == len(job_ids))
        await asyncio.sleep(1)
        polls, cpu, lags = client.stats.polls, time.process_time(), []
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (now := loop.time()) < until:
            await asyncio.sleep(_LAG_INTERVAL)
            lags.append(1000 * (loop.time() - now - _LAG_INTERVAL))
        cpu, polls = time.process_time() - cpu, client.stats.polls - polls
    return {
        "polls": polls / seconds,
        "cpu": 1e6 * cpu / polls,
        "median": statistics.median(lags),
        "p99": statistics.quantiles(lags, n=100)[-1],
        "max": max(lags),
    }


def report(found: Mapping[str, Mapping[str, float]], jobs: int) -> str:
    """The table of the memory."""
    rows: list[Sequence[str]] = [_HEADER]
    loops = found[_LOOPS]
    for name, growth in found.items():
        now, peak = growth["now"], growth["peak"]
        ratios = now / max(1, loops["now"]), peak / max(1, loops["peak"])
        sizes = (f"{now / _MEBIBYTE:.1f}", f"{now / jobs:.0f}", f"{peak / _MEBIBYTE:.1f}")
        rows.append((name, *sizes, f"{growth['seconds']:.1f}", *(f"{one:.3f}" for one in ratios)))
    legend = "MiB: growth of the process while all wait, and at its peak"
    return f"{jobs} waits\n{harness.table(rows)}\n{legend}"


def main(arguments: Sequence[str] | None = None) -> list[harness.Target]:
    """Measure and print."""
    parser = harness.parser_of("memory", __doc__)
    parser.add_argument("--jobs", type=int, default=100_000, help="how many waits")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to poll steadily")
    options = parser.parse_args(arguments)
    jobs, seconds = (500, 0.5) if options.quick else (options.jobs, options.seconds)
    print(harness.in_one_line(harness.versions(_PACKAGES)))
    with serving() as url:
        found = {
            way: harness.call_in_process("benchmarks.memory", "run", way=way, url=url, jobs=jobs)
            for way in (_LOOPS, _LEAN_LOOPS, _WATCH)
        }
        print(report(found, jobs), flush=True)
        settings = {"url": url, "jobs": jobs, "seconds": seconds}
        steady = harness.call_in_process("benchmarks.memory", "run_steadily", **settings)
    columns = (f"{steady[key]:.1f}" for key in ("polls", "cpu", "median", "p99", "max"))
    print("\n" + harness.table([_STEADY_HEADER, (f"{jobs} watched jobs", *columns)]))
    ours = found[_WATCH]["now"]
    return [
        harness.Target(f"{jobs} watched jobs: bytes each", ours / jobs, 600),
        harness.Target(
            f"{jobs} watched jobs: memory to loops", ours / max(1, found[_LOOPS]["now"]), 0.2
        ),
        harness.Target(f"{jobs} watched jobs: loop lag, 99 %, ms", steady["p99"], 10),
    ]


if __name__ == "__main__":
    harness.finish(main())
