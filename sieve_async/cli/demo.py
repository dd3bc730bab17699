"""The main job on the embedded server: a real client waits for real jobs over real HTTP."""

import asyncio
import sys
import time
from datetime import UTC, datetime

import attrs

from sieve_async.client import SieveClient
from sieve_async.models import FunctionVersion, Job
from sieve_async.testing import FakeSieve, JobHandle

_JOBS = 50
_BUILDS = {"dubbing": "ready", "lipsync": "error"}
_HEADINGS = ("what", "ended as", "requests", "after", "seen", "")
_COLOURS = {"finished": "green", "ready": "green", "error": "red", "cancelled": "yellow"}


@attrs.frozen
class Row:
    """One line of the table, and whether it is what the script said."""

    cells: tuple[str, str, str, str, str, str]
    is_right: bool


async def demo(*, seed: int, speed: float) -> int:
    """Wait for 50 jobs and two builds; tell of each change, and print how they ended.

    Returns:
        0 when every outcome is what was scripted, 1 if not.
    """
    longest = 60 / min(speed, 1.0)
    async with FakeSieve(speed=speed) as sieve:
        jobs = sieve.add_jobs(_JOBS, seed=seed, restart_rate=0.1)
        for name, end in _BUILDS.items():
            sieve.add_version(
                "sieve",
                name,
                f"{name}-version",
                queued=0.5,
                building=2,
                pushing=1,
                ends="ready" if end == "ready" else "error",
            )
        async with SieveClient(sieve.api_key, base_url=sieve.url) as client:
            _tell(f"waiting for {len(jobs)} jobs and {len(_BUILDS)} builds at {sieve.url}")
            rows = await asyncio.gather(
                *(_watch_job(client, sieve, sieve.job(job_id), longest) for job_id in jobs),
                *(_watch_build(client, sieve, name, end, longest) for name, end in _BUILDS.items()),
            )
            stats = client.stats
    _print_table([_HEADINGS, *(row.cells for row in rows)])
    wrong = sum(not row.is_right for row in rows)
    print(
        f"{len(rows)} waits, {stats.requests} requests, at most {sieve.most_in_flight} in flight "
        f"over {sieve.connections} connections; {wrong or 'none'} ended otherwise than scripted"
    )
    return 1 if wrong else 0


async def _watch_job(
    client: SieveClient, sieve: FakeSieve, scripted: JobHandle, longest: float
) -> Row:
    def tell(job: Job) -> None:
        _tell(f"{job.id:16} {job.status}")

    job = await client.wait_for_job(scripted.id, timeout=longest, on_update=tell)
    note = ", ".join(str(file["url"]) for file in job.files())
    if job.restarts:
        note = f"restarted after {job.restarts[0].type}; {note}"
    if job.error is not None:
        note = job.error.strip().splitlines()[-1]
    took = (job.queued_for, job.ran_for)
    return Row(
        (
            job.id,
            job.status.value,
            str(sieve.requests_for(job.id)),
            _seconds(sum(part.total_seconds() for part in took if part is not None)),
            _seconds(_since(job.completed_at)),
            note,
        ),
        job.status == scripted.ends and len(job.restarts) == scripted.restarts,
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
        version.build_status == end,
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
