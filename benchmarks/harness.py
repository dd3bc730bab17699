"""Shared by all benchmarks: processes, alternating blocks, paired ratios, tables and targets.

The same module is the program of the other processes: it calls a function, serves, or runs the
blocks of candidates, as the arguments say.
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

Block: TypeAlias = Callable[[int], Awaitable[None]]  # performs an operation so many times


@attrs.frozen
class Candidate:
    """Something to be compared."""

    block: Block
    note: int = 0  # a number that the table shows beside it, such as the size of a body
    unit: int = 1  # the number of operations in a block is a multiple of this


@attrs.frozen
class Plan:
    """How much to measure."""

    rounds: int  # the number of blocks of each candidate
    seconds: float  # the processor time of a block, roughly
    min_count: int  # the least number of operations in a block
    warm_up: int = 0  # operations before each block that are not measured


@attrs.frozen
class BlockTime:
    """Seconds for one operation: processor time here, elapsed, processor time of the server."""

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
    """The measurements of one comparison."""

    times: Mapping[str, Sequence[BlockTime]]  # of each candidate, one for each round
    notes: Mapping[str, int]
    longest_round: float  # seconds

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
    """A bound on one figure: it must not exceed the bound, or must reach it (``is_lower``).

    Promises (``is_exact``) hold on any machine, however slow or noisy.
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


def promise(subject: str, value: float, bound: float = 0) -> Target:
    """A figure that must not exceed a bound on any machine."""
    return Target(subject, value, bound, is_exact=True)


def finish(targets: Sequence[Target], *, quick: bool = False) -> None:
    """Print what holds and what misses; exit with 1 if a promise is broken.

    At a toy size (``quick``) only promises count: the other figures mean nothing.
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
    pads = [str.ljust] * left + [str.rjust] * (len(widths) - left)
    columns = list(zip(pads, widths, strict=True))
    lines = (
        "  ".join(pad(row[i], width) for i, (pad, width) in enumerate(columns)) for row in rows
    )
    return "\n".join(map(str.rstrip, lines))


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
    """The memory of this process; its peak where the system does not report more."""
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
    command = _command("call", module, function, settings)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)  # noqa: S603 - ours
    return json.loads(done.stdout)


@contextmanager
def serve_in_process(module: str, **settings: object) -> Iterator[str]:
    """Run the server of a module in a process of its own; gives its URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        port, number = listener.getsockname()[1], listener.fileno()
        command = _command("serve", module, "serve", {"descriptor": number, **settings})
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, pass_fds=[number])  # noqa: S603 - ours
    with process:  # leaving closes its standard input, which ends the server
        yield f"http://127.0.0.1:{port}"


@attrs.frozen
class Worker:
    """A process that holds candidates, with the note and the unit of each."""

    candidates: Mapping[str, tuple[int, int]]
    _process: "subprocess.Popen[str]"

    def run(self, name: str, count: int, warm_up: int) -> tuple[float, float]:
        """Run one block; processor and elapsed seconds for one operation."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps([name, count, warm_up]) + "\n")
        self._process.stdin.flush()
        cpu, wall = _read_line(self._process)
        return cpu / count, wall / count

    def calibrate(self, name: str, plan: Plan) -> int:
        """How many operations a block of this candidate has."""
        unit = self.candidates[name][1]
        count = least = unit * -(-plan.min_count // unit)
        for _ in range(2):  # the first block is mostly opening connections
            cpu, _ = self.run(name, count, least)
            count = max(least, unit * round(plan.seconds / cpu / unit))
        return count


@contextmanager
def open_worker(
    module: str, settings: Mapping[str, Any], *, without: Sequence[str] = ()
) -> Iterator[Worker]:
    """A process with the candidates of a module, which its ``candidates(settings)`` opens.

    The modules ``without`` cannot be imported there.
    """
    command, pipe = _command("blocks", module, "candidates", settings, *without), subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:  # noqa: S603 - ours
        yield Worker(_read_line(process), process)


@contextmanager
def open_workers(
    module: str, settings: Mapping[str, Any], *, is_compared: bool = True
) -> Iterator[list[Worker]]:
    """One process with orjson, if it is installed, and (``is_compared``) one without."""
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

    ``server_cpu`` gives the processor time that the server has used so far.
    """
    owners = {name: worker for worker in workers for name in worker.candidates}
    counts = {name: worker.calibrate(name, plan) for name, worker in owners.items()}
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
    notes = {name: worker.candidates[name][0] for name, worker in owners.items()}
    return Results(times, notes, longest)


def _command(mode: str, module: str, function: str, settings: object, *without: str) -> list[str]:
    program = [sys.executable, "-m", "benchmarks.harness"]
    return [*program, mode, module, function, json.dumps(settings), *without]


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
        _write_line({name: (each.note, each.unit) for name, each in candidates.items()})
        seen = set()
        for line in sys.stdin:
            name, count, warm_up = json.loads(line)
            block = candidates[name].block
            gc.collect()  # the garbage of another candidate is not measured
            await block(warm_up)
            if name not in seen:  # its lasting objects do not slow down the others
                seen.add(name)
                gc.collect()
                gc.freeze()
            wall, cpu = time.perf_counter(), time.process_time()
            await block(count)
            _write_line([time.process_time() - cpu, time.perf_counter() - wall])


async def _serve(serve: Any, descriptor: int, **settings: Any) -> None:
    server = await serve(socket.socket(fileno=descriptor), **settings)
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
    if options.mode == "call":
        _write_line(function(**options.settings))
    elif options.mode == "serve":
        asyncio.run(_serve(function, **options.settings))
    else:
        asyncio.run(_run_blocks(function, options.settings))


if __name__ == "__main__":
    _run()
