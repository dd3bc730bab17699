"""Run the targets, each for some seconds: ``PYTHONPATH=tests python -m faults.fuzz --seconds 300``.

Each runs in a process of its own: by atheris, which finds its way by the branches that it sees
taken, or where that is not installed by mutations at random, which at least come in great numbers.
What a target fails with is printed, and the bytes that did it are kept in a file.
"""

import argparse
import importlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.fuzz.targets import Target

_MOST_MEMORY = 2048  # MiB
_LONGEST_RUN = 60  # seconds for one input
_INSTRUMENTED = ["sieve_async", "faults.fuzz.documents"]
_NAMES = (
    *("json_bodies", "good_answers", "pages", "error_answers", "pauses", "identifiers"),
    "large_bodies",
)


def main() -> None:
    """Run what the command line names, or all of it."""
    parser = argparse.ArgumentParser(prog="python -m faults.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(_NAMES)}; all by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (%(default)s)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help="run one target once, over these bytes")
    options = parser.parse_args()
    if unknown := set(options.names) - set(_NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if options.here:
        _fuzz(options.names[0], options.seconds)
    elif options.file:
        _load(options.names[0]).run(options.file.read_bytes())
    else:
        failed = [name for name in options.names or _NAMES if not _passes(name, options.seconds)]
        sys.exit(f"failed: {', '.join(failed)}" if failed else None)


def _passes(name: str, seconds: int) -> bool:
    """Run one target in a process of its own, since a fuzzer never comes back."""
    command = [sys.executable, "-m", "faults.fuzz", name, "--here", f"--seconds={seconds}"]
    _say(f"--- {name}")
    done = subprocess.run(  # noqa: S603 - this very program
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    _say("\n".join(lines[-1:] if done.returncode == 0 else lines))
    return done.returncode == 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _load(name: str) -> "Target":
    from faults.fuzz.targets import TARGETS  # noqa: PLC0415 - not before it can be instrumented

    return TARGETS[name]


def _fuzz(name: str, seconds: int) -> None:
    if importlib.util.find_spec("atheris") is None:
        _mutate(_load(name), seconds)
        return
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=_INSTRUMENTED):
        target = _load(name)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            Path(corpus, f"{number}").write_bytes(seed)
        settings = {
            "max_total_time": seconds,
            "max_len": target.longest,
            "timeout": _LONGEST_RUN,
            "rss_limit_mb": _MOST_MEMORY,
            "artifact_prefix": f"{tempfile.gettempdir()}/{name}-",
            "verbosity": 1,
        }
        flags = [f"-{key}={value}" for key, value in settings.items()]
        atheris.Setup([sys.argv[0], *flags, corpus], target.run)
        atheris.Fuzz()


def _mutate(target: "Target", seconds: int) -> None:
    draws, until, runs = random.Random(), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = _mutation(draws, target)
        try:
            target.run(data)
        except BaseException:
            _say(f"failed with {data!r}")
            raise
        runs += 1
    _say(f"{runs} runs at random: atheris is not installed")


def _mutation(draws: random.Random, target: "Target") -> bytes:
    """Two seeds crossed, with a few bytes changed."""
    first, second = draws.choices(target.seeds, k=2)
    cut = draws.randint(0, len(first))
    data = bytearray(first[:cut] + second[draws.randint(0, len(second)) :])[: target.longest]
    for _ in range(draws.randint(0, 8)):
        place = draws.randint(0, len(data))
        data[place : place + draws.randint(0, 2)] = draws.randbytes(draws.randint(0, 2))
    return bytes(data)


if __name__ == "__main__":
    main()
