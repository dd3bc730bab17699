"""Waiting for jobs, one or thousands: ``job wait`` and ``watch``."""

import asyncio
import codecs
import json
import os
import re
import shlex
import stat
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import attrs

from sieve_async.cli.output import (
    Exit,
    Printer,
    exit_of_many,
    exit_of_outcome,
    outcome_line,
)
from sieve_async.cli.parser import Options, accepted_options
from sieve_async.cli.progress import Progress, WatchStats, showing
from sieve_async.cli.report import Report
from sieve_async.client import SieveClient
from sieve_async.config import check_job_id
from sieve_async.durable import DurableWatch, WatchState
from sieve_async.errors import InvalidArgumentError
from sieve_async.outcomes import JobOutcome
from sieve_async.watch import JobWatch

_MAX_IDS_IN_COMMAND = 20  # more are put into a file
_RESUMED_OPTIONS = (
    *("any", "fail_fast", "exit_zero", "overwrite", "no_progress", "debug"),
    *("timeout", "rate", "strategy", "on_restart", "offset"),
    *("state", "format", "report", "base_url", "key_file"),
)
_CHUNK = 65536  # bytes
# An id or a comment. A byte order mark also stands between files that were joined.
_TOKEN = re.compile("#[^\r\n]*|[^\\s,;\\0\ufeff]+")


@attrs.define
class WatchRun:
    """One run of ``job wait`` or ``watch``; the ids are None when they come from standard input."""

    client: SieveClient
    options: Options
    job_ids: Sequence[str] | None
    printer: Printer
    progress: Progress
    _stats: WatchStats = attrs.field(init=False)
    _codes: set[Exit] = attrs.field(factory=set, init=False)
    _report: Report = attrs.field(factory=lambda: Report(datetime.now(UTC)), init=False)
    _lists_failures: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._stats = WatchStats(asyncio.get_running_loop().time, self.job_ids)
        self._lists_failures = self.progress.lists_failures and _results_go_to_a_file()

    async def run(self) -> Exit:
        """Watch until all jobs have ended, or one that ends the watch."""
        if self.options.report is not None:
            with checking_target("--report", self.options.report):
                _check_file(self.options.report)
        try:
            code = await self._watch()
        except asyncio.CancelledError:
            self.progress.note(self._stats.summary())
            self._print_resume_line()
            raise
        else:
            self.progress.note(self._stats.summary())
            return code
        finally:
            if self.options.report is not None:
                page = self._report.page(datetime.now(UTC), pending=self._stats.missing)
                # In a thread: a fifo keeps the writer waiting until it has a reader.
                await asyncio.to_thread(_write_in_place, self.options.report, page)

    async def _watch(self) -> Exit:
        async with AsyncExitStack() as stack:
            watch = await self._open(stack)
            self._stats.watch = watch
            await stack.enter_async_context(watch)
            await stack.enter_async_context(showing(self.progress, self._stats))
            with self.printer:
                async for outcome in watch:
                    self._record(outcome)
                    if self._is_last(outcome):
                        if isinstance(watch, DurableWatch) and outcome.is_final:
                            async with watch.acknowledging(outcome):  # it was printed
                                pass
                        return exit_of_outcome(outcome)
        if not self._stats.has_all_ids:  # the time was over before standard input
            self._codes.add(Exit.TIMEOUT)
        return exit_of_many(self._codes)

    async def _open(self, stack: AsyncExitStack) -> JobWatch | DurableWatch:
        """Make the watch, and write the first line."""
        options = self.options
        timeout, strategy = options.timeout, options.strategy
        if options.state is not None:
            clock = asyncio.get_running_loop().time
            deadline = None if timeout is None else clock() + timeout
            state = await stack.enter_async_context(WatchState.open(options.state))
            await self._store_ids(state, deadline if timeout else None)
            timeout = None if deadline is None else max(0.0, deadline - clock())
            has_all_ids = self._stats.has_all_ids
            self._stats = WatchStats(clock, await state.pending())
            self._stats.has_all_ids = has_all_ids
            self._note_start(f"{_jobs(len(self._stats.missing))} of {state.path}")
            return self.client.resume(state, timeout=timeout, strategy=strategy)
        source = self._arriving_ids() if self.job_ids is None else self.job_ids
        known = "jobs from standard input" if self.job_ids is None else _jobs(len(self.job_ids))
        self._note_start(known)
        return self.client.as_completed(source, timeout=timeout, strategy=strategy)

    async def _store_ids(self, state: WatchState, deadline: float | None) -> None:
        """Add the ids; of standard input those that have come, however reading it ends."""
        job_ids = [*(self.job_ids or ())]
        try:
            if self.job_ids is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        async for job_id in self._arriving_ids():
                            job_ids.append(check_job_id(job_id))  # noqa: PERF401 - it may be interrupted
        finally:
            await state.add(job_ids)

    def _note_start(self, what: str) -> None:
        self.progress.note(f"watching {what} (strategy: {self.options.strategy})")

    async def _arriving_ids(self) -> AsyncIterator[str]:
        async for job_id in read_stdin_ids():
            self._stats.add(job_id)
            yield job_id
        self._stats.has_all_ids = True

    def _record(self, outcome: JobOutcome) -> None:
        self._stats.record(outcome.job_id)
        self._codes.add(exit_of_outcome(outcome))
        if self.options.report is not None:
            self._report.add(outcome)
        line = outcome_line(outcome)
        if self._lists_failures and not outcome.ok:
            self.progress.note(line)
        if self.printer.is_at_terminal:
            self.progress.clear()
        self.printer.item(outcome, line)
        if self.printer.is_at_terminal:
            self.progress.redraw()

    def _is_last(self, outcome: JobOutcome) -> bool:
        if self.options.any:
            return outcome.job is not None
        return self.options.fail_fast and not outcome.ok

    def _print_resume_line(self) -> None:
        missing, command = list(self._stats.missing), self.options.command
        if not missing or command == "demo":
            return
        jobs, words = f"{_jobs(len(missing))} still pending", missing
        if self.options.state is not None:
            words = []
        elif len(missing) > _MAX_IDS_IN_COMMAND and (path := _save_ids(missing)):
            jobs = f"{jobs}; their ids are in {path}"
            command, words = "watch", ["--ids-file", path]
        else:
            jobs = f"{jobs}: {' '.join(missing)}"
        self.progress.write_line(jobs)
        self.progress.write_line(resume_line(self.options, words, command=command))


