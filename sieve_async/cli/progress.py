"""How a watch gets on, on standard error: silent, in lines, or live."""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TextIO

from sieve_async.cli.tally import Running, Tally
from sieve_async.messages import shorten

# Seconds from one line to the next, and from one picture to the next.
LINE_PAUSE = 30.0
_FRAME_PAUSE = 0.25

StillRunning = Callable[[], list[Running]]


class Progress(Protocol):
    """Shows how a watch gets on.

    Attributes:
        pause: How many seconds from one ``show()`` to the next.
        tells_failures: Whether failures are told one by one.
    """

    pause: float
    tells_failures: bool

    def show(self, tally: Tally, running: list[Running]) -> None:
        """Show how it gets on."""

    def tell(self, text: str) -> None:
        """Write one line that stays."""

    def hide(self) -> None:
        """Make room for something else to be written."""

    def show_again(self) -> None:
        """Show what was hidden, after something else was written."""


class Silence:
    """Shows nothing; what must be said is said all the same."""

    pause = 3600.0
    tells_failures = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, tally: Tally, running: list[Running]) -> None:
        """Show nothing."""

    def tell(self, text: str) -> None:
        """Write one line."""
        write(self._stream, f"{text}\n")

    def hide(self) -> None:
        """There is nothing to hide."""

    def show_again(self) -> None:
        """And nothing to show again."""


class Lines(Silence):
    """One line now and then, and one for each failure: for logs."""

    pause = LINE_PAUSE
    tells_failures = True

    def show(self, tally: Tally, running: list[Running]) -> None:
        """Write a line with the time of the day."""
        self.tell(f"{time.strftime('%H:%M:%S')}  {tally.line(running)}")


def write(stream: TextIO, text: str) -> None:
    """Write to standard error, which may be closed or have lost its reader."""
    with contextlib.suppress(OSError, ValueError):
        stream.write(text)
        stream.flush()


def is_live(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether lines can be written over and over."""
    is_terminal = stream.isatty() and environment.get("TERM", "dumb") != "dumb"
    return is_terminal and environment.get("CI", "") in {"", "0", "false"}


def progress_for(
    environment: Mapping[str, str], *, is_wanted: bool, stream: TextIO | None = None
) -> Progress:
    """The way of showing that suits the terminal, or the lack of one."""
    stream = sys.stderr if stream is None else stream
    if not is_wanted:
        return Silence(stream)
    if not is_live(stream, environment):
        return Lines(stream)
    from sieve_async.cli.live import Live  # noqa: PLC0415 - rich takes long to load

    return Live(stream, has_colours=not environment.get("NO_COLOR"), pause=_FRAME_PAUSE)


class Notes(logging.Handler):
    """Tells what the library logs, without disturbing the picture."""

    def __init__(self, progress: Progress, level: int) -> None:
        super().__init__(level)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self._progress.tell(f"sieve-async: {shorten(record.getMessage())}")


@contextlib.contextmanager
def noting(progress: Progress, *, is_debugging: bool) -> Iterator[None]:
    """Tell what the library logs while the block runs."""
    logger = logging.getLogger("sieve_async")
    handler = Notes(progress, logging.DEBUG if is_debugging else logging.WARNING)
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    if is_debugging:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


class Showing:
    """Shows how a watch gets on, again and again, until its block is left.

    Args:
        progress: The way of showing.
        tally: What has ended.
        pending: Tells what has not.
    """

    def __init__(self, progress: Progress, tally: Tally, pending: StillRunning) -> None:
        self._progress = progress
        self._tally = tally
        self._still_running = pending

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._repeat())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._progress.hide()

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(self._progress.pause)
            self._progress.show(self._tally, self._still_running())
