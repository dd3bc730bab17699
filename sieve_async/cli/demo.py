"""Commands on an embedded server: ``demo`` watches jobs over real HTTP, ``serve`` only serves."""

import asyncio
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import attrs

from sieve_async.cli.output import Exit, Printer, last_line, redirect_to_null
from sieve_async.cli.parser import Options
from sieve_async.cli.progress import Progress
from sieve_async.client import SieveClient
from sieve_async.config import Limits
from sieve_async.models import FunctionVersion
from sieve_async.outcomes import JobOutcome
from sieve_async.testing import FakeSieve, JobHandle
from sieve_async.watch import Strategy

_MAX_ROWS = 60  # more jobs are only counted
_BUILDS = {"dubbing": "ready", "lipsync": "error"}
_HEADINGS = ("job or version", "status", "requests", "duration", "delay", "")
_COLOURS = {"finished": "32", "ready": "32", "error": "31", "cancelled": "33"}  # of terminals


@attrs.frozen
class Row:
    """One line of the table.

    Attributes:
        cells: The texts.
        is_expected: Whether the outcome is the scripted one.
        delay: Seconds from the end of the job to its outcome.
    """

    cells: tuple[str, str, str, str, str, str]
    is_expected: bool = attrs.field(kw_only=True)
    delay: float | None = None


@attrs.frozen
class Demo:
    """What the parts of the demo work with.

    Attributes:
        client: The client.
        sieve: The server.
        progress: Takes a line for each change.
        timeout: Seconds after which the demo gives up.
        speed: How many times faster than ours the server's clock is.
        started_at: When both clocks were equal.
    """

    client: SieveClient
    sieve: FakeSieve
    progress: Progress
    timeout: float
    speed: float
    started_at: datetime

    async def watch_jobs(self, jobs: Mapping[str, JobHandle], strategy: Strategy) -> list[Row]:
        """Watch all jobs; a row for each."""
        rows = []
        async with self.client.as_completed(jobs, strategy=strategy, timeout=self.timeout) as watch:
            async for outcome in watch:
                rows.append(self._job_row(outcome, jobs[outcome.job_id]))
                self.progress.note(f"job {outcome.job_id}: {outcome.status}")
        return sorted(rows, key=lambda row: row.cells[0])

    def _job_row(self, outcome: JobOutcome, expected: JobHandle) -> Row:
        requests = str(self.sieve.requests_for(outcome.job_id))
        job = outcome.job
        if job is None:
            cells = (outcome.job_id, outcome.status, requests, "", "", str(outcome.error))
            return Row(cells, is_expected=False)
        note = ", ".join(file.url for file in job.files)
        if job.restarts:
            note = f"restarted after {job.restarts[0].type}; {note}"
        if job.error:
            note = last_line(job.error)
        durations = [part for part in (job.queue_duration, job.run_duration) if part is not None]
        duration = sum(part.total_seconds() for part in durations)
        delay = self._delay(job.completed_at)
        return Row(
            (job.id, job.status.value, requests, _seconds(duration), _seconds(delay), note),
            is_expected=(job.status, len(job.restarts))
            == (expected.final_status, expected.restarts),
            delay=delay,
        )

    async def watch_build(self, name: str) -> Row:
        """Wait for one build."""

        def report(version: FunctionVersion) -> None:
            self.progress.note(f"version {version.id}: {version.build_status}")

        started = time.monotonic()
        version = await self.client.wait_until_ready(
            "sieve", name, timeout=self.timeout, on_update=report
        )
        return Row(
            (
                version.id,
                version.build_status.value,
                str(self.sieve.requests_for(version.id)),
                _seconds((time.monotonic() - started) * self.speed),
                _seconds(self._delay(version.ready_at)),
                f"sieve/{name}:latest",
            ),
            is_expected=version.build_status == _BUILDS[name],
        )

    def _delay(self, ended_at: datetime | None) -> float | None:
        """Seconds since a time of the server's clock."""
        if ended_at is None:
            return None
        elapsed = datetime.now(UTC) - self.started_at
        return max((elapsed - (ended_at - self.started_at) / self.speed).total_seconds(), 0.0)


