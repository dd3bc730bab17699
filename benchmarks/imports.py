"""How long importing the client takes, against the imports that it cannot do without.

Each import runs in an interpreter of its own, the contenders take turns, and processor time counts.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.comparing import table

_ROOT = Path(__file__).parent.parent
_YARDSTICK = "import aiohttp, attrs"
_SUBJECT = "from sieve_async import SieveClient"
# cattrs is imported and its hooks are built only when the first answer comes.
_FIRST_ANSWER = """
from sieve_async.decode.structure import structure
from sieve_async import Job
structure({"id": "a", "status": "queued", "function": {}}, Job)
"""
_CONTENDERS = {
    _YARDSTICK: _YARDSTICK,
    _SUBJECT: _SUBJECT,
    f"{_SUBJECT}, and decode a first answer": _FIRST_ANSWER,
}
_TARGETS = {_SUBJECT: "60"}
_PROGRAM = """
import time
started = time.process_time()
{statement}
print(time.process_time() - started)
"""


def milliseconds(statement: str) -> float:
    """The processor time of a statement in a fresh interpreter."""
    done = subprocess.run(  # noqa: S603 - nothing in it comes from outside
        [sys.executable, "-c", _PROGRAM.format(statement=statement)],
        cwd=_ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return 1000 * float(done.stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 15")
    rounds = 3 if parser.parse_args(arguments).quick else 15
    times: dict[str, list[float]] = {name: [] for name in _CONTENDERS}
    for number in range(-1, rounds):
        for name, measured in times.items():
            took = milliseconds(_CONTENDERS[name])
            if number >= 0:  # the round before the first one only warms the file cache
                measured.append(took)
    print(report(times))


def report(times: Mapping[str, Sequence[float]]) -> str:
    """The medians as a table, with what each takes more than the yardstick in the same round."""
    rows = [("in a fresh interpreter", "ms", "more", "middle 80 %", "target at most")]
    for name, measured in times.items():
        more = [mine - least for mine, least in zip(measured, times[_YARDSTICK], strict=True)]
        low, *_, high = statistics.quantiles(more, n=10, method="inclusive")
        middle = f"{statistics.median(measured):.0f}"
        extra = f"{statistics.median(more):+.0f}"
        spread = f"{low:+.0f} to {high:+.0f}"
        rows.append((name, middle, extra, spread, _TARGETS.get(name, "")))
    return table(rows)


if __name__ == "__main__":
    main()
