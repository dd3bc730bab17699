"""Minutes of churn: does anything leak, get lost, come twice or come out wrong?

Waits, watches and streams of every kind start, end, fail, are stopped and cancelled, at a server in
a process of its own that fails on purpose. The expected results are in the ids. After each round
all has ended, and what is left is counted. Memory warms up for minutes: judge it by long runs.
"""

import argparse
import asyncio
import gc
import logging
import random
import statistics
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import attrs

from benchmarks import harness
from benchmarks.workload import WORKLOAD, Context, Results
from sieve_async import Limits, PollPolicy, SieveClient, SieveError

_OPEN_FILES = Path("/proc/self/fd")
_KIBIBYTE = 1024
_HEADER = "minutes    waits      MiB  objects  tasks  descriptors"
_HANGS = 60.0  # seconds after which a workload counts as lost
_MAX_AWAIT = 1.5
# The first rounds say nothing of growth, and few rounds say nothing at all.
_WARM_UP, _MIN_ROUNDS = 0.4, 8
_MAX_DESCRIPTORS = 72


@attrs.frozen
class Rest:
    """What there is when all workloads of a round have ended."""

    minutes: float  # since the start
    waits: int  # started by then
    memory: int  # resident bytes
    objects: int  # that the garbage collector tracks
    tasks: int  # besides the one that counts
    descriptors: int  # open files, pooled connections included


class Soak:
    """Runs workloads at a server, in rounds.

    Args:
        url: The server.
        seed: Draws the workloads and the jobs.
        workers: How many workloads at once.
        longest: The longest job in milliseconds.
    """

    def __init__(self, url: str, *, seed: int, workers: int, longest: int) -> None:
        self.results = Results()
        self._url = url
        self._rng = random.Random(seed)
        self._workers = workers
        self._longest = longest
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()

    async def round(self, client: SieveClient, seconds: float) -> Rest:
        """Start workloads for so long, let the last ones end, and count what is left."""
        until = self._loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work(client, until))
        return await self.rest()

    async def rest(self) -> Rest:
        """Count what is there while nothing runs."""
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0.02)  # what was dropped is stopped in the next turns of the loop
        return Rest(
            minutes=(self._loop.time() - self._started) / 60,
            waits=self.results.waits,
            memory=harness.resident_bytes(),
            objects=len(gc.get_objects()),
            tasks=len(asyncio.all_tasks()) - 1,
            descriptors=_descriptors(),
        )

    def open(self) -> SieveClient:
        """A client with default settings, but for the speed of these jobs."""
        interval = max(0.1, self._longest / 4000)
        polling = PollPolicy(min_interval=0.1, growth=0.1, max_interval=interval)
        limits = Limits(polls_per_second=None)
        return SieveClient("key-of-the-soak", base_url=self._url, polling=polling, limits=limits)

    async def _work(self, client: SieveClient, until: float) -> None:
        while self._loop.time() < until:
            await self._run(self._rng.choice(WORKLOAD), client)

    async def _run(self, run: Callable[[Context], Awaitable[None]], client: SieveClient) -> None:
        context = Context(client, self._rng, self.results, self._longest, self.open)
        try:
            async with asyncio.timeout(_HANGS):
                await run(context)
        except SieveError as error:
            self.results.add_wrong(f"{run.__name__}: {type(error).__name__}")
        except TimeoutError:
            self.results.lost += 1
            self.results.reasons[f"{run.__name__} hangs"] += 1


def _descriptors() -> int:
    """How many files are open; zero where the system does not report it."""
    return len(list(_OPEN_FILES.iterdir())) if _OPEN_FILES.exists() else 0


def promises(
    rests: Sequence[Rest], first: Rest, last: Rest, results: Results
) -> Iterator[harness.Target]:
    """What must hold on any machine.

    Args:
        rests: One for each round.
        first: How it was before there was any client.
        last: How it is when all clients are closed.
        results: How the waits ended.
    """
    for name in ("lost", "duplicated", "wrong"):
        yield harness.promise(f"soak: {name}", getattr(results, name))
    ended = results.right + results.stopped + results.lost + results.wrong
    yield harness.promise("soak: waits without an end", results.waits - ended)
    yield harness.promise("soak: tasks left", max(rest.tasks for rest in (*rests, last)))
    yield harness.promise("soak: descriptors left", max(0, last.descriptors - first.descriptors))
    descriptors = max(rest.descriptors for rest in rests) - first.descriptors
    yield harness.promise("soak: descriptors between rounds", descriptors, _MAX_DESCRIPTORS)
    if len(rests) < _MIN_ROUNDS:
        return
    counted = rests[int(len(rests) * _WARM_UP) :]
    minutes = [rest.minutes for rest in counted]
    waits = [rest.waits / 1000 for rest in counted]
    memory, objects = [rest.memory for rest in counted], [rest.objects for rest in counted]
    for name, over, values, bound in (
        ("bytes more a minute", minutes, memory, 512 * _KIBIBYTE),
        ("bytes more for a thousand waits", waits, memory, 64 * _KIBIBYTE),
        ("objects more for a thousand waits", waits, objects, 50),
    ):
        slope = statistics.linear_regression(over, values).slope
        yield harness.promise(f"soak: {name}", slope, bound)


async def _soak(url: str, options: argparse.Namespace) -> list[harness.Target]:
    minutes, longest, workers = options.minutes, 2000, options.workers
    seconds = max(1.0, min(10.0, minutes * 60 / 20))
    if options.quick:
        minutes, seconds, longest, workers = 0.01, 0.3, 200, 12
    soak = Soak(url, seed=options.seed, workers=workers, longest=longest)
    first = await soak.rest()
    rests: list[Rest] = []
    print(_HEADER)
    async with soak.open() as client:
        while not rests or rests[-1].minutes < minutes:
            rests.append(await soak.round(client, seconds))
            rest = rests[-1]
            print(
                f"{rest.minutes:7.2f} {rest.waits:8} {rest.memory / _KIBIBYTE**2:8.2f} "
                f"{rest.objects:8} {rest.tasks:6} {rest.descriptors:12}",
                flush=True,
            )
        requests = client.stats.requests
    last = await soak.rest()
    results = soak.results
    print(
        f"\n{results.waits} waits: {results.right} right, {results.stopped} stopped on purpose, "
        f"{results.lost} lost, {results.duplicated} duplicated, {results.wrong} wrong; "
        f"{requests} requests of the main client"
    )
    for reason, count in results.reasons.most_common():
        print(f"  {count} times: {reason}")
    return list(promises(rests, first, last, results))


def main(arguments: Sequence[str] | None = None) -> list[harness.Target]:
    """Run the churn, and print what became of it."""
    parser = harness.parser_of("soak", __doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=20241215, help="which churn")
    parser.add_argument("--workers", type=int, default=48, help="workloads at once (%(default)s)")
    parser.add_argument("--failing", type=float, default=0.05, help="the share of failing answers")
    options = parser.parse_args(arguments)
    logging.getLogger("sieve_async").addHandler(logging.NullHandler())  # faults are expected
    harness.allow_sockets(4096)
    settings = {"failing": options.failing, "seed": options.seed, "all_faults": True}
    with harness.serve_in_process("benchmarks.job_server", max_await=_MAX_AWAIT, **settings) as url:
        return asyncio.run(_soak(url, options))


if __name__ == "__main__":
    harness.finish(main())
