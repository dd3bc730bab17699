"""Progress on standard error: nothing, a line now and then, or a live view at a terminal."""

import asyncio
import contextlib
import logging
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TextIO

from sieve_async.cli.parser import redirect_to_null
from sieve_async.display import format_duration, shorten
from sieve_async.durable import DurableWatch
from sieve_async.models import JobStatus
from sieve_async.watch import JobWatch, PendingJob

LINE_INTERVAL = 30.0  # seconds
_FRAME_INTERVAL = 0.25  # seconds
_RATE_WINDOW = 500  # outcomes
_STATUS_ORDER = ("finished", "ready", "error", "cancelled")
_COLOURS = {"finished": "32", "error": "31", "cancelled": "33", "processing": "34"}  # of terminals
_GREY, _BOLD = "90", "1"
_MIN_COLUMNS, _MIN_ROWS = 40, 5  # a smaller terminal gets one line
_SLOWEST = ("slowest  ", *["         "] * 4)  # what stands before each of them
_MAX_LISTED = 5000  # of more pending jobs the slowest ones are not searched


class WatchStats:
    """How far a watch is, once there is one; the ids are None when they arrive one by one."""

    watch: JobWatch | DurableWatch | None = None

    def __init__(self, clock: Callable[[], float], job_ids: Iterable[str] | None) -> None:
        self._clock = clock
        self._started_at = clock()
        self.has_all_ids = job_ids is not None
        self.missing = dict.fromkeys(job_ids or ())  # ordered, and quick to remove from
        self._known: set[str] = set()
        self.ended = 0
        self._recent: deque[float] = deque(maxlen=_RATE_WINDOW)

    def add(self, job_id: str) -> None:
        """Record an id that has arrived; a repeated one changes nothing."""
        if job_id not in self._known:
            self._known.add(job_id)
            self.missing[job_id] = None

    def record(self, job_id: str) -> None:
        """Record an outcome."""
        self.missing.pop(job_id, None)
        self.ended += 1
        self._recent.append(self._clock())

    @property
    def share(self) -> float:
        """The part of the jobs that has ended."""
        return self.ended / max(self.ended + len(self.missing), 1)

    @property
    def duration(self) -> str:
        """How long it has been going."""
        return format_duration(self._clock() - self._started_at)

    def headline(self) -> str:
        """How many jobs have ended, how fast, and how long the rest may take."""
        parts = [f"{self._ended()} ended"]
        window = self._clock() - self._recent[0] if len(self._recent) >= 3 else 0.0
        if window > 0:
            rate = len(self._recent) / window  # per second
            parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min")
            if self.missing and self.has_all_ids:
                parts.append(f"about {format_duration(len(self.missing) / rate)} left")
        return ", ".join(parts)

    def summary(self) -> str:
        """The last line."""
        return self.with_counts(f"{self._ended()} jobs ended in {self.duration}")

    def counts(self) -> Mapping[str, int]:
        """How many jobs have each status, in the order in which they are shown."""
        counts = {} if self.watch is None else self.watch.counts()
        known = [status for status in _STATUS_ORDER if status in counts]
        ordered = [*known, *sorted(counts.keys() - {*known}, reverse=True)]
        return {status: counts[status] for status in ordered}

    def with_counts(self, text: str) -> str:
        """A line about the watch, and how many jobs have each status."""
        listed = [f"{count:,} {shorten(status)}" for status, count in self.counts().items()]
        return f"{text}: {', '.join(listed)}" if listed else text

    def slowest(self, count: int) -> list[PendingJob]:
        """The jobs that have been processing for the longest time; none of too many jobs."""
        if self.watch is None or len(self.missing) > _MAX_LISTED:
            return []
        processing = [job for job in self.watch.pending() if job.status is JobStatus.PROCESSING]
        return sorted(processing, key=lambda job: -job.elapsed)[:count]

    def _ended(self) -> str:
        total = self.ended + len(self.missing)
        return f"{self.ended:,} of {total:,}{'' if self.has_all_ids else '+'}"


class Progress:
    """Shows nothing but the lines that must be written."""

    interval = 3600.0  # seconds between two calls of show()
    lists_failures = False  # whether each failure may have a line

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, stats: WatchStats) -> None:
        """Show the state of the watch."""

    def note(self, text: str) -> None:
        """Write a line that belongs to the progress, such as the first and the last one."""

    def write_line(self, text: str) -> None:
        """Write a line in any case."""
        self._write(f"{text}\n")

    def clear(self) -> None:
        """Make room for other output."""

    def redraw(self) -> None:
        """Show again what was cleared."""

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BlockingIOError:
            pass
        except (OSError, ValueError):  # closed, its reader has gone, or a full disk
            with contextlib.suppress(OSError, ValueError):
                _discard(self._stream)


def _discard(stream: TextIO) -> None:
    """Discard what could not be written, or the exit code would be 120; later lines may succeed."""
    descriptor = stream.fileno()
    copy = os.dup(descriptor)
    try:
        redirect_to_null(stream)
        stream.flush()
    finally:
        os.dup2(copy, descriptor)
        os.close(copy)


class Lines(Progress):
    """Writes a line now and then, for logs."""

    interval = LINE_INTERVAL
    lists_failures = True

    def show(self, stats: WatchStats) -> None:
        """Write a line with the time."""
        self.note(stats.with_counts(stats.headline()))

    def note(self, text: str) -> None:
        """Write a line with the time."""
        self.write_line(f"{time.strftime('%H:%M:%S')}  {text}")


