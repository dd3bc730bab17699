"""The commands, and how one is run: errors and signals become exit codes."""

import asyncio
import contextlib
import json
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import attrs

from sieve_async.cli.output import (
    NO_KEY,
    BrokenPipe,
    Exit,
    NoKeyError,
    Printer,
    describe_error,
    exit_of_error,
    exit_of_job,
    exit_of_many,
    format_traceback,
    ignore_failures,
    job_row,
    job_text,
    outcome_line,
    to_json,
    version_text,
)
from sieve_async.cli.parser import Options
from sieve_async.cli.progress import DownloadBar, Progress, log_to, make_progress
from sieve_async.cli.watch import WatchRun, known_ids, resume_line, show_state
from sieve_async.client import SieveClient
from sieve_async.config import Limits, find_api_key
from sieve_async.errors import ConfigError, InvalidArgumentError, SieveError
from sieve_async.files import distinct_names, name_of_url, safe_name
from sieve_async.jobs import PushedJob
from sieve_async.models import BuildStatus, File, FunctionVersion, Job, Webhook
from sieve_async.outcomes import JobOutcome

_MAX_DOWNLOADS = 4  # at a time
_EXITS = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}
if hasattr(signal, "SIGHUP"):  # not on Windows
    _EXITS[signal.SIGHUP] = Exit.HANGUP
# Event loops on Windows have no signal handlers (NotImplementedError), and other threads than the
# main one must not set any (RuntimeError, ValueError): there Ctrl-C cancels the task by itself.
_NO_HANDLERS = (NotImplementedError, RuntimeError, ValueError)
_EXIT_TIMEOUT = 0.4  # seconds, for what cannot be cancelled: a host lookup in a thread, say


@attrs.frozen
class Context:
    """What a command works with: the printer takes its results, the progress all other lines."""

    client: SieveClient
    options: Options
    printer: Printer
    progress: Progress

    def note_pending(self, what: str, resumed: str) -> None:
        """Say that what was waited for continues, and how to continue the wait."""
        self.progress.write_line(f"{what} is still pending")
        self.progress.write_line(resume_line(self.options, [resumed]))


async def _watch(context: Context) -> Exit:
    client, options = context.client, context.options
    run = WatchRun(client, options, known_ids(options), context.printer, context.progress)
    return await run.run()


async def _get_job(context: Context) -> Exit:
    client, options = context.client, context.options
    if options.raw:
        context.printer.verbatim(await client.get_job_json(options.job_id, offset=options.offset))
        return Exit.OK
    job = await client.get_job(options.job_id, offset=options.offset)
    context.printer.only(job, job_text(job))
    return Exit.OK


async def _print_outputs(context: Context) -> Exit:
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
        options.offset = offset
        context.note_pending(f"job {job_id}", job_id)
        raise
    return Exit.OK


async def _get_version(context: Context) -> Exit:
    version = await context.client.get_version(context.options.function)
    context.printer.only(version, version_text(version))
    return Exit.OK


async def _wait_for_version(context: Context) -> Exit:
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
    failed = version.build_status is BuildStatus.ERROR and not options.exit_zero
    return Exit.FAILED if failed else Exit.OK


