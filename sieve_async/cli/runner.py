"""Runs a command: makes the client, and converts errors and signals to exit codes."""

import asyncio
import contextlib
import os
from pathlib import Path

from sieve_async.cli.commands import COMMANDS, Context
from sieve_async.cli.output import (
    NO_KEY,
    BrokenPipe,
    Exit,
    NoKeyError,
    Printer,
    describe_error,
    exit_of_error,
    format_traceback,
)
from sieve_async.cli.parser import Options
from sieve_async.cli.progress import Progress, log_to, make_progress
from sieve_async.cli.signals import Signals
from sieve_async.cli.watch import show_state
from sieve_async.client import SieveClient
from sieve_async.config import Limits, find_api_key
from sieve_async.errors import ConfigError


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


async def _run_embedded(options: Options, progress: Progress) -> Exit:
    """Run a command that brings a server of its own."""
    from sieve_async.cli.demo import demo, serve  # noqa: PLC0415 - the server is slow to import

    if options.command == "serve":
        return await serve(options, progress)
    return await demo(options, progress)


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
