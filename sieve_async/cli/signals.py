"""Signals: the first one ends the command in order, the second one at once."""

import asyncio
import contextlib
import os
import signal
import threading
from typing import Self

from sieve_async.cli.output import Exit

_EXITS = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}
if hasattr(signal, "SIGHUP"):  # not on Windows
    _EXITS[signal.SIGHUP] = Exit.HANGUP
# Event loops on Windows have no signal handlers (NotImplementedError), and other threads than the
# main one must not set any (RuntimeError, ValueError): there Ctrl-C cancels the task by itself.
_NO_HANDLERS = (NotImplementedError, RuntimeError, ValueError)
_EXIT_TIMEOUT = 0.4  # seconds, for what cannot be cancelled: a host lookup in a thread, say


class Signals:
    """Cancels the task that enters it when a signal arrives.

    Signals that are ignored when the program starts (``nohup``, background jobs) stay ignored.

    Attributes:
        received: The signal that arrived, if any.
    """

    received: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._handled = [
            number for number in _EXITS if signal.getsignal(number) is not signal.SIG_IGN
        ]
        with contextlib.suppress(*_NO_HANDLERS):
            for number in self._handled:
                self._loop.add_signal_handler(number, self._receive, number)
        return self

    def __exit__(self, *_: object) -> None:
        self._remove_handlers()

    @property
    def exit_code(self) -> Exit:
        """The exit code after the signal."""
        return _EXITS.get(self.received or signal.SIGINT, Exit.INTERRUPTED)

    def exit_soon(self, code: Exit) -> None:
        """End the process soon, whatever its threads are doing."""
        timer = threading.Timer(_EXIT_TIMEOUT, os._exit, (int(code),))
        timer.daemon = True
        timer.start()

    def _receive(self, number: signal.Signals) -> None:
        self.received = number
        self._remove_handlers()
        if self._task is not None:
            self._task.cancel()

    def _remove_handlers(self) -> None:
        with contextlib.suppress(*_NO_HANDLERS):
            for number in self._handled:
                self._loop.remove_signal_handler(number)
