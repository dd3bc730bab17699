"""Shared by all benchmarks: processes, alternating blocks, paired ratios, tables and targets.

The same module is the program that runs in the other processes: it calls a function, serves, or
runs the blocks of candidates, as the arguments say.
"""

import argparse
import asyncio
import gc
import importlib
import json
import platform
import random
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import attrs

ROOT = Path(__file__).parent.parent
BACKLOG = 4096
_STATM = Path("/proc/self/statm")

Block: TypeAlias = Callable[[int], Awaitable[None]]
"""Performs an operation so many times."""


@attrs.frozen
class Candidate:
    """Something to be compared.

    Attributes:
        block: Performs its operation so many times.
        note: A number that the table shows beside it, such as the size of a body.
        unit: The number of operations in a block is a multiple of this.
    """

    block: Block
    note: int = 0
    unit: int = 1


@attrs.frozen
class Plan:
    """How much to measure.

    Attributes:
        rounds: How many blocks each candidate has.
        seconds: The processor time of a block, roughly.
        min_count: The least number of operations in a block.
        warm_up: Operations before each block that are not measured.
    """

    rounds: int
    seconds: float
    min_count: int
    warm_up: int = 0


@attrs.frozen
class BlockTime:
    """Seconds for one operation, the mean over a block.

    Attributes:
        cpu: Processor time of the process that measures.
        wall: Elapsed time.
        server: Processor time of the server.
    """

    cpu: float
    wall: float
    server: float


