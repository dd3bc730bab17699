"""Programs that a test starts in other processes and that never outlive it."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from helpers.leak_checks import KEY

_TESTS = Path(__file__).parents[1]


@contextlib.contextmanager
def run_program(name: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Run a program of the folder `children`; it is killed at the end."""
    module = f"helpers.children.{name}"
    words = [sys.executable, "-W", "error", "-m", module, *map(str, arguments), "--key", KEY]
    with subprocess.Popen(  # noqa: S603 - a fixed command
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(_TESTS)},
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@contextlib.contextmanager
def run_server(**settings: object) -> Iterator[str]:
    """Run a server; yield its URL."""
    with run_program("serve", *_words(settings)) as running:
        yield _line_of(running)


def free_port() -> int:
    """A loopback port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def _words(settings: dict[str, object]) -> list[object]:
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _line_of(running: "subprocess.Popen[str]") -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()
