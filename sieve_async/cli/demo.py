"""The main job on the embedded server: a real client watches real jobs over real HTTP."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import attrs

from sieve_async.client import SieveClient
from sieve_async.config import Limits
from sieve_async.models import FunctionVersion
from sieve_async.testing import FakeSieve, JobHandle
from sieve_async.watching import JobOutcome, Strategy

_MOST_ROWS = 60
_BUILDS = {"dubbing": "ready", "lipsync": "error"}
_HEADINGS = ("what", "ended as", "requests", "after", "seen", "")
_COLOURS = {"finished": "green", "ready": "green", "error": "red", "cancelled": "yellow"}


@attrs.frozen
class Row:
    """One line of the table, whether it is what the script said, and how late it was seen."""

    cells: tuple[str, str, str, str, str, str]
    is_right: bool = attrs.field(kw_only=True)
    seen_after: float | None = None


async def demo(*, jobs: int, strategy: Strategy, seed: int, speed: float) -> int:
    """Watch jobs and two builds; tell of each as it ends, and print how they ended.

    Returns:
        0 when every outcome is what was scripted, 1 if not.
    """
    longest = 60 / min(speed, 1.0) + jobs / 50
    async with FakeSieve(speed=speed) as sieve:
        ids = sieve.add_jobs(jobs, seed=seed, restart_rate=0.1)
        scripted = {job_id: sieve.job(job_id) for job_id in ids}
        for name, end in _BUILDS.items():
            sieve.add_version(
                "sieve",
                name,
                f"{name}-version",
                queued=0.5,
                building=2,
                pushing=1,
                status="ready" if end == "ready" else "error",
            )
        limits = Limits(polls_per_second=None)  # nobody else needs this server
        async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
            _tell(f"watching {jobs} jobs and {len(_BUILDS)} builds at {sieve.url} ({strategy})")
            of_jobs, of_builds = await asyncio.gather(
                _watch_jobs(client, sieve, scripted, strategy, longest),
                _watch_builds(client, sieve, longest),
            )
            stats = client.stats
    rows = [*of_jobs, *of_builds]
    shown = rows if jobs <= _MOST_ROWS else of_builds
    _print_table([_HEADINGS, *(row.cells for row in shown)])
    _print_totals(of_jobs)
    wrong = sum(not row.is_right for row in rows)
    print(
        f"{len(rows)} waits, {stats.requests} requests, at most {sieve.max_in_flight} in flight "
        f"over {sieve.connections} connections; {wrong or 'none'} ended otherwise than scripted"
    )
    return 1 if wrong or len(of_jobs) != jobs else 0


async def _watch_jobs(
    client: SieveClient,
    sieve: FakeSieve,
    scripted: Mapping[str, JobHandle],
    strategy: Strategy,
    longest: float,
) -> list[Row]:
    rows = []
    async with client.as_completed(scripted, strategy=strategy, timeout=longest) as outcomes:
        async for outcome in outcomes:
            row = _row_of(outcome, scripted[outcome.job_id], sieve)
            _tell(f"{outcome.job_id:16} {row.cells[1]}")
            rows.append(row)
    return sorted(rows, key=lambda row: row.cells[0])


def _row_of(outcome: JobOutcome, scripted: JobHandle, sieve: FakeSieve) -> Row:
    requests = str(sieve.requests_for(outcome.job_id))
    job = outcome.job
    if job is None:
        return Row((outcome.job_id, "?", requests, "", "", str(outcome.error)), is_right=False)
    note = ", ".join(file.url for file in job.files)
    if job.restarts:
        note = f"restarted after {job.restarts[0].type}; {note}"
    if job.error is not None:
        note = job.error.strip().splitlines()[-1]
    took = (job.queue_duration, job.run_duration)
    seen_after = _since(job.completed_at)
    return Row(
        (
            job.id,
            job.status.value,
            requests,
            _seconds(sum(part.total_seconds() for part in took if part is not None)),
            _seconds(seen_after),
            note,
        ),
        is_right=job.status == scripted.final_status and len(job.restarts) == scripted.restarts,
        seen_after=seen_after,
    )


async def _watch_builds(client: SieveClient, sieve: FakeSieve, longest: float) -> list[Row]:
    return await asyncio.gather(
        *(_watch_build(client, sieve, name, end, longest) for name, end in _BUILDS.items())
    )


async def _watch_build(
    client: SieveClient, sieve: FakeSieve, name: str, end: str, longest: float
) -> Row:
    def tell(version: FunctionVersion) -> None:
        _tell(f"{version.id:16} {version.build_status}")

    started = time.monotonic()
    version = await client.wait_until_ready("sieve", name, timeout=longest, on_update=tell)
    return Row(
        (
            version.id,
            version.build_status.value,
            str(sieve.requests_for(version.id)),
            _seconds(time.monotonic() - started),
            _seconds(_since(version.ready_at)),
            f"sieve/{name}:latest",
        ),
        is_right=version.build_status == end,
    )


def _since(moment: datetime | None) -> float | None:
    """How long ago the server's end was: the delay with which we saw it."""
    return None if moment is None else (datetime.now(UTC) - moment).total_seconds()


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)


def _print_table(rows: list[tuple[str, ...]]) -> None:
    if sys.stdout.isatty() and _print_with_rich(rows):
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    print()


def _print_totals(rows: list[Row]) -> None:
    ends = Counter(row.cells[1] for row in rows)
    late = sorted(row.seen_after for row in rows if row.seen_after is not None)
    counts = ", ".join(f"{ends[end]} {end}" for end in _COLOURS if ends[end])
    if late:
        mean, most = sum(late) / len(late), late[int(len(late) * 0.95)]
        print(f"{counts}; ends were seen after {mean:.2f} s on average, 95 % within {most:.2f} s")


def _print_with_rich(rows: list[tuple[str, ...]]) -> bool:
    """Print the table in colours, when the [cli] extra is installed."""
    try:
        from rich.console import Console  # noqa: PLC0415 - it may not be there
        from rich.table import Table  # noqa: PLC0415 - as above
    except ImportError:
        return False
    table = Table(*rows[0], box=None)
    for row in rows[1:]:
        table.add_row(*row, style=_COLOURS.get(row[1]))
    Console().print(table)
    return True
