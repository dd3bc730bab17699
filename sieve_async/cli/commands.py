"""The commands, and how one is run: errors and signals become exit codes."""

import asyncio
import contextlib
import json
import os
import random
import shlex
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from sieve_async.cli.output import (
    BrokenPipe,
    Exit,
    NoKeyError,
    Printer,
    describe_error,
    exit_of_error,
    exit_of_many,
    exit_of_outcome,
    job_row,
    job_text,
    outcome_line,
    to_json,
    version_text,
)
from sieve_async.cli.parser import Options, redirect_to_null
from sieve_async.cli.progress import DownloadBar, Progress, log_to, make_progress
from sieve_async.cli.watch import WatchRun, checking_target, known_ids, resume_line, show_state
from sieve_async.client import SieveClient
from sieve_async.config import find_api_key, read_key_file
from sieve_async.errors import ConfigError, InvalidArgumentError, SieveError
from sieve_async.files import download_each
from sieve_async.jobs import PushedJob
from sieve_async.models import BuildStatus, File, FunctionVersion, Job, Webhook
from sieve_async.outcomes import JobOutcome
from sieve_async.settings import Limits

if TYPE_CHECKING:  # slow to import, and only for `demo` and `serve`
    from sieve_async.testing import FakeSieve

_EXITS = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}
if hasattr(signal, "SIGHUP"):  # not on Windows
    _EXITS[signal.SIGHUP] = Exit.HANGUP
# Event loops on Windows have no signal handlers (NotImplementedError), and other threads than the
# main one must not set any (RuntimeError, ValueError): there Ctrl-C cancels the task by itself.
_NO_HANDLERS = (NotImplementedError, RuntimeError, ValueError)
_EXIT_TIMEOUT = 0.4  # seconds, for what cannot be cancelled: a host lookup in a thread, say
_FUNCTIONS = 10  # of the demo: one fails, one is cancelled, one restarts
_BUILDS: dict[str, Literal["ready", "error"]] = {"dubbing": "ready", "lipsync": "error"}
_VIDEO = b"\0" * 1_000_000


@attrs.frozen
class _Context:
    """What a command works with: the printer takes its results, the progress all other lines."""

    client: SieveClient
    options: Options
    printer: Printer
    progress: Progress

    def note_pending(self, what: str, resumed: str) -> None:
        """Say that what was waited for continues, and how to continue the wait."""
        self.progress.write_line(f"{what} is still pending")
        self.progress.write_line(resume_line(self.options, [resumed]))


async def _watch(context: _Context) -> Exit:
    client, options = context.client, context.options
    job_ids = await asyncio.to_thread(known_ids, options)  # the file may be a pipe
    return await WatchRun(client, options, job_ids, context.printer, context.progress).run()


async def _get_job(context: _Context) -> Exit:
    client, job_id, offset = context.client, context.options.job_id, context.options.offset
    if context.options.raw:
        context.printer.verbatim(await client.get_job_json(job_id, offset=offset))
    else:
        job = await client.get_job(job_id, offset=offset)
        context.printer.only(job, job_text(job))
    return Exit.OK


async def _print_outputs(context: _Context) -> Exit:
    """Print the outputs of a job while it runs; a failure is raised after the last one."""
    options = context.options
    job_id, offset = options.job_id, options.offset
    stream = context.client.stream_outputs(
        job_id, offset=offset, timeout=options.timeout, on_restart=options.on_restart
    )
    try:
        async with stream:
            with context.printer:
                async for output in stream:
                    context.printer.item(output, to_json(output))
                    offset += 1
    except asyncio.CancelledError:
        if options.on_restart == "raise":  # else some may be of an earlier run: none is left out
            options.offset = offset
        context.note_pending(f"job {job_id}", job_id)
        raise
    return Exit.OK


async def _get_version(context: _Context) -> Exit:
    version = await context.client.get_version(context.options.function)
    context.printer.only(version, version_text(version))
    return Exit.OK


async def _wait_for_version(context: _Context) -> Exit:
    """Wait for a build, and write a line for each of its stages."""
    options = context.options

    def report(version: FunctionVersion) -> None:
        context.progress.note(f"version {version.id}: {version.build_status}")

    try:
        version = await context.client.wait_until_ready(
            options.function, timeout=options.timeout, on_update=report
        )
    except asyncio.CancelledError:
        context.note_pending(f"version {options.function}", options.function)
        raise
    context.printer.only(version, version_text(version))
    return Exit.FAILED if version.build_status is BuildStatus.ERROR else Exit.OK


