"""Ctrl-C and SIGTERM: the first ends the wait in order, the second at once."""

import asyncio
import contextlib
import os
import signal
import threading
from typing import Self

from sieve_async.cli.exits import Exit

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Loops on Windows have no signal handlers (NotImplementedError), and outside the main thread none
# may be set (RuntimeError, ValueError): there Ctrl-C cancels the task as it does without us.
_NO_HANDLERS = (NotImplementedError, RuntimeError, ValueError)
# For what cannot be hurried, such as a look-up of a host in a thread.
_GRACE = 0.4


class Interruption:
    """Cancels the task that makes it when a signal comes.

    Attributes:
        number: The signal that came; None for none.
    """

    number: int | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        with contextlib.suppress(*_NO_HANDLERS):
            for number in _SIGNALS:
                self._loop.add_signal_handler(number, self._come, number)
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    @property
    def exit_code(self) -> Exit:
        """The exit code after the signal."""
        return Exit.TERMINATED if self.number == signal.SIGTERM else Exit.INTERRUPTED

    def end_soon(self) -> None:
        """End the process in any case, whatever thread it would wait for."""
        timer = threading.Timer(_GRACE, os._exit, (int(self.exit_code),))
        timer.daemon = True
        timer.start()

    def _come(self, number: int) -> None:
        self.number = number
        self._give_back()
        if self._task is not None:
            self._task.cancel()

    def _give_back(self) -> None:
        with contextlib.suppress(*_NO_HANDLERS):
            for number in _SIGNALS:
                self._loop.remove_signal_handler(number)