def _jobs(count: int) -> str:
    return f"{count:,} job{'s'[: count != 1]}"


def resume_line(options: Options, words: Sequence[str], *, command: str | None = None) -> str:
    """The line that shows the command, by default the interrupted one, which continues a wait."""
    command = command or options.command
    accepted = accepted_options(command)
    line = ["sieve-async", *command.split()]
    for name in _RESUMED_OPTIONS:
        option, value = f"--{name.replace('_', '-')}", getattr(options, name)
        if option not in accepted or value == getattr(Options, name):
            continue
        if value is True:
            line.append(option)
            continue
        text = f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        line += [f"{option}={text}"] if text.startswith("-") else [option, text]
    return f"resume with: {shlex.join([*line, *words])}"


def _results_go_to_a_file() -> bool:
    """Whether standard output is not shown, so that failures are worth a line elsewhere.

    Two pipes may end in one log, where each failure must stand only once.
    """
    try:
        output, errors = os.fstat(sys.stdout.fileno()), os.fstat(sys.stderr.fileno())
        null = Path(os.devnull).stat()
    except (OSError, ValueError):
        return False
    is_file = stat.S_ISREG(output.st_mode) or os.path.samestat(output, null)
    return is_file and not os.path.samestat(output, errors)


@contextmanager
def checking_target(option: str, path: Path) -> Iterator[None]:
    """Refuse a place that cannot be written to: after the wait it would be too late."""
    try:
        yield
    except OSError as error:
        reason = f"argument {option}: cannot write {path}: {error.strerror}"
        raise InvalidArgumentError(reason) from None