async def _run_job(context: _Context) -> Exit:
    """Start a job, wait for it, and download its files if asked to."""
    options, progress = context.options, context.progress
    arguments = await asyncio.to_thread(_push_arguments, options)
    if options.download is not None:
        await asyncio.to_thread(_check_directory, options.download)
    pushed_ids: list[str] = []

    def report_pushed(pushed: PushedJob) -> None:
        pushed_ids.append(pushed.id)
        progress.write_line(f"job {pushed.id}: started")  # always: it may be lost otherwise

    def report_update(job: Job) -> None:
        progress.note(f"job {job.id}: {job.status}")

    try:
        job = await context.client.run(
            **arguments,
            timeout=options.timeout,
            strategy="long_poll" if options.strategy == "long_poll" else "poll",
            on_pushed=report_pushed,
            on_update=report_update,
            check=False,
            cancel_on_timeout=options.cancel_on_timeout,
        )
    except asyncio.CancelledError:
        if pushed_ids:
            progress.write_line(resume_line(options, pushed_ids, command="job wait"))
        else:
            check = f"sieve-async job list --function {options.function}"
            progress.write_line(f"the job may have been started; check with: {check}")
        raise
    outcome = JobOutcome(job.id, job)
    context.printer.only(job, outcome_line(outcome))
    if options.download is None or not job.succeeded:
        return exit_of_outcome(outcome)
    saved, code = await _download(context, job, options.download)
    for path in saved:
        progress.write_line(f"saved {path}")
    return code


async def _push_job(context: _Context) -> Exit:
    arguments = await asyncio.to_thread(_push_arguments, context.options)
    pushed = await context.client.push_job(**arguments)
    context.printer.only(pushed, pushed.id)
    return Exit.OK


def _check_directory(path: Path) -> None:
    with checking_target("--download", path):
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()


def _push_arguments(options: Options) -> dict[str, Any]:
    """The arguments of a push, from the command line, a file (or pipe) and the environment."""
    inputs: object = {}
    if options.inputs_file is not None:
        try:
            inputs = json.loads(options.inputs_file.read_bytes())
        except (ValueError, RecursionError):
            inputs = None
    if not isinstance(inputs, dict):
        raise InvalidArgumentError(f"--inputs-file {options.inputs_file} must hold a JSON object")
    env = {}
    for name, value in options.env:
        env[name] = os.environ.get(name) if value is None else value
        if env[name] is None:
            raise InvalidArgumentError(f"--env {name}: the variable is not set")
    return {
        "function": options.function,
        "inputs": inputs | (options.input_json or {}) | dict(options.inputs),
        "webhooks": [Webhook(kind, url) for kind, url in options.webhooks],
        "env": env,
    }


async def _list_jobs(context: _Context) -> Exit:
    options = context.options
    jobs = context.client.list_jobs(
        status=options.status, function=options.of_function, limit=options.limit
    )
    with context.printer:
        async for job in jobs:
            context.printer.item(job, job_row(job))
    return Exit.OK


async def _cancel_jobs(context: _Context) -> Exit:
    """Cancel jobs one by one; one that cannot be cancelled does not stop the others."""
    codes = set()
    with context.printer:
        for job_id in context.options.job_ids:
            try:
                outcome = JobOutcome(job_id, await context.client.cancel_job(job_id))
            except SieveError as error:
                outcome = JobOutcome(job_id, None, error)
                codes.add(exit_of_error(error))
            context.printer.item(outcome, outcome_line(outcome))
    return exit_of_many(codes)


async def _download_job(context: _Context) -> Exit:
    """Download the files of a job, and print their paths."""
    job = await context.client.get_job(context.options.job_id)
    saved, code = await _download(context, job, context.options.directory)
    with context.printer:
        for path in saved:
            context.printer.item({"path": str(path)}, str(path))
    return code


