"""Run the fuzz targets: ``PYTHONPATH=tests python -m fuzz --seconds 300``.

Each target runs in a process of its own, by atheris. The failure and its input are printed;
``NAME --file FILE`` runs one input again.
"""

import argparse
import importlib
import importlib.util
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuzz.targets import Target

_MAX_LENGTH = 4096  # bytes
_MAX_MEMORY = 2048  # MiB
_MAX_SECONDS = 60  # for one input
_NAMES = ("models", "pages", "errors", "webhooks", "identifiers")


def main() -> None:
    """Run the targets that the command line names; all by default."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"targets: {', '.join(_NAMES)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (%(default)s)")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help="run one target on this file")
    options = parser.parse_args()
    if unknown := set(options.names) - set(_NAMES):
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}")
    if options.in_process:
        _fuzz(options.names[0], options.seconds)
    elif options.file:
        _load(options.names[0]).run(options.file.read_bytes())
    elif importlib.util.find_spec("atheris") is None:
        _write("NOT RUN: atheris is not installed")
    else:
        failed = [name for name in options.names or _NAMES if not _passes(name, options.seconds)]
        sys.exit(f"failed: {', '.join(failed)}" if failed else None)


def _passes(name: str, seconds: int) -> bool:
    """Run one target in a process of its own, because a fuzzer does not return."""
    command = [sys.executable, "-m", "fuzz", name, "--in-process", f"--seconds={seconds}"]
    _write(f"--- {name}")
    done = subprocess.run(  # noqa: S603 - this program
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    _write("\n".join(lines[-1:] if done.returncode == 0 else lines))
    return done.returncode == 0


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _load(name: str) -> "Target":
    from fuzz.targets import TARGETS  # noqa: PLC0415 - imported after the instrumentation

    return TARGETS[name]


def _fuzz(name: str, seconds: int) -> None:
    logging.disable()
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["sieve_async"]):
        target = _load(name)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            Path(corpus, f"{number}").write_bytes(seed)
        settings = {
            "max_total_time": seconds,
            "max_len": _MAX_LENGTH,
            "timeout": _MAX_SECONDS,
            "rss_limit_mb": _MAX_MEMORY,
            "artifact_prefix": f"{tempfile.gettempdir()}/{name}-",
            "verbosity": 1,
        }
        flags = [f"-{key}={value}" for key, value in settings.items()]
        atheris.Setup([sys.argv[0], *flags, corpus], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
