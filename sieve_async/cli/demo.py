"""Commands on an embedded server: ``demo`` runs jobs over real HTTP, ``serve`` only serves."""

import asyncio
import os
import random
import shlex
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sieve_async.cli.output import Exit, Printer, redirect_to_null
from sieve_async.cli.parser import Options
from sieve_async.cli.progress import Progress
from sieve_async.cli.watch import WatchRun
from sieve_async.client import SieveClient
from sieve_async.config import Limits
from sieve_async.models import FunctionVersion
from sieve_async.outcomes import JobOutcome
from sieve_async.testing import FakeSieve

_FUNCTIONS = 10  # of the demo: one fails, one is cancelled, one restarts
_BUILDS: dict[str, Literal["ready", "error"]] = {"dubbing": "ready", "lipsync": "error"}
_VIDEO = b"\0" * 1_000_000


class _Recorder(Printer):
    """Prints outcomes, and keeps them with the time at which they came."""

    def __init__(self) -> None:
        super().__init__("text")
        self.outcomes: list[tuple[datetime, JobOutcome]] = []

    def item(self, value: object, text: str) -> None:
        if isinstance(value, JobOutcome):
            self.outcomes.append((datetime.now(UTC), value))
        super().item(value, text)


async def demo(options: Options, progress: Progress) -> Exit:
    """Start jobs, wait for them and for two builds, and download a file: 1 if not as scripted."""
    started_at = datetime.now(UTC)
    options.timeout = 60 / min(options.speed, 1.0) + options.jobs / 50
    async with FakeSieve(speed=options.speed) as sieve:
        _script(sieve, options.seed)
        limits = Limits(polls_per_second=None)  # the server has no other clients
        async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
            progress.note(f"starting {options.jobs} jobs at {sieve.url}")
            pushed = await asyncio.gather(
                *(
                    client.push_job(f"demo/function-{number % _FUNCTIONS}", {"number": number})
                    for number in range(options.jobs)
                )
            )
            printer = _Recorder()
            run = WatchRun(client, options, [job.id for job in pushed], printer, progress)
            _, *builds = await asyncio.gather(
                run.run(), *(_wait_for_build(client, name, progress) for name in _BUILDS)
            )
            downloaded = await _download(client, printer.outcomes)
            requests = client.stats.requests
        delays = [
            ((came_at - started_at) - (outcome.job.completed_at - started_at) / options.speed)
            for came_at, outcome in printer.outcomes
            if outcome.job is not None and outcome.job.completed_at is not None
        ]
        unexpected = sum(not _is_expected(sieve, outcome) for _, outcome in printer.outcomes)
        unexpected += sum(builds) + options.jobs - len(printer.outcomes)
    printer.verbatim(
        f"{downloaded}{requests} requests, at most {sieve.max_in_flight} in flight over "
        f"{sieve.connections} connections; unexpected outcomes: {unexpected or 'none'}"
    )
    if delays:
        mean = sum(delay.total_seconds() for delay in delays) / len(delays)
        printer.verbatim(
            f"outcomes came {max(mean, 0.0):.2f} s after the end of the job on average"
        )
    return Exit.FAILED if unexpected else Exit.OK


def _script(sieve: FakeSieve, seed: int) -> None:
    """Script the jobs of each function, and two builds."""
    dice = random.Random(seed)
    for number in range(_FUNCTIONS):
        sieve.script_function(
            f"demo/function-{number}",
            queued=dice.uniform(0, 2),
            processing=dice.lognormvariate(0.7, 0.5),
            status="error" if number == 3 else "cancelled" if number == 7 else "finished",
            restarts=int(number == 5),
            outputs=[{"url": sieve.add_file("video.mp4", _VIDEO)}],
        )
    for name, status in _BUILDS.items():
        sieve.add_version("sieve", name, queued=0.5, building=2, pushing=1, status=status)


async def _wait_for_build(client: SieveClient, name: str, progress: Progress) -> bool:
    """Wait for a build; whether it ended otherwise than scripted."""

    def report(version: FunctionVersion) -> None:
        progress.note(f"version sieve/{name}: {version.build_status}")

    version = await client.wait_until_ready(f"sieve/{name}", timeout=60, on_update=report)
    return version.build_status != _BUILDS[name]


async def _download(client: SieveClient, outcomes: list[tuple[datetime, JobOutcome]]) -> str:
    """Download a file of the first job that finished, and return a line about it."""
    job = next((outcome.job for _, outcome in outcomes if outcome.ok), None)
    if job is None:
        return ""
    with tempfile.TemporaryDirectory() as directory:
        path = await client.download(job.files[0], Path(directory) / "video.mp4")
        size = (await asyncio.to_thread(path.stat)).st_size
    return f"downloaded {path.name} of job {job.id}: {size:,} bytes\n"


def _is_expected(sieve: FakeSieve, outcome: JobOutcome) -> bool:
    expected = sieve.job(outcome.job_id)
    restarts = 0 if outcome.job is None else len(outcome.job.restarts)
    return (outcome.status, restarts) == (expected.final_status, expected.restarts)


async def serve(options: Options, progress: Progress) -> Exit:
    """Serve until a signal arrives, which is the ordinary end here."""
    async with FakeSieve(port=options.port, speed=options.speed) as sieve:
        sieve.add_jobs(options.jobs, seed=options.seed, restart_rate=0.1)
        sieve.add_version("sieve", "dubbing", queued=1, building=5, pushing=2, deploying=2)
        video = {"url": sieve.add_file("video.mp4", _VIDEO)}
        sieve.script_function(
            "*", queued=1, processing=3, outputs=lambda inputs: [{"data": inputs}, video]
        )
        variables = {
            "SIEVE_API_URL": sieve.url,
            "SIEVE_API_KEY": sieve.api_key,
            "SIEVE_SERVER_PID": str(os.getpid()),
        }
        for name, value in variables.items():
            Printer("text").verbatim(f"export {name}={shlex.quote(value)}")
        redirect_to_null(sys.stdout)  # $(...) ends when the pipe is closed
        progress.write_line(
            f"serving {options.jobs} jobs at {sieve.url}; stop with: kill {os.getpid()}"
        )
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            requests = len(sieve.requests)
            progress.write_line(f"served {requests} request{'s'[: requests != 1]}")
    return Exit.OK
