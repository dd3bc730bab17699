"""How long importing the client takes, over the imports that it cannot do without.

Each import runs in an interpreter of its own, the contenders take turns, and processor time counts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.comparing import at_most, in_a_line, judged, middle, table, versions

_ROOT = Path(__file__).parent.parent
_YARDSTICK = "import aiohttp, attrs"
_SUBJECT = "from sieve_async import SieveClient"
# cattrs is imported and its hooks are built only when the first answer comes.
_FIRST_ANSWER = """
from sieve_async import SieveClient, endpoints
from sieve_async.decode import parse_model
from sieve_async.messages import Response
answer = Response(200, (), b'{"id": "a", "status": "queued", "function": {}}', str)
parse_model(endpoints.get_job("a"), answer)
"""
_CONTENDERS = {
    _YARDSTICK: _YARDSTICK,
    "the same once more": _YARDSTICK,
    _SUBJECT: _SUBJECT,
    f"{_SUBJECT}, and decode a first answer": _FIRST_ANSWER,
}
_PACKAGES = ("sieve-async", "aiohttp", "attrs", "cattrs")
_PROGRAM = """
import sys, time
before = len(sys.modules)
started = time.process_time()
{statement}
print(time.process_time() - started, len(sys.modules) - before)
"""


@attrs.frozen
class Import:
    """What a statement has taken in a fresh interpreter."""

    milliseconds: float
    modules: int


def perform(statement: str, bytecode: str) -> Import:
    """Run a statement in a fresh interpreter, which finds and leaves bytecode in this folder."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(  # noqa: S603 - nothing in it comes from outside
        [sys.executable, "-c", _PROGRAM.format(statement=statement)],
        cwd=_ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, modules = done.stdout.split()
    return Import(1000 * float(seconds), int(modules))


def report(found: Mapping[str, Sequence[Import]]) -> str:
    """The table, with what each takes more than the yardstick, and whether the target is met."""
    rows = [("in a fresh interpreter", "CPU ms", "more", "middle 80 %", "modules", "more")]
    least = found[_YARDSTICK]
    for name, imports in found.items():
        took, _, _ = middle([one.milliseconds for one in imports])
        more, low, high = _more(found, name)
        modules = imports[0].modules
        rows.append(
            (
                name,
                f"{took:.0f}",
                f"{more:+.0f}",
                f"{low:+.0f} to {high:+.0f}",
                f"{modules}",
                f"{modules - least[0].modules:+}",
            )
        )
    subject = f"{_SUBJECT}: ms over {_YARDSTICK}"
    verdict = at_most(subject, _more(found, _SUBJECT)[0], 40)
    return f"{table(rows)}\n{judged([verdict])}"


def _more(found: Mapping[str, Sequence[Import]], name: str) -> tuple[float, float, float]:
    pairs = zip(found[name], found[_YARDSTICK], strict=True)
    return middle([mine.milliseconds - least.milliseconds for mine, least in pairs])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size, to see that it runs")
    rounds = 1 if parser.parse_args(arguments).quick else 15
    found: dict[str, list[Import]] = {name: [] for name in _CONTENDERS}
    with tempfile.TemporaryDirectory() as bytecode:
        for number in range(-1, rounds):
            for name, imports in found.items():
                took = perform(_CONTENDERS[name], bytecode)
                if number >= 0:  # the round before the first one compiles, as installers do
                    imports.append(took)
    print(in_a_line(versions(_PACKAGES)))
    print(report(found))


if __name__ == "__main__":
    main()
