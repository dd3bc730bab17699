"""Runs a command: makes the client, dispatches, and converts errors and signals to exit codes."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

import attrs

from sieve_async.cli.output import (
    NO_KEY,
    BrokenPipe,
    Exit,
    NoKeyError,
    Printer,
    describe_error,
    exit_of_error,
    format_traceback,
    job_text,
    to_json,
    version_text,
)
from sieve_async.cli.parser import Options
from sieve_async.cli.progress import Progress, log_to, make_progress
from sieve_async.cli.signals import Signals
from sieve_async.cli.watch import WatchRun, known_ids, resume_line
from sieve_async.client import SieveClient
from sieve_async.config import Limits, find_api_key
from sieve_async.errors import ConfigError
from sieve_async.models import BuildStatus, FunctionVersion
from sieve_async.watch import Strategy


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


def run(options: Options) -> int:
    """Run one command and return the exit code."""
    return int(asyncio.run(run_command(options)))


async def run_command(options: Options) -> Exit:
    """Run one command in the running event loop."""
    is_wanted = not options.no_progress and options.format != "quiet"
    progress = make_progress(os.environ, is_wanted=is_wanted)
    code: Exit | None = None
    with Signals() as signals, log_to(progress, is_debugging=options.debug):
        with contextlib.suppress(asyncio.CancelledError):
            code = await _run(options, progress)
        if signals.received is not None:
            code = Exit.OK if code is Exit.OK else signals.exit_code
            signals.exit_soon(code)
    return Exit.INTERRUPTED if code is None else code


async def _run(options: Options, progress: Progress) -> Exit:
    """Run one command; an error becomes one line."""
    try:
        if options.command in {"demo", "serve"}:
            return await _run_embedded(options, progress)
        limits = Limits() if options.rate is None else Limits(polls_per_second=options.rate)
        async with SieveClient(_key(options), base_url=options.base_url, limits=limits) as client:
            context = Context(client, options, Printer(options.format), progress)
            return await _COMMANDS[options.command](context)
    except BrokenPipe:
        return Exit.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - whatever it is, one line reports it
        progress.clear()
        if options.debug:
            progress.write_line(format_traceback(error))
        progress.write_line(f"sieve-async: {describe_error(error, options)}")
        return exit_of_error(error)


async def _run_embedded(options: Options, progress: Progress) -> Exit:
    """Run a command that brings a server of its own."""
    from sieve_async.cli.demo import demo, serve  # noqa: PLC0415 - the server is slow to import

    if options.command == "serve":
        return await serve(options, progress)
    return await demo(options, progress, strategy_of(options))


async def _watch(context: Context) -> Exit:
    run = WatchRun(
        context.client,
        context.options,
        known_ids(context.options),
        context.printer,
        context.progress,
    )
    return await run.run(strategy_of(context.options))


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
        on_restart="continue" if options.on_restart == "continue" else "raise",
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
    version = await context.client.get_version(*split_function(context.options.function))
    context.printer.only(version, version_text(version))
    return Exit.OK


async def _wait_for_version(context: Context) -> Exit:
    """Wait for a build, and write a line for each of its stages."""
    options, progress = context.options, context.progress

    def report(version: FunctionVersion) -> None:
        progress.note(f"version {version.id}: {version.build_status}")

    try:
        version = await context.client.wait_until_ready(
            *split_function(options.function), timeout=options.timeout, on_update=report
        )
    except asyncio.CancelledError:
        progress.write_line(f"version {options.function} is still pending")
        progress.write_line(resume_line(options, [options.function]))
        raise
    context.printer.only(version, version_text(version))
    failed = version.build_status is BuildStatus.ERROR and not options.exit_zero
    return Exit.FAILED if failed else Exit.OK


_COMMANDS: dict[str, Callable[[Context], Awaitable[Exit]]] = {
    "watch": _watch,
    "job get": _get_job,
    "job wait": _watch,
    "job outputs": _print_outputs,
    "version get": _get_version,
    "version wait": _wait_for_version,
}


def strategy_of(options: Options) -> Strategy:
    """The strategy, as the library's type."""
    words: tuple[Strategy, ...] = get_args(Strategy)
    return next(word for word in words if word == options.strategy)


def split_function(function: str) -> tuple[str, str, str]:
    """Owner, name and slug."""
    owner, _, rest = function.partition("/")
    name, _, slug = rest.partition(":")
    return owner, name, slug or "latest"


def _key(options: Options) -> str:
    """The API key.

    Raises:
        NoKeyError: There is none, or what was found is not one.
    """
    try:
        if options.key_file is not None:
            return find_api_key(None, {"SIEVE_API_KEY_FILE": str(options.key_file)}, None)
        return find_api_key(None, os.environ, _home())
    except ConfigError as error:
        reason = str(error)
    if reason.startswith("no API key"):
        reason = NO_KEY
    elif options.key_file is not None:
        reason = reason.replace("SIEVE_API_KEY_FILE", "--key-file")
    raise NoKeyError(reason)


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None