async def _run_job(context: Context) -> Exit:
    """Start a job, wait for it, and download its files if asked to."""
    options, progress = context.options, context.progress
    pushed_ids: list[str] = []

    def report_pushed(pushed: PushedJob) -> None:
        pushed_ids.append(pushed.id)
        progress.write_line(f"job {pushed.id}: started")  # always: it may be lost otherwise

    def report_update(job: Job) -> None:
        progress.note(f"job {job.id}: {job.status}")

    try:
        job = await context.client.run(
            options.function,
            _inputs(options),
            webhooks=_webhooks(options),
            env=_env(options),
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
            check = f"check with: sieve-async job list --function {options.function}"
            progress.write_line(f"the job may have been started; {check}")
        raise
    context.printer.only(job, outcome_line(JobOutcome(job.id, job)))
    code = exit_of_job(job)
    code = ignore_failures(code) if options.exit_zero else code
    if options.download is None or not job.succeeded:
        return code
    saved, downloaded = await _download(context, job, options.download)
    for path in saved:
        progress.write_line(f"saved {path}")
    return downloaded


async def _push_job(context: Context) -> Exit:
    options = context.options
    pushed = await context.client.push_job(
        options.function, _inputs(options), webhooks=_webhooks(options), env=_env(options)
    )
    context.printer.only(pushed, pushed.id)
    return Exit.OK


def _inputs(options: Options) -> dict[str, Any]:
    inputs: object = {}
    if options.inputs_file is not None:
        try:
            inputs = json.loads(options.inputs_file.read_bytes())
        except (ValueError, RecursionError):
            inputs = None
    if not isinstance(inputs, dict):
        raise InvalidArgumentError(f"--inputs-file {options.inputs_file} must hold a JSON object")
    return inputs | (options.input_json or {}) | dict(options.inputs)


def _webhooks(options: Options) -> list[Webhook]:
    return [Webhook(kind, url) for kind, url in options.webhooks]


def _env(options: Options) -> dict[str, str]:
    variables = {}
    for name, given in options.env:
        value = os.environ.get(name) if given is None else given
        if value is None:
            raise InvalidArgumentError(f"--env {name}: the variable is not set")
        variables[name] = value
    return variables


async def _list_jobs(context: Context) -> Exit:
    options = context.options
    jobs = context.client.list_jobs(
        status=options.status, function=options.of_function, limit=options.limit
    )
    with context.printer:
        async for job in jobs:
            context.printer.item(job, job_row(job))
    return Exit.OK


async def _cancel_jobs(context: Context) -> Exit:
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


async def _download_job(context: Context) -> Exit:
    """Download the files of a job, and print their paths."""
    options = context.options
    job = await context.client.get_job(options.job_id)
    saved, code = await _download(context, job, options.directory)
    with context.printer:
        for path in saved:
            context.printer.item({"path": str(path)}, str(path))
    return code


async def _download(context: Context, job: Job, directory: Path) -> tuple[list[Path], Exit]:
    """Download all files of a job; one that fails does not stop the others."""
    if not job.files:
        context.progress.note(f"job {job.id} has no files (status: {job.status})")
    names = distinct_names(
        safe_name(file.name) if file.name else name_of_url(file.url) for file in job.files
    )
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    bar = DownloadBar(context.progress, len(names))
    slots = asyncio.Semaphore(_MAX_DOWNLOADS)

    async def one(file: File, name: str) -> Path:
        async with slots:
            return await context.client.download(
                file,
                directory / name,
                overwrite=context.options.overwrite,
                on_progress=lambda done, total: bar.update(name, done, total),
            )

    results = await asyncio.gather(*map(one, job.files, names), return_exceptions=True)
    context.progress.clear()
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors:
        if not isinstance(error, (SieveError, OSError)):
            raise error
        context.progress.write_line(f"sieve-async: {describe_error(error, context.options)}")
    saved = [result for result in results if isinstance(result, Path)]
    return saved, exit_of_many(map(exit_of_error, errors))


COMMANDS: dict[str, Callable[[Context], Awaitable[Exit]]] = {
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


class _Signals:
    """Cancels the task that enters it when a signal arrives; a second one ends the program.

    Signals that are ignored when the program starts (``nohup``, background jobs) stay ignored.
    """

    received: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._handled = [
            number for number in _EXITS if signal.getsignal(number) is not signal.SIG_IGN
        ]
        with contextlib.suppress(*_NO_HANDLERS):
            for number in self._handled:
                self._loop.add_signal_handler(number, self._receive, number)
        return self

    def __exit__(self, *_: object) -> None:
        self._remove_handlers()

    def _receive(self, number: signal.Signals) -> None:
        self.received = number
        self._remove_handlers()
        if self._task is not None:
            self._task.cancel()

    def _remove_handlers(self) -> None:
        with contextlib.suppress(*_NO_HANDLERS):
            for number in self._handled:
                self._loop.remove_signal_handler(number)


async def run_command(options: Options) -> Exit:
    """Run one command, and return its exit code."""
    is_wanted = not options.no_progress and options.format != "quiet"
    progress = make_progress(os.environ, is_wanted=is_wanted)
    code: Exit | None = None
    with _Signals() as signals, log_to(progress, is_debugging=options.debug):
        with contextlib.suppress(asyncio.CancelledError):
            code = await _run(options, progress)
        if signals.received is not None:
            code = Exit.OK if code is Exit.OK else _EXITS[signals.received]
            # The process ends soon, whatever its threads are doing.
            timer = threading.Timer(_EXIT_TIMEOUT, os._exit, (int(code),))
            timer.daemon = True
            timer.start()
    return Exit.INTERRUPTED if code is None else code


async def _run(options: Options, progress: Progress) -> Exit:
    """Run one command; an error becomes one line."""
    try:
        if options.command in {"demo", "serve"}:
            from sieve_async.cli import demo  # noqa: PLC0415 - the server is slow to import

            run = demo.serve if options.command == "serve" else demo.demo
            return await run(options, progress)
        if options.show:
            return await show_state(options, progress)
        limits = Limits() if options.rate is None else Limits(polls_per_second=options.rate)
        async with SieveClient(_key(options), base_url=options.base_url, limits=limits) as client:
            context = Context(client, options, Printer(options.format), progress)
            return await COMMANDS[options.command](context)
    except BrokenPipe:
        return Exit.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - whatever it is, one line reports it
        progress.clear()
        if options.debug:
            progress.write_line(format_traceback(error))
        progress.write_line(f"sieve-async: {describe_error(error, options)}")
        return exit_of_error(error)


def _key(options: Options) -> str:
    home = None
    with contextlib.suppress(RuntimeError):  # there is no home directory
        home = Path.home()
    try:
        if options.key_file is not None:
            return find_api_key(None, {"SIEVE_API_KEY_FILE": str(options.key_file)}, None)
        return find_api_key(None, os.environ, home)
    except ConfigError as error:
        reason = str(error)
    if reason.startswith("no API key"):
        reason = NO_KEY
    elif options.key_file is not None:
        reason = reason.replace("SIEVE_API_KEY_FILE", "--key-file")
    raise NoKeyError(reason)
