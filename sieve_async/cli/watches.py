"""Waiting for jobs, one or thousands: ``job wait`` and ``watch``."""

import asyncio
import shlex
import tempfile
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from sieve_async.cli.arguments import Options
from sieve_async.cli.exits import Exit, exit_of_many, exit_of_outcome, forgiven
from sieve_async.cli.lines import line_of_outcome
from sieve_async.cli.printer import Printer
from sieve_async.cli.progress import Progress, Showing
from sieve_async.cli.report import Report
from sieve_async.cli.sources import words_of_stdin
from sieve_async.cli.tally import Tally
from sieve_async.client import SieveClient
from sieve_async.watching import JobOutcome, Strategy

# So many ids fit into a command that somebody may want to copy.
_MOST_IN_COMMAND = 20


@attrs.define
class Watching:
    """One run of ``job wait`` or ``watch``.

    Attributes:
        options: What was typed.
        ids: The ids that are known from the start; None when they come by standard input.
        strategy: How to watch.
        printer: Takes the results.
        progress: Shows how it gets on.
    """

    options: Options
    ids: Sequence[str] | None
    strategy: Strategy
    printer: Printer
    progress: Progress
    tally: Tally = attrs.field(init=False)
    _codes: set[Exit] = attrs.field(factory=set, init=False)
    _report: Report | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.tally = Tally(asyncio.get_running_loop().time, self.ids)
        if self.options.report is not None:
            self._report = Report(began_at=datetime.now(UTC))

    async def run(self, client: SieveClient) -> Exit:
        """Watch until all have ended, or until one has with which the wait ends."""
        try:
            return await self._watch(client)
        except asyncio.CancelledError:
            self.progress.hide()
            self._say_how_to_go_on()
            raise
        finally:
            self._write_report()

    async def _watch(self, client: SieveClient) -> Exit:
        source = self._coming_ids() if self.ids is None else self.ids
        timeout = self.options.timeout
        outcomes = client.as_completed(source, timeout=timeout, strategy=self.strategy)
        async with (
            outcomes,
            Showing(self.progress, self.tally, outcomes.pending),
        ):
            with self.printer:
                async for outcome in outcomes:
                    self._take(outcome)
                    if self._is_enough(outcome):
                        return self._code(exit_of_outcome(outcome))
        return self._code(exit_of_many(self._codes))

    async def _coming_ids(self) -> AsyncIterator[str]:
        async for job_id in words_of_stdin():
            self.tally.expect(job_id)
            yield job_id
        self.tally.is_complete = True

    def _take(self, outcome: JobOutcome) -> None:
        self.tally.end(outcome)
        self._codes.add(exit_of_outcome(outcome))
        if self._report is not None:
            self._report.add(outcome)
        if self.progress.tells_failures and not outcome.ok:
            self.progress.tell(line_of_outcome(outcome))
        if not self.printer.is_at_terminal:
            self.printer.item(outcome, line_of_outcome(outcome))
            return
        self.progress.hide()
        self.printer.item(outcome, line_of_outcome(outcome))
        self.progress.show_again()

    def _is_enough(self, outcome: JobOutcome) -> bool:
        if self.options.any:
            return outcome.job is not None
        return self.options.fail_fast and not outcome.ok

    def _code(self, code: Exit) -> Exit:
        return forgiven(code) if self.options.no_fail else code

    def _write_report(self) -> None:
        if self._report is not None and self.options.report is not None:
            self._report.write(self.options.report, pending=self.tally.waiting)

    def _say_how_to_go_on(self) -> None:
        waiting = list(self.tally.waiting)
        if not waiting:
            return
        tell = self.progress.tell
        many = "job still runs" if len(waiting) == 1 else "jobs still run"
        if len(waiting) <= _MOST_IN_COMMAND:
            tell(f"{len(waiting)} {many}: {' '.join(waiting)}")
            words = waiting
        else:
            path = _written_down(waiting)
            tell(f"{len(waiting):,} {many}; their ids are in {path}")
            words = ["--ids-file", str(path)]
        tell(f"to go on waiting: {shlex.join([*self._same_command(words), *words])}")

    def _same_command(self, words: Sequence[str]) -> list[str]:
        """The command as it was typed, but for the ids."""
        given: list[tuple[str, object]] = [
            ("--timeout", self.options.timeout_text),
            ("--strategy", None if self.options.strategy == "poll" else self.options.strategy),
            ("-o", None if self.options.output == "text" else self.options.output),
            ("--report", self.options.report),
            ("--base-url", self.options.base_url),
            ("--key-file", self.options.key_file),
        ]
        flags = [
            f"--{name.replace('_', '-')}"
            for name in ("any", "fail_fast", "no_fail", "no_progress", "debug")
            if getattr(self.options, name)
        ]
        command = "watch" if words[0] == "--ids-file" else self.options.command
        typed = [word for name, value in given if value is not None for word in (name, str(value))]
        return ["sieve-async", *command.split(), *flags, *typed]


def _written_down(ids: Sequence[str]) -> Path:
    """A file with these ids that nobody else reads."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="sieve-async-", suffix=".ids", encoding="utf-8", delete=False
    ) as file:
        file.write("".join(f"{job_id}\n" for job_id in ids))
    return Path(file.name)