def _check_file(path: Path) -> None:
    """Raise OSError if a file cannot be written, and leave everything as it was."""
    if path.is_fifo():  # opening it waits for a reader
        return
    existed = path.exists()
    with path.open("ab"):
        pass
    if not existed:
        path.resolve().unlink()


def _write_in_place(path: Path, text: str) -> None:
    """Write a file of any kind: links are followed, and the mode stays as it is."""
    for stream in (1, 2):
        # /dev/stdout, say: opening a file once more would overwrite what it holds already.
        with suppress(OSError):
            if os.path.samestat(os.fstat(stream), path.stat()):
                with os.fdopen(os.dup(stream), "w", encoding="utf-8") as file:
                    file.write(text)
                return
    path.write_text(text, "utf-8")


def _save_ids(job_ids: Sequence[str]) -> str | None:
    """A file with these ids that only this user can read; None if it cannot be written."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="sieve-async-", suffix=".ids")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(f"{job_id}\n" for job_id in job_ids)
    except OSError:
        return None
    return path


def known_ids(options: Options) -> list[str] | None:
    """The ids that are known from the start, each once; None when they come from standard input."""
    job_ids = [*options.job_ids]
    if job_ids == ["-"]:
        return None
    if options.ids_file is not None:
        job_ids += parse_ids(options.ids_file.read_bytes())
    return list(dict.fromkeys(job_ids))


def parse_ids(data: bytes) -> list[str]:
    """The ids in a text of any usual encoding; what is no id is refused by the client."""
    return _split_ids(data.decode(json.detect_encoding(data), "replace") + "\n")[0]


async def read_stdin_ids() -> AsyncIterator[str]:
    """The ids that come by standard input, as they come.

    They are read in a daemon thread: at a terminal a read may never end.
    """
    chunks: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
    loop = asyncio.get_running_loop()
    threading.Thread(target=_read, args=(sys.stdin.fileno(), chunks, loop), daemon=True).start()
    decoder: codecs.IncrementalDecoder | None = None
    start, text, is_over = b"", "", False
    while not is_over:
        chunk = await chunks.get()
        is_over = not chunk
        if decoder is None:
            start += chunk
            is_plain = start.endswith(b"\n") and 0 not in start and start.isascii()
            if not (is_over or is_plain or len(start) >= 4):  # the encoding does not show yet
                continue
            decoder = codecs.getincrementaldecoder(json.detect_encoding(start))("replace")
            chunk = start
        text += decoder.decode(chunk, final=is_over) + "\n" * is_over
        job_ids, text = _split_ids(text)
        for job_id in job_ids:
            yield job_id


def _split_ids(text: str) -> tuple[list[str], str]:
    """The complete ids in a text, and its end, which may be cut off."""
    tokens = list(_TOKEN.finditer(text))
    rest = tokens.pop()[0] if tokens and tokens[-1].end() == len(text) else ""
    return [token[0] for token in tokens if not token[0].startswith("#")], rest


def _read(descriptor: int, chunks: "asyncio.Queue[bytes]", loop: asyncio.AbstractEventLoop) -> None:
    chunk = b"?"
    while chunk:
        try:
            chunk = os.read(descriptor, _CHUNK)
        except OSError:
            chunk = b""  # a terminal that has gone
        putting = chunks.put(chunk)
        try:
            asyncio.run_coroutine_threadsafe(putting, loop).result()
        except (RuntimeError, CancelledError):  # the loop is closed, or the command interrupted
            putting.close()
            return


async def show_state(options: Options, progress: Progress) -> Exit:
    """Print what a state file holds; nothing is sent."""
    assert options.state is not None  # noqa: S101 - checked with the arguments
    async with WatchState.open(options.state, read_only=True) as state:
        counts = await state.counts()
        with Printer(options.format) as printer:
            async for outcome in state.outcomes():
                printer.item(outcome, outcome_line(outcome))
            for job_id in await state.pending():
                document = {"job_id": job_id, "ok": False, "status": "pending"}
                printer.item(document, f"{job_id}  pending")
    ended = counts.ended + counts.acknowledged
    progress.note(f"{_jobs(counts.pending + ended)} of {options.state}: {ended:,} ended")
    return Exit.OK