@attrs.frozen
class Ratio:
    """How many times as fast as a baseline: the median of all rounds and the middle 80 %."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


@attrs.frozen
class Results:
    """The measurements of one comparison.

    Attributes:
        times: The blocks of each candidate, one for each round.
        notes: The note of each candidate.
        longest_round: Seconds of the longest round.
    """

    times: Mapping[str, Sequence[BlockTime]]
    notes: Mapping[str, int]
    longest_round: float

    def cpu(self, name: str) -> list[float]:
        """Processor seconds for one operation in each round."""
        return [block.cpu for block in self.times[name]]

    def microseconds(self, name: str) -> float:
        """The median processor time for one operation."""
        return 1e6 * statistics.median(self.cpu(name))

    def server_microseconds(self, name: str) -> float:
        """The median processor time of the server for one operation."""
        return 1e6 * statistics.median(block.server for block in self.times[name])

    def per_second(self, name: str) -> float:
        """The median number of operations in an elapsed second."""
        return 1 / statistics.median(block.wall for block in self.times[name])

    def ratio(self, name: str, baseline: str) -> Ratio:
        """How many times as fast as the baseline in the same rounds."""
        pairs = zip(self.cpu(baseline), self.cpu(name), strict=True)
        return Ratio(*spread([theirs / ours for theirs, ours in pairs]))


@attrs.frozen
class Target:
    """A bound on one figure.

    Attributes:
        subject: What is measured.
        value: The figure.
        bound: The bound.
        is_lower: Whether the figure must reach the bound, or else must not exceed it.
        is_exact: Whether it is a promise that a noisy machine cannot break.
    """

    subject: str
    value: float
    bound: float
    is_lower: bool = False
    is_exact: bool = False

    @property
    def holds(self) -> bool:
        """Whether the bound is kept."""
        return self.value >= self.bound if self.is_lower else self.value <= self.bound

    def __str__(self) -> str:
        word, kind = ("holds " if self.holds else "misses"), ("at most", "at least")[self.is_lower]
        return f"  {word}  {self.subject}: {self.value:.4g} ({kind} {self.bound:g})"


def at_least(subject: str, value: float, bound: float) -> Target:
    """A figure that must reach a bound."""
    return Target(subject, value, bound, is_lower=True)


def at_most(subject: str, value: float, bound: float) -> Target:
    """A figure that must not exceed a bound."""
    return Target(subject, value, bound)


def never(subject: str, value: float) -> Target:
    """A count that must be zero on any machine."""
    return Target(subject, value, 0, is_exact=True)


def finish(targets: Sequence[Target], *, quick: bool = False) -> None:
    """Print what holds and what misses; exit with 1 if a promise is broken.

    Args:
        targets: The targets.
        quick: Whether only promises count, since the figures of a toy size mean nothing.
    """
    shown = [target for target in targets if target.is_exact or not quick]
    if shown:
        print("\nTargets:", *shown, sep="\n", flush=True)
    if any(target.is_exact and not target.holds for target in shown):
        sys.exit(1)


def parser_of(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help="toy size: do the programs run?")
    return parser


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and the bounds of the middle 80 %."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return statistics.median(values), tenths[0], tenths[-1]


def table(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Rows below a header; so many columns are aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python and of those packages that are installed."""
    found = {"Python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def in_one_line(found: Mapping[str, str]) -> str:
    """Versions as one line."""
    return ", ".join(f"{name} {number}" for name, number in found.items())


def is_installed(module: str) -> bool:
    """Whether a module can be imported in this process."""
    try:
        return find_spec(module) is not None
    except ValueError:  # it was made unavailable, see open_worker
        return False


def resident_bytes() -> int:
    """The memory of this process; its peak where the system does not tell more."""
    if _STATM.exists():
        return int(_STATM.read_text("ascii").split()[1]) * resource.getpagesize()
    return peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def allow_sockets(count: int) -> None:
    """Raise the limit of open files of this process, and of those it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def call_in_process(module: str, function: str, **settings: object) -> Any:
    """Call a function in a process of its own; arguments and result are JSON."""
    done = subprocess.run(  # noqa: S603 - the arguments are our own
        _command("call", module, function, json.dumps(settings)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


@contextmanager
def serve_in_process(module: str, **settings: object) -> Iterator[str]:
    """Run the server of a module in a process of its own; gives its URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        port, number = listener.getsockname()[1], listener.fileno()
        process = subprocess.Popen(  # noqa: S603 - the arguments are our own
            _command("serve", module, "serve", json.dumps({"descriptor": number, **settings})),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            pass_fds=[number],
        )
    with process:  # leaving closes its standard input, which ends the server
        yield f"http://127.0.0.1:{port}"


@attrs.frozen
class Worker:
    """A process that holds candidates.

    Attributes:
        notes: The note of each candidate.
        units: The unit of each candidate.
    """

    notes: Mapping[str, int]
    units: Mapping[str, int]
    _process: "subprocess.Popen[str]"

    def run(self, name: str, count: int, warm_up: int) -> tuple[float, float]:
        """Run one block; processor and elapsed seconds for one operation."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        order = {"name": name, "count": count, "warm_up": warm_up}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        took = _read_line(self._process)
        return took["cpu"] / count, took["wall"] / count


@contextmanager
def open_worker(
    module: str, settings: Mapping[str, Any], *, without: Sequence[str] = ()
) -> Iterator[Worker]:
    """A process with the candidates of a module.

    Args:
        module: Its ``candidates(settings)`` opens them.
        settings: What it gets.
        without: Modules that cannot be imported in that process.
    """
    with subprocess.Popen(  # noqa: S603 - the arguments are our own
        _command("blocks", module, "candidates", json.dumps(settings), *without),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Worker(*_read_line(process), process)


@contextmanager
def open_workers(
    module: str, settings: Mapping[str, Any], *, is_compared: bool = True
) -> Iterator[list[Worker]]:
    """One process with orjson, if it is installed, and one that cannot import it.

    Args:
        module: Its ``candidates(settings)`` opens them.
        settings: What it gets.
        is_compared: Whether the second process is wanted besides the first.
    """
    with ExitStack() as stack:
        workers = []
        if is_installed("orjson"):
            workers.append(stack.enter_context(open_worker(module, settings)))
        if is_compared or not workers:
            settings = {**settings, "is_second": bool(workers)}
            workers.append(stack.enter_context(open_worker(module, settings, without=["orjson"])))
        yield workers


def compare(
    workers: Sequence[Worker], plan: Plan, server_cpu: Callable[[], float] = lambda: 0.0
) -> Results:
    """Run the blocks of all candidates, in an order that changes with each round.

    Args:
        workers: The processes with the candidates.
        plan: How much to measure.
        server_cpu: The processor time that the server has used so far.
    """
    owners = {name: worker for worker in workers for name in worker.notes}
    counts = {name: _calibrate(worker, name, plan) for name, worker in owners.items()}
    times: dict[str, list[BlockTime]] = {name: [] for name in owners}
    longest = 0.0
    for _ in range(plan.rounds):
        started = time.monotonic()
        for name in random.sample(list(owners), len(owners)):
            count, before = counts[name], server_cpu()
            cpu, wall = owners[name].run(name, count, plan.warm_up)
            server = (server_cpu() - before) / (count + plan.warm_up)
            times[name].append(BlockTime(cpu, wall, server))
        longest = max(longest, time.monotonic() - started)
    return Results(times, {name: owners[name].notes[name] for name in owners}, longest)


def _calibrate(worker: Worker, name: str, plan: Plan) -> int:
    unit = worker.units[name]
    count = least = unit * -(-plan.min_count // unit)
    for _ in range(2):  # the first block is mostly opening connections
        cpu, _ = worker.run(name, count, least)
        count = max(least, unit * round(plan.seconds / cpu / unit))
    return count


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.harness", *arguments]


def _read_line(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a process of candidates has ended early")
    return json.loads(line)


def _write_line(message: object) -> None:
    print(json.dumps(message), flush=True)


async def _run_blocks(open_candidates: Any, settings: Mapping[str, Any]) -> None:
    async with open_candidates(settings) as candidates:
        notes = {name: candidate.note for name, candidate in candidates.items()}
        units = {name: candidate.unit for name, candidate in candidates.items()}
        _write_line([notes, units])
        seen = set()
        for line in sys.stdin:
            order = json.loads(line)
            name, block = order["name"], candidates[order["name"]].block
            gc.collect()  # the garbage of another candidate is not measured
            await block(order["warm_up"])
            if name not in seen:  # its lasting objects do not slow down the others
                seen.add(name)
                gc.collect()
                gc.freeze()
            wall, cpu = time.perf_counter(), time.process_time()
            await block(order["count"])
            cpu = time.process_time() - cpu
            _write_line({"cpu": cpu, "wall": time.perf_counter() - wall})


async def _serve(start: Any, descriptor: int, settings: Mapping[str, Any]) -> None:
    server = await start(socket.socket(fileno=descriptor), **settings)
    await asyncio.to_thread(sys.stdin.read)  # until the process that started this one closes it
    server.close()  # not waited for: a client that leaks leaves connections open


def _run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["call", "serve", "blocks"])
    parser.add_argument("module")
    parser.add_argument("function")
    parser.add_argument("settings", type=json.loads)
    parser.add_argument("without", nargs="*")
    options = parser.parse_args()
    for name in options.without:
        sys.modules[name] = None  # type: ignore[assignment] # the documented way to forbid an import
    function = getattr(importlib.import_module(options.module), options.function)
    settings = options.settings
    if options.mode == "call":
        _write_line(function(**settings))
    elif options.mode == "serve":
        asyncio.run(_serve(function, settings.pop("descriptor"), settings))
    else:
        asyncio.run(_run_blocks(function, settings))


if __name__ == "__main__":
    _run()
