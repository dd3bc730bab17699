"""Contenders in processes of their own, which take short turns in an order that changes.

What one of them needs installed, or must not have installed, is so no matter of the others.
"""

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs

_ROOT = Path(__file__).parent.parent


@attrs.frozen
class Took:
    """What one operation has taken in one turn, in seconds.

    Attributes:
        processor: Of the processor.
        wall: Of the clock on the wall.
        server: Of the server's processor.
    """

    processor: float
    wall: float
    server: float = 0.0


@attrs.frozen
class Size:
    """How much is measured.

    Attributes:
        rounds: How often each contender has its turn.
        seconds: How much processor time a turn takes, about.
        fewest: How many operations it has at the least.
        warm: How many go before that do not count.
    """

    rounds: int
    seconds: float
    fewest: int
    warm: int = 0


@attrs.frozen
class Measured:
    """What the contenders took.

    Attributes:
        tooks: What each took in each of the rounds.
        notes: A number of each for the table.
        absent: Who was not there.
        longest_round: Seconds of the round that took longest.
    """

    tooks: Mapping[str, Sequence[Took]]
    notes: Mapping[str, int]
    absent: Sequence[str]
    longest_round: float

    def processor(self, name: str) -> list[float]:
        """Seconds of the processor for one operation, in each of the rounds."""
        return [took.processor for took in self.tooks[name]]

    def server(self, name: str) -> float:
        """Seconds of the server's processor for one operation; the median."""
        return statistics.median(took.server for took in self.tooks[name])

    def per_second(self, name: str) -> float:
        """Operations per second of the clock on the wall; the median."""
        return 1 / statistics.median(took.wall for took in self.tooks[name])


@attrs.frozen
class Worker:
    """A process with contenders.

    Attributes:
        notes: A number of each of them for the table.
        absent: Who is not there.
    """

    notes: Mapping[str, int]
    absent: Sequence[str]
    _process: "subprocess.Popen[str]"

    def turn(self, name: str, count: int, *, warm: int) -> Took:
        """Let one do something so many times, after a few that do not count."""
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        order = {"name": name, "count": count, "warm": warm}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        took = _hear(self._process)
        return Took(took["processor"] / count, took["wall"] / count)


@contextmanager
def working(
    stage: str, settings: Mapping[str, Any], *, without: Sequence[str] = ()
) -> Iterator[Worker]:
    """Run a process of contenders, which ends with the block.

    Args:
        stage: The module that has them.
        settings: What it gets.
        without: Modules that this process cannot import.
    """
    command = [sys.executable, "-m", "benchmarks.worker", stage, json.dumps(settings), *without]
    with subprocess.Popen(  # noqa: S603 - nothing in it comes from outside
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        told = _hear(process)
        yield Worker(told["notes"], told["absent"], process)


def _hear(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a process of contenders has died")
    return json.loads(line)


def compare(
    workers: Sequence[Worker], size: Size, meter: Callable[[], float] = lambda: 0.0
) -> Measured:
    """Let all contenders take their turns.

    Args:
        workers: Where they are.
        size: How many turns they take, and how long.
        meter: Tells how much of its processor the server has used so far.
    """
    homes = {name: worker for worker in workers for name in worker.notes}
    counts = {}
    for name, worker in homes.items():  # connections are opened, and all that is lazy is done
        count = size.fewest
        for _ in range(2):  # the first time shows little
            took = worker.turn(name, count, warm=size.fewest)
            count = max(size.fewest, round(size.seconds / took.processor))
        counts[name] = count
    tooks: dict[str, list[Took]] = {name: [] for name in homes}
    longest_round = 0.0
    for _ in range(size.rounds):
        began = time.monotonic()
        for name in random.sample(list(homes), len(homes)):
            used = meter()
            took = homes[name].turn(name, counts[name], warm=size.warm)
            server = (meter() - used) / (counts[name] + size.warm)
            tooks[name].append(attrs.evolve(took, server=server))
        longest_round = max(longest_round, time.monotonic() - began)
    notes = {name: worker.notes[name] for name, worker in homes.items()}
    absent = [name for worker in workers for name in worker.absent]
    return Measured(tooks, notes, absent, longest_round)


@contextmanager
def with_and_without_orjson(
    stage: str, settings: Mapping[str, Any], *, both: bool = True
) -> Iterator[list[Worker]]:
    """One process with orjson, if it is installed, and one that cannot import it.

    The latter is told whether it is ``alone``, and has those contenders too that do not care.

    Args:
        stage: The module of the contenders.
        settings: What it gets.
        both: Whether the second is wanted where there is the first.
    """
    has_orjson = find_spec("orjson") is not None
    with ExitStack() as stack:
        workers = []
        if has_orjson:
            workers.append(stack.enter_context(working(stage, settings)))
        if both or not has_orjson:
            plain = {**settings, "alone": not has_orjson}
            workers.append(stack.enter_context(working(stage, plain, without=["orjson"])))
        yield workers