async def demo(options: Options, progress: Progress, strategy: Strategy) -> Exit:
    """Watch jobs and two builds, and print how they ended: 1 if not as scripted."""
    count = 50 if options.jobs is None else options.jobs
    timeout = 60 / min(options.speed, 1.0) + count / 50
    started_at = datetime.now(UTC)
    async with FakeSieve(speed=options.speed) as sieve:
        job_ids = sieve.add_jobs(count, seed=options.seed, restart_rate=0.1)
        jobs = {job_id: sieve.job(job_id) for job_id in job_ids}
        for name, status in _BUILDS.items():
            sieve.add_version(
                "sieve",
                name,
                f"{name}-version",
                queued=0.5,
                building=2,
                pushing=1,
                status="ready" if status == "ready" else "error",
            )
        limits = Limits(polls_per_second=None)  # the server has no other clients
        async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
            progress.note(
                f"watching {count} jobs and {len(_BUILDS)} builds at {sieve.url} "
                f"(strategy: {strategy})"
            )
            run = Demo(client, sieve, progress, timeout, options.speed, started_at)
            job_rows, build_rows = await asyncio.gather(
                run.watch_jobs(jobs, strategy), asyncio.gather(*map(run.watch_build, _BUILDS))
            )
            requests = client.stats.requests
    rows = [*job_rows, *build_rows]
    unexpected = sum(not row.is_expected for row in rows)
    printer = Printer("text")
    shown = rows if count <= _MAX_ROWS else build_rows
    _print_table(printer, [_HEADINGS, *(row.cells for row in shown)])
    printer.verbatim(
        f"{_totals(job_rows)}{len(rows)} waits, {requests} requests, at most "
        f"{sieve.max_in_flight} in flight over {sieve.connections} connections; "
        f"unexpected outcomes: {unexpected or 'none'}"
    )
    return Exit.FAILED if unexpected or len(job_rows) != count else Exit.OK


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


def _print_table(printer: Printer, rows: Sequence[tuple[str, ...]]) -> None:
    has_colours = printer.is_at_terminal and not os.environ.get("NO_COLOR")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if has_colours and row[1] in _COLOURS:
            cells[1] = f"\x1b[{_COLOURS[row[1]]}m{cells[1]}\x1b[0m"
        lines.append("  ".join(cells).rstrip())
    printer.verbatim("\n".join(["", *lines, "", ""]))


def _totals(rows: Sequence[Row]) -> str:
    counts = Counter(row.cells[1] for row in rows)
    delays = sorted(row.delay for row in rows if row.delay is not None)
    if not delays:
        return ""
    statuses = [*_COLOURS, *sorted(counts.keys() - _COLOURS)]
    listed = ", ".join(f"{counts[status]} {status}" for status in statuses if counts[status])
    mean, most = sum(delays) / len(delays), delays[int(len(delays) * 0.95)]
    return f"{listed}; outcomes came {mean:.2f} s after the end (95 %: within {most:.2f} s)\n"


async def serve(options: Options, progress: Progress) -> Exit:
    """Serve until a signal arrives, which is the ordinary end here."""
    async with FakeSieve(port=options.port, speed=options.speed) as sieve:
        count = 10 if options.jobs is None else options.jobs
        sieve.add_jobs(count, seed=options.seed, restart_rate=0.1)
        sieve.add_version("sieve", "dubbing", queued=1, building=5, pushing=2, deploying=2)
        variables = {
            "SIEVE_API_URL": sieve.url,
            "SIEVE_API_KEY": sieve.api_key,
            "SIEVE_SERVER_PID": str(os.getpid()),
        }
        for name, value in variables.items():
            Printer("text").verbatim(f"export {name}={shlex.quote(value)}")
        redirect_to_null(sys.stdout)  # $(...) ends when the pipe is closed
        progress.write_line(f"serving {count} jobs at {sieve.url}; stop with: kill {os.getpid()}")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            requests = len(sieve.requests)
            progress.write_line(f"served {requests} request{'s'[: requests != 1]}")
    return Exit.OK