async def _download(context: _Context, job: Job, directory: Path) -> tuple[list[Path], Exit]:
    """Download all files of a job; one that fails does not stop the others."""
    if not job.files:
        context.progress.note(f"job {job.id} has no files (status: {job.status})")
    bar = DownloadBar(context.progress, len(job.files))

    download = partial(context.client.download, overwrite=context.options.overwrite)

    async def one(file: File, path: Path) -> Path:
        return await download(file, path, on_progress=partial(bar.update, path.name))

    try:
        saved, errors = await download_each(one, job.files, directory)
    except asyncio.CancelledError:
        words = [job.id, str(directory)]
        line = resume_line(context.options, words, command="job download")
        context.progress.write_line(line)
        raise
    context.progress.clear()
    for error in errors:
        context.progress.write_line(f"sieve-async: {describe_error(error, context.options)}")
    return saved, exit_of_many(map(exit_of_error, errors))


class _Recorder(Printer):
    """Prints outcomes, and keeps them with the time at which they came."""

    def __init__(self) -> None:
        super().__init__("text")
        self.outcomes: list[tuple[datetime, JobOutcome]] = []

    def item(self, value: object, text: str) -> None:
        if isinstance(value, JobOutcome):
            self.outcomes.append((datetime.now(UTC), value))
        super().item(value, text)


async def _demo(options: Options, progress: Progress) -> Exit:
    """Start jobs, wait for them and for two builds, and download a file: 1 if not as scripted."""
    from sieve_async.testing import FakeSieve  # noqa: PLC0415 - slow to import

    started_at = datetime.now(UTC)
    options.timeout = 60 / min(options.speed, 1.0) + options.jobs / 50
    async with FakeSieve(speed=options.speed) as sieve:
        _script(sieve, options.seed)
        limits = Limits(polls_per_second=None)  # the server has no other clients
        async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
            progress.note(f"starting {options.jobs} jobs at {sieve.url}")
            pushing = (
                client.push_job(f"demo/function-{number % _FUNCTIONS}", {"number": number})
                for number in range(options.jobs)
            )
            pushed = await asyncio.gather(*pushing)
            printer = _Recorder()
            run = WatchRun(client, options, [job.id for job in pushed], printer, progress)
            _, *builds = await asyncio.gather(
                run.run(), *(_wait_for_build(client, name, progress) for name in _BUILDS)
            )
            downloaded = await _download_first(client, printer.outcomes)
        delays = [
            (came_at - started_at) - (outcome.job.completed_at - started_at) / options.speed
            for came_at, outcome in printer.outcomes
            if outcome.job is not None and outcome.job.completed_at is not None
        ]
        expected = sum(_is_expected(sieve, outcome) for _, outcome in printer.outcomes)
        unexpected = options.jobs - expected + sum(builds)
    printer.verbatim(
        f"{downloaded}{client.stats.requests} requests, at most {sieve.max_in_flight} in flight "
        f"over {sieve.connections} connections; unexpected outcomes: {unexpected or 'none'}"
    )
    if delays:
        mean = max(sum(delay.total_seconds() for delay in delays) / len(delays), 0.0)
        printer.verbatim(f"outcomes came {mean:.2f} s after the end of the job on average")
    return Exit.FAILED if unexpected else Exit.OK


def _script(sieve: "FakeSieve", seed: int) -> None:
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


async def _download_first(client: SieveClient, outcomes: list[tuple[datetime, JobOutcome]]) -> str:
    """Download a file of the first job that finished, and return a line about it."""
    job = next((outcome.job for _, outcome in outcomes if outcome.ok), None)
    if job is None:
        return ""
    with tempfile.TemporaryDirectory() as directory:
        path = await client.download(job.files[0], Path(directory) / "video.mp4")
        size = (await asyncio.to_thread(path.stat)).st_size
    return f"downloaded {path.name} of job {job.id}: {size:,} bytes\n"


def _is_expected(sieve: "FakeSieve", outcome: JobOutcome) -> bool:
    expected = sieve.job(outcome.job_id)
    restarts = 0 if outcome.job is None else len(outcome.job.restarts)
    return (outcome.status, restarts) == (expected.final_status, expected.restarts)


