"""Programs that a test starts in other processes and that never outlive it."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from helpers.leak_checks import KEY

_TESTS = Path(__file__).parents[1]
# Real seconds between a kill and the next start: the server is another process.
_DOWN_TIME = 0.2


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


class CrashingServer:
    """A server that is killed and started again several times.

    Args:
        every: Seconds between a start and a kill.
        times: The number of kills.
        settings: The options of the server.
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
        """The URL, which stays the same."""
        return f"http://127.0.0.1:{self._settings['port']}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._may_end.set()
        self._thread.join()

    def _run(self) -> None:
        for _ in range(self._times):
            with run_server(**self._settings):
                if self._may_end.wait(self._every):
                    return
            self.killed += 1
            self._may_end.wait(_DOWN_TIME)
        with run_server(**self._settings):
            self._may_end.wait()


def _words(settings: dict[str, object]) -> list[object]:
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _line_of(running: "subprocess.Popen[str]") -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()
