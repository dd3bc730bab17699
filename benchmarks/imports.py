"""The time that importing the client takes, over the imports that it needs in any case.

Each import runs in an interpreter of its own; the candidates alternate.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

from benchmarks import harness

_BASELINE = "import aiohttp, attrs"
_SUBJECT = "from sieve_async import SieveClient"
_FIRST_MODEL = "from sieve_async import Job; Job.from_dict({'id': 'a', 'status': 'queued'})"
_STATEMENTS = {
    _BASELINE: _BASELINE,
    "the same again": _BASELINE,
    _SUBJECT: _SUBJECT,
    f"{_SUBJECT}, and decode a first job": f"{_SUBJECT}; {_FIRST_MODEL}",
    "import sieve_async": "import sieve_async",
}
_PACKAGES = ("sieve-async", "aiohttp", "attrs", "cattrs")
_PROGRAM = """
import sys, time
before = len(sys.modules)
started = time.process_time()
{statement}
print(time.process_time() - started, len(sys.modules) - before)
"""


def execute(statement: str, bytecode: str) -> tuple[float, int]:
    """Processor milliseconds and modules of a statement, with compiled files in this folder."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(  # noqa: S603 - the statement is our own
        [sys.executable, "-c", _PROGRAM.format(statement=statement)],
        cwd=harness.ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, modules = done.stdout.split()
    return 1000 * float(seconds), int(modules)


def report(found: Mapping[str, Sequence[tuple[float, int]]]) -> str:
    """The table, with what each takes above the baseline."""
    rows = [("in a fresh interpreter", "CPU ms", "above", "middle 80 %", "modules", "above")]
    baseline = found[_BASELINE][0][1]
    for name, imports in found.items():
        median, _, _ = harness.spread([milliseconds for milliseconds, _ in imports])
        more, low, high = _above_baseline(found, name)
        modules = imports[0][1]
        times = (f"{median:.0f}", f"{more:+.0f}", f"{low:+.0f} to {high:+.0f}")
        rows.append((name, *times, f"{modules}", f"{modules - baseline:+}"))
    return harness.table(rows)


def _above_baseline(
    found: Mapping[str, Sequence[tuple[float, int]]], name: str
) -> tuple[float, float, float]:
    pairs = zip(found[name], found[_BASELINE], strict=True)
    return harness.spread([ours - theirs for (ours, _), (theirs, _) in pairs])


def main(arguments: Sequence[str] | None = None) -> list[harness.Target]:
    """Measure and print."""
    rounds = 1 if harness.parser_of("imports", __doc__).parse_args(arguments).quick else 15
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in _STATEMENTS}
    with tempfile.TemporaryDirectory() as bytecode:
        for number in range(-1, rounds):
            for name, imports in found.items():
                cost = execute(_STATEMENTS[name], bytecode)
                if number >= 0:  # the round before the first one compiles, as installers do
                    imports.append(cost)
    print(harness.in_one_line(harness.versions(_PACKAGES)))
    print(report(found))
    subject = f"{_SUBJECT}: CPU ms above {_BASELINE}"
    return [harness.Target(subject, _above_baseline(found, _SUBJECT)[0], 60)]


if __name__ == "__main__":
    harness.finish(main())
