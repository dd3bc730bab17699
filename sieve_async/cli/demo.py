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
from sieve_async.cli.values import file_urls, status_of
from sieve_async.client import SieveClient
from sieve_async.config import Limits
from sieve_async.models import FunctionVersion
from sieve_async.testing import FakeSieve, JobHandle
from sieve_async.watching import JobOutcome, Strategy

_MAX_ROWS = 60  # more jobs are only counted
_BUILDS = {"dubbing": "ready", "lipsync": "error"}
_HEADINGS = ("job or version", "status", "requests", "duration", "delay", "")
_COLOURS = {"finished": "green", "ready": "green", "error": "red", "cancelled": "yellow"}


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


async def demo(options: Options, progress: Progress, strategy: Strategy) -> Exit:
    """Watch jobs and two builds, and print how they ended: 1 if not as scripted."""
    count = 50 if options.jobs is None else options.jobs
    timeout = 60 / min(options.speed, 1.0) + count / 50
    printer = Printer("text")
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
            job_rows, build_rows = await asyncio.gather(
                _watch_jobs(client, sieve, jobs, strategy, timeout, progress),
                asyncio.gather(
                    *(_watch_build(client, sieve, name, timeout, progress) for name in _BUILDS)
                ),
            )
            requests = client.stats.requests
    rows = [*job_rows, *build_rows]
    shown = rows if count <= _MAX_ROWS else build_rows
    _print_table(printer, [_HEADINGS, *(row.cells for row in shown)])
    unexpected = sum(not row.is_expected for row in rows)
    printer.verbatim(
        f"{_totals(job_rows)}{len(rows)} waits, {requests} requests, at most "
        f"{sieve.max_in_flight} in flight over {sieve.connections} connections; unexpected outcomes: {unexpected or 'none'}"
    )
    return Exit.FAILED if unexpected or len(job_rows) != count else Exit.OK


async def _watch_jobs(
    client: SieveClient,
    sieve: FakeSieve,
    jobs: Mapping[str, JobHandle],
    strategy: Strategy,
    timeout: float,  # noqa: ASYNC109 - it is handed on
    progress: Progress,
) -> list[Row]:
    rows = []
    async with client.as_completed(jobs, strategy=strategy, timeout=timeout) as watch:
        async for outcome in watch:
            row = _job_row(outcome, jobs[outcome.job_id], sieve)
            progress.note(f"job {outcome.job_id}: {row.cells[1]}")
            rows.append(row)
    return sorted(rows, key=lambda row: row.cells[0])


def _job_row(outcome: JobOutcome, expected: JobHandle, sieve: FakeSieve) -> Row:
    requests = str(sieve.requests_for(outcome.job_id))
    job = outcome.job
    if job is None:
        cells = (outcome.job_id, status_of(outcome), requests, "", "", str(outcome.error))
        return Row(cells, is_expected=False)
    note = ", ".join(file_urls(job))
    if job.restarts:
        note = f"restarted after {job.restarts[0].type}; {note}"
    if job.error:
        note = last_line(job.error)
    durations = [part for part in (job.queue_duration, job.run_duration) if part is not None]
    duration = sum(part.total_seconds() for part in durations)
    delay = _since(job.completed_at)
    return Row(
        (job.id, job.status.value, requests, _seconds(duration), _seconds(delay), note),
        is_expected=job.status == expected.ends and len(job.restarts) == expected.restarts,
        delay=delay,
    )


async def _watch_build(
    client: SieveClient,
    sieve: FakeSieve,
    name: str,
    timeout: float,  # noqa: ASYNC109 - it is handed on
    progress: Progress,
) -> Row:
    def report(version: FunctionVersion) -> None:
        progress.note(f"version {version.id}: {version.build_status}")

    started = time.monotonic()
    version = await client.wait_until_ready("sieve", name, timeout=timeout, on_update=report)
    return Row(
        (
            version.id,
            version.build_status.value,
            str(sieve.requests_for(version.id)),
            _seconds(time.monotonic() - started),
            _seconds(_since(version.ready_at)),
            f"sieve/{name}:latest",
        ),
        is_expected=version.build_status == _BUILDS[name],
    )


def _since(moment: datetime | None) -> float | None:
    return None if moment is None else (datetime.now(UTC) - moment).total_seconds()


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


def _print_table(printer: Printer, rows: Sequence[tuple[str, ...]]) -> None:
    if printer.is_at_terminal and _print_with_rich(rows):
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    printer.verbatim("\n".join(["", *lines, "", ""]))


def _print_with_rich(rows: Sequence[tuple[str, ...]]) -> bool:
    """Print the table in colours; False without rich."""
    try:
        from rich.console import Console  # noqa: PLC0415 - an optional dependency
        from rich.table import Table  # noqa: PLC0415
    except ImportError:
        return False
    table = Table(*rows[0], box=None)
    for row in rows[1:]:
        table.add_row(*row, style=_COLOURS.get(row[1]))
    Console().print(table)
    return True


def _totals(rows: Sequence[Row]) -> str:
    counts = Counter(row.cells[1] for row in rows)
    delays = sorted(row.delay for row in rows if row.delay is not None)
    if not delays:
        return ""
    listed = ", ".join(f"{count} {status}" for status, count in counts.most_common())
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
