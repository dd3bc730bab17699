"""Programs that a test starts beside itself, and that never outlive it."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from faults.closed_world import KEY

_TESTS = Path(__file__).parents[1]
# Seconds in which nobody listens; real ones, for the server is another process.
_AWAY = 0.2


@contextlib.contextmanager
def program(name: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Run a program of the folder of children; at the end it is killed, whatever has happened."""
    module = f"faults.children.{name}"
    words = [sys.executable, "-W", "error", "-m", module, *map(str, arguments), "--key", KEY]
    with subprocess.Popen(  # noqa: S603 - our own words
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
def server(**settings: object) -> Iterator[str]:
    """Run a server, and say where it is."""
    with program("serving", *_words(settings)) as running:
        yield _line_of(running)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


class KilledAgainAndAgain:
    """A server that is killed every so often and started again; at the end it stays.

    Args:
        every: Seconds from when it serves to when it is killed.
        times: How often it is killed.
        settings: What it is started with.
    """

    def __init__(self, every: float, times: int, **settings: object) -> None:
        self.killed = 0
        self._every = every
        self._times = times
        self._settings = {"port": free_port()} | settings
        self._may_end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def url(self) -> str:
        """Where it is, and will be again."""
        return f"http://127.0.0.1:{self._settings['port']}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._may_end.set()
        self._thread.join()

    def _run(self) -> None:
        for _ in range(self._times):
            with server(**self._settings):
                if self._may_end.wait(self._every):
                    return
            self.killed += 1
            self._may_end.wait(_AWAY)
        with server(**self._settings):
            self._may_end.wait()


def _words(settings: dict[str, object]) -> list[object]:
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _line_of(running: "subprocess.Popen[str]") -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()
