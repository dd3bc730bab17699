"""How much memory a hundred thousand waits take, against as many tasks that sleep and poll.

Each way has a process of its own and looks at each job once, over loopback; then all wait, and what
the process has grown by is theirs.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.comparing import at_most, in_a_line, judged, table, versions
from benchmarks.server import serving
from benchmarks.waiters import WAYS, Memory

_ROOT = Path(__file__).parent.parent
_MEBIBYTE = 1024 * 1024
_PACKAGES = ("sieve-async", "aiohttp", "orjson")
_HEADER = ("", "MiB", "bytes per wait", "MiB at most", "CPU s", "memory to tasks", "at most")


def measure(way: str, url: str, jobs: int) -> Memory:
    """Run one way in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.waiters", way, url, str(jobs)]
    done = subprocess.run(  # noqa: S603 - nothing in it comes from outside
        command, cwd=_ROOT, stdout=subprocess.PIPE, check=True
    )
    return Memory(**json.loads(done.stdout))


def report(found: Mapping[str, Memory], jobs: int) -> str:
    """The table, and whether the target is met."""
    rows = [_HEADER]
    *others, ours = found
    first = found[others[0]]
    for name, memory in found.items():
        rows.append(
            (
                name,
                f"{memory.now / _MEBIBYTE:.1f}",
                f"{memory.now / jobs:.0f}",
                f"{memory.most / _MEBIBYTE:.1f}",
                f"{memory.seconds:.1f}",
                f"{memory.now / first.now:.3f}" if first.now else "",
                f"{memory.most / first.most:.3f}" if first.most else "",
            )
        )
    verdicts = [
        at_most(
            f"{jobs} waits: {ours}, memory to {name}",
            found[ours].now / max(1, found[name].now),
            0.2,
        )
        for name in others
    ]
    legend = "MiB: what the process grew by, while all wait and at its largest"
    return "\n".join([table(rows), legend, judged(verdicts)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000, help="how many waits there are")
    parser.add_argument("--quick", action="store_true", help="toy size, to see that it runs")
    options = parser.parse_args(arguments)
    jobs = 500 if options.quick else options.jobs
    with serving() as url:
        found = {way: measure(way, url, jobs) for way in WAYS}
    print(in_a_line(versions(_PACKAGES)))
    print(report(found, jobs))


if __name__ == "__main__":
    main()