class LiveView(Progress):
    """Redraws a few lines at a terminal."""

    interval = _FRAME_INTERVAL

    def __init__(self, stream: TextIO, *, has_colours: bool) -> None:
        super().__init__(stream)
        self._has_colours = has_colours
        self._height = 0  # lines on the screen
        self._frame = ""

    def show(self, stats: WatchStats) -> None:
        """Draw the state of the watch."""
        columns, rows = self._size()
        width = columns - 1
        if columns < _MIN_COLUMNS or rows < _MIN_ROWS:
            self.draw_line(stats.with_counts(stats.headline()))
            return
        counted: list[tuple[str, str]] = []
        for status, count in stats.counts().items():
            counted += [(f"{shorten(status)} ", _COLOURS.get(status, _GREY))]
            counted += [(f"{count:,}  ", _BOLD)]
        slowest = [
            [(word, _GREY), (job.job_id, ""), (f"  {format_duration(job.elapsed)}", _GREY)]
            for word, job in zip(_SLOWEST, stats.slowest(rows - 4), strict=False)
        ]
        headline = [(f"{stats.headline()}, {stats.duration} so far", "")]
        lines = [[(_bar(stats.share, width), "")], headline, counted, *slowest]
        self.draw([self._paint(line, width) for line in lines])

    def draw_line(self, line: str) -> None:
        """Replace the lines on the screen by one, cut to its width."""
        self.draw([line[: self._size()[0] - 1]])

    def draw(self, lines: Sequence[str]) -> None:
        """Replace the lines on the screen."""
        self._frame = "\n".join(lines)
        self._write(f"{self._clearing()}{self._frame}")
        self._height = len(lines)

    def note(self, text: str) -> None:
        """Write it as any other line."""
        self.write_line(text)

    def write_line(self, text: str) -> None:
        """Write a line above the view."""
        was_shown = self._height > 0
        self.clear()
        self._write(f"{text}\n")
        if was_shown:
            self.redraw()

    def clear(self) -> None:
        """Remove the view."""
        if self._height:
            self._write(self._clearing())
            self._height = 0

    def redraw(self) -> None:
        """Draw the last view once more: results may come faster than frames."""
        if self._frame and not self._height:
            self._write(self._frame)
            self._height = self._frame.count("\n") + 1

    def _clearing(self) -> str:
        up = f"\x1b[{self._height - 1}A" if self._height > 1 else ""
        return f"\r{up}\x1b[J" if self._height else ""

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except OSError:
            size = shutil.get_terminal_size()
        return (size.columns or 80), (size.lines or 24)

    def _paint(self, line: Sequence[tuple[str, str]], width: int) -> str:
        """The pieces of a line, cut to a width, in their colours."""
        painted = ""
        for text, colour in line:
            piece = text[:width]
            width -= len(piece)
            painted += f"\x1b[{colour}m{piece}\x1b[0m" if colour and self._has_colours else piece
        return painted


def _bar(share: float, width: int) -> str:
    length = max(min(width, 60) - 2, 1)
    return f"[{'#' * int(share * length):-<{length}}]"


class DownloadBar:
    """Shows at a terminal how much of so many files was downloaded."""

    def __init__(self, progress: Progress, files: int) -> None:
        self._progress = progress
        self._files = files
        self._bytes: dict[str, tuple[int, int | None]] = {}
        self._drawn_at = 0.0

    def update(self, name: str, done: int, total: int | None) -> None:
        """Record the state of one file, and draw that of all when a frame is due."""
        self._bytes[name] = done, total
        now = time.monotonic()
        if isinstance(self._progress, LiveView) and now - self._drawn_at >= _FRAME_INTERVAL:
            self._drawn_at = now
            self._progress.draw_line(self.line())

    def line(self) -> str:
        """The state of all files."""
        complete = sum(done == total for done, total in self._bytes.values())
        received = sum(done for done, _ in self._bytes.values())
        line = f"{complete} of {self._files} files, {received / 1e6:,.1f} MB"
        sizes = [total for _, total in self._bytes.values() if total is not None]
        if len(sizes) < self._files or not sum(sizes):
            return line
        share = received / sum(sizes)
        return f"{_bar(share, 32)} {share:4.0%}  {line} of {sum(sizes) / 1e6:,.1f} MB"


def is_live(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether the stream is a terminal on which lines can be redrawn."""
    is_terminal = stream.isatty() and environment.get("TERM", "dumb") != "dumb"
    return is_terminal and environment.get("CI", "") in {"", "0", "false"}


def make_progress(environment: Mapping[str, str], *, is_wanted: bool) -> Progress:
    """The kind of progress that suits standard error."""
    if not is_wanted:
        return Progress(sys.stderr)
    if not is_live(sys.stderr, environment):
        return Lines(sys.stderr)
    return LiveView(sys.stderr, has_colours=not environment.get("NO_COLOR"))


class _LogHandler(logging.StreamHandler[TextIO]):  # a second one for SIEVE_LOG is not added then
    def __init__(self, progress: Progress) -> None:
        super().__init__(sys.stderr)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.write_line(f"sieve-async: {shorten(record.getMessage())}")


@contextlib.contextmanager
def log_to(progress: Progress, *, is_debugging: bool) -> Iterator[None]:
    """Write the library's log lines to the progress while the block runs."""
    logger = logging.getLogger("sieve_async")
    handlers, level, propagates = logger.handlers[:], logger.level, logger.propagate
    logger.handlers[:], logger.propagate = [_LogHandler(progress)], False
    if is_debugging:
        logger.setLevel(logging.DEBUG)
    elif logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.handlers[:], logger.propagate = handlers, propagates
        logger.setLevel(level)


@contextlib.asynccontextmanager
async def showing(progress: Progress, stats: WatchStats) -> AsyncIterator[None]:
    """Show the state of a watch again and again while the block runs."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(progress.interval)
            progress.show(stats)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        progress.clear()
