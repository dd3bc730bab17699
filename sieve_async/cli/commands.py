"""The commands: each takes a context and returns an exit code."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs

from sieve_async.cli.output import (
    Exit,
    Printer,
    describe_error,
    exit_of_error,
    exit_of_job,
    exit_of_many,
    ignore_failures,
    job_row,
    job_text,
    outcome_line,
    to_json,
    version_text,
)
from sieve_async.cli.parser import Options
from sieve_async.cli.progress import DownloadBar, Progress
from sieve_async.cli.watch import WatchRun, known_ids, resume_line
from sieve_async.client import SieveClient
from sieve_async.errors import InvalidArgumentError, SieveError
from sieve_async.files import distinct_names, name_of_url, safe_name
from sieve_async.jobs import PushedJob
from sieve_async.models import BuildStatus, File, FunctionVersion, Job, Webhook
from sieve_async.outcomes import JobOutcome

_MAX_DOWNLOADS = 4  # at a time


@attrs.frozen
class Context:
    """What a command works with.

    Attributes:
        client: The client.
        options: The arguments.
        printer: Takes the results.
        progress: Takes everything else.
    """

    client: SieveClient
    options: Options
    printer: Printer
    progress: Progress


async def _watch(context: Context) -> Exit:
    run = WatchRun(
        context.client,
        context.options,
        known_ids(context.options),
        context.printer,
        context.progress,
    )
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
    stream = context.client.stream_outputs(
        options.job_id,
        offset=options.offset,
        timeout=options.timeout,
        on_restart=options.on_restart,
    )
    printed = options.offset
    try:
        async with stream:
            with context.printer:
                async for output in stream:
                    context.printer.item(output, to_json(output))
                    printed += 1
    except asyncio.CancelledError:
        context.progress.write_line(f"job {options.job_id} is still pending")
        options.offset = printed
        context.progress.write_line(resume_line(options, [options.job_id]))
        raise
    return Exit.OK


async def _get_version(context: Context) -> Exit:
    version = await context.client.get_version(context.options.function)
    context.printer.only(version, version_text(version))
    return Exit.OK


async def _wait_for_version(context: Context) -> Exit:
    """Wait for a build, and write a line for each of its stages."""
    options, progress = context.options, context.progress

    def report(version: FunctionVersion) -> None:
        progress.note(f"version {version.id}: {version.build_status}")

    try:
        version = await context.client.wait_until_ready(
            options.function, timeout=options.timeout, on_update=report
        )
    except asyncio.CancelledError:
        progress.write_line(f"version {options.function} is still pending")
        progress.write_line(resume_line(options, [options.function]))
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
    code = ignore_failures(exit_of_job(job)) if options.exit_zero else exit_of_job(job)
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
    """The inputs of a job.

    Raises:
        InvalidArgumentError: The file does not hold a JSON object.
        OSError: The file cannot be read.
    """
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
    """The variables of a job.

    Raises:
        InvalidArgumentError: One without a value is not set here.
    """
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