async def _serve(options: Options, progress: Progress) -> Exit:
    """Serve until a signal arrives, which is the ordinary end here."""
    from sieve_async.testing import FakeSieve  # noqa: PLC0415 - slow to import

    async with FakeSieve(port=options.port, speed=options.speed) as sieve:
        sieve.add_jobs(options.jobs, seed=options.seed, restart_rate=0.1)
        sieve.add_version("sieve", "dubbing", queued=1, building=5, pushing=2, deploying=2)
        pid, video = os.getpid(), {"url": sieve.add_file("video.mp4", _VIDEO)}
        sieve.script_function(
            "*", queued=1, processing=3, outputs=lambda inputs: [{"data": inputs}, video]
        )
        variables = {
            "SIEVE_API_URL": sieve.url,
            "SIEVE_API_KEY": sieve.api_key,
            "SIEVE_SERVER_PID": f"{pid}",
        }
        for name, value in variables.items():
            Printer("text").verbatim(f"export {name}={shlex.quote(value)}")
        redirect_to_null(sys.stdout)  # $(...) ends when the pipe is closed
        progress.write_line(f"serving {options.jobs} jobs at {sieve.url}; stop with: kill {pid}")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            served = len(sieve.requests)
            progress.write_line(f"served {served} request{'s'[: served != 1]}")
    return Exit.OK


COMMANDS: dict[str, Callable[[_Context], Awaitable[Exit]]] = {
    "run": _run_job,
    "push": _push_job,
    "watch": _watch,
    "job get": _get_job,
    "job wait": _watch,
    "job outputs": _print_outputs,
    "job list": _list_jobs,
    "job cancel": _cancel_jobs,
    "job download": _download_job,
    "version get": _get_version,
    "version wait": _wait_for_version,
}


@contextlib.contextmanager
def _signals_cancel() -> Iterator[list[signal.Signals]]:
    """Cancel this task when a signal arrives, which is put into the list; a second one kills.

    Signals that are ignored when the program starts (``nohup``, background jobs) stay ignored.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    handled = [number for number in _EXITS if signal.getsignal(number) is not signal.SIG_IGN]
    received: list[signal.Signals] = []

    def receive(number: signal.Signals) -> None:
        received.append(number)
        remove_handlers()
        if task is not None:
            task.cancel()

    def remove_handlers() -> None:
        with contextlib.suppress(*_NO_HANDLERS):
            for number in handled:
                loop.remove_signal_handler(number)

    with contextlib.suppress(*_NO_HANDLERS):
        for number in handled:
            loop.add_signal_handler(number, receive, number)
    try:
        yield received
    finally:
        remove_handlers()


async def run_command(options: Options) -> Exit:
    """Run one command, and return its exit code."""
    is_wanted = not options.no_progress and options.format != "quiet"
    progress = make_progress(os.environ, is_wanted=is_wanted)
    code: Exit | None = None
    with _signals_cancel() as received, log_to(progress, is_debugging=options.debug):
        with contextlib.suppress(asyncio.CancelledError):
            code = await _run(options, progress)
        if options.exit_zero and code in {Exit.FAILED, Exit.CANCELLED}:
            code = Exit.OK
        if received:
            code = Exit.OK if code is Exit.OK else _EXITS[received[0]]
            # The process ends soon, whatever its threads are doing.
            timer = threading.Timer(_EXIT_TIMEOUT, os._exit, (int(code),))
            timer.daemon = True
            timer.start()
    return Exit.INTERRUPTED if code is None else code


async def _run(options: Options, progress: Progress) -> Exit:
    """Run one command; an error becomes one line."""
    try:
        if options.command == "demo":
            return await _demo(options, progress)
        if options.command == "serve":
            return await _serve(options, progress)
        if options.show:
            return await show_state(options, progress)
        limits = Limits() if options.rate is None else Limits(polls_per_second=options.rate)
        key = await asyncio.to_thread(_key, options)  # its file may be a pipe
        async with SieveClient(key, base_url=options.base_url, limits=limits) as client:
            context = _Context(client, options, Printer(options.format), progress)
            return await COMMANDS[options.command](context)
    except BrokenPipe:
        return Exit.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - whatever it is, one line reports it
        progress.clear()
        if options.debug:
            # Values of variables are not in it.
            progress.write_line("".join(traceback.format_exception(error)).rstrip())
        progress.write_line(f"sieve-async: {describe_error(error, options)}")
        return exit_of_error(error)


def _key(options: Options) -> str:
    home = None
    with contextlib.suppress(RuntimeError):  # there is no home directory
        home = Path.home()
    try:
        if options.key_file is not None:
            return read_key_file(options.key_file, "--key-file")
        return find_api_key(None, os.environ, home)
    except ConfigError as error:
        reason = str(error).replace("pass SieveClient(api_key=...)", "give --key-file FILE")
    raise NoKeyError(reason)
