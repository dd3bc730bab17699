"""What a lookup costs with the SDK, over aiohttp alone.

All contenders ask the same server over loopback, from one process, in short blocks that take
turns, so that a noisy machine slows all of them down. What counts is the processor time of this
process: an asyncio program does its work on one processor, so what a request takes of it bounds how
many there can be. Nothing is asked for twice: yarl remembers a URL that it has seen.
"""

import argparse
import asyncio
import gc
import itertools
import platform
import random
import resource
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import aiohttp
import attrs

import sieve_async
from benchmarks.comparing import ratio, table
from benchmarks.contenders import LOADS, Contender, Group, contending
from benchmarks.server import PROCESSOR_TIME, serving

_SESSIONS = 4
_FEWEST_REQUESTS = 640  # some 60 ms for the yardstick
_HEADER = ("", "us", "requests/s", "to plain", "to tuned", "target")


@attrs.frozen
class Size:
    """How much is measured.

    Attributes:
        rounds: How often each contender has its turn.
        requests: How many requests a turn has.
    """

    rounds: int
    requests: int


@attrs.define
class Load:
    """What a measurement has taken, in seconds, apart from what it was made for."""

    wall: float = 0.0
    client: float = 0.0
    server: float = 0.0
    requests: int = 0

    def __str__(self) -> str:
        server, client = self.server / self.requests, self.client / self.requests
        verdict = "not the bottleneck" if server < client / 2 else "MAY BE THE BOTTLENECK"
        return (
            f"The server took {1e6 * server:.0f} us of its processor per request and was busy for "
            f"{self.server / self.wall:.0%} of the time, this process for "
            f"{self.client / self.wall:.0%}: {verdict}."
        )


def _ids(word: str, counter: Iterator[int], count: int) -> Iterator[str]:
    """Ids that look like those of real jobs, each of them new."""
    return (f"{word}-{next(counter):08x}-4c5e-8f2d-7b6a5c4d3e2f" for _ in range(count))


async def _turn(contender: Contender, ids: Iterator[str], in_flight: int) -> None:
    """Ask for all ids, so many at once."""

    async def worker() -> None:
        for id_ in ids:  # the workers share the iterator, so that all are busy until its end
            await contender.ask(id_)

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(worker())


async def _check(contender: Contender, id_: str) -> None:
    """Make sure that it brings what it was asked for before its speed counts."""
    answer: Any = await contender.ask(id_)
    found = answer["id"] if isinstance(answer, dict) else answer.id
    if found != id_:
        raise RuntimeError(f"{contender.name} asked for {id_} and got {found}")


async def _processor_time(url: str) -> float:
    """What the server has taken so far."""
    async with aiohttp.ClientSession() as session, session.get(url + PROCESSOR_TIME) as response:
        return float((await response.json())["seconds"])


async def _measure(
    url: str, groups: Sequence[Group], size: Size, in_flight: int
) -> tuple[dict[str, list[float]], Load]:
    """Seconds per request of each contender in each round."""
    contenders = [contender for group in groups for contender in group.all]
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    counter = itertools.count()
    for contender in contenders:  # all connections are opened, and all that is lazy is done
        await _check(contender, next(_ids(contender.word, counter, 1)))
        await _turn(contender, _ids(contender.word, counter, size.requests), in_flight)
    gc.collect()
    gc.freeze()
    load = Load(server=-await _processor_time(url))
    for _ in range(size.rounds):
        for contender in random.sample(contenders, len(contenders)):
            gc.collect()  # nobody cleans up after the one before
            ids = _ids(contender.word, counter, size.requests)
            wall, started = time.perf_counter(), time.process_time()
            await _turn(contender, ids, in_flight)
            took = time.process_time() - started
            load.wall += time.perf_counter() - wall
            load.client += took
            load.requests += size.requests
            times[contender.name].append(took / size.requests)
    load.server += await _processor_time(url)
    gc.unfreeze()
    return times, load


def report(groups: Sequence[Group], times: Mapping[str, Sequence[float]]) -> str:
    """The table: medians, and ratios with the middle 80 % of all rounds."""
    rows = [_HEADER]
    for group in groups:
        plain, tuned = times[group.plain.name], times[group.tuned.name]
        for contender in group.all:
            measured = times[contender.name]
            seconds = statistics.median(measured)
            rows.append(
                (
                    contender.name,
                    f"{1e6 * seconds:.1f}",
                    f"{1 / seconds:.0f}",
                    "1" if measured is plain else str(ratio(plain, measured)),
                    "1" if measured is tuned else str(ratio(tuned, measured)),
                    "" if contender.target is None else f">= {contender.target:.2f}",
                )
            )
    return table(rows)


def versions() -> str:
    """What was measured with what."""
    packages = ("aiohttp", "attrs", "cattrs", "orjson")
    found = [f"Python {platform.python_version()}", f"sieve_async {sieve_async.__version__}"]
    return ", ".join([*found, *map(_version, packages)])


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package} (so everybody uses {LOADS})"


def _allow_sockets(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _run(size: Size, in_flight: int) -> None:
    with serving() as url:
        async with contending(url, in_flight) as groups:
            times, load = await _measure(url, groups, size, in_flight)
    print(f"\n{in_flight} in flight, {size.rounds} rounds of {size.requests} requests:")
    print(report(groups, times))
    print(load)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lookup", description=__doc__)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[64], metavar="REQUESTS")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="toy size, to see that it runs")
    options = parser.parse_args(arguments)
    print(versions())
    for in_flight in options.in_flight:
        _allow_sockets(_SESSIONS * in_flight + 100)
        size = Size(options.rounds, max(_FEWEST_REQUESTS, 4 * in_flight))
        asyncio.run(_run(Size(3, 2 * in_flight) if options.quick else size, in_flight))


if __name__ == "__main__":
    main()
