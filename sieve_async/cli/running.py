"""Runs the command that was typed, and turns whatever happens into an exit code."""

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import get_args

from sieve_async.cli.arguments import Options
from sieve_async.cli.complaints import NO_KEY, complaint, whereabouts
from sieve_async.cli.exits import Exit, NoKeyError, exit_of_error
from sieve_async.cli.interruption import Interruption
from sieve_async.cli.lookups import get_job, get_version, print_outputs, wait_for_version
from sieve_async.cli.printer import Printer, ReaderGoneError
from sieve_async.cli.progress import Progress, noting, progress_for
from sieve_async.cli.sources import named_ids
from sieve_async.cli.watches import Watching
from sieve_async.client import SieveClient
from sieve_async.config import find_api_key
from sieve_async.errors import ConfigError, SieveError
from sieve_async.watching import Strategy


def run(options: Options) -> int:
    """Run one command, and return the exit code."""
    if options.command in {"demo", "serve"}:
        return asyncio.run(_embedded(options))
    return int(asyncio.run(_guarded(options)))


def _embedded(options: Options) -> Coroutine[None, None, int]:
    """The commands that need no Sieve but bring their own."""
    if options.command == "serve":
        from sieve_async.cli.serve import serve  # noqa: PLC0415 - the server takes long to load

        return serve(port=options.port, jobs=options.jobs, seed=options.seed, speed=options.speed)
    from sieve_async.cli.demo import demo  # noqa: PLC0415 - as above

    return demo(
        jobs=options.jobs, strategy=_strategy(options), seed=options.seed, speed=options.speed
    )


async def _guarded(options: Options) -> Exit:
    """Run a command that talks to Sieve; errors become one line, signals an orderly end."""
    is_wanted = not options.no_progress and options.output != "quiet"
    progress = progress_for(os.environ, is_wanted=is_wanted)
    with Interruption() as interruption, noting(progress, is_debugging=options.debug):
        try:
            return await command(options, progress)
        except asyncio.CancelledError:
            interruption.end_soon()
            return interruption.exit_code


async def command(options: Options, progress: Progress) -> Exit:
    """Run a command that talks to Sieve; errors become one line."""
    try:
        return await _command(options, progress)
    except ReaderGoneError:
        return Exit.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - whatever it is, one line tells it
        progress.hide()
        if options.debug:
            progress.tell(whereabouts(error))
        progress.tell(f"sieve-async: {complaint(error, options)}")
        return exit_of_error(error) if isinstance(error, SieveError) else Exit.TROUBLE


async def _command(options: Options, progress: Progress) -> Exit:
    printer = Printer(options.output)
    ids = named_ids(options) if options.command in {"job wait", "watch"} else []
    async with SieveClient(_key(options), base_url=options.base_url) as client:
        match options.command:
            case "job get":
                return await get_job(client, options, printer)
            case "job outputs":
                return await print_outputs(client, options, printer, progress)
            case "version get":
                return await get_version(client, options, printer)
            case "version wait":
                return await wait_for_version(client, options, printer, progress)
            case _:
                watching = Watching(options, ids, _strategy(options), printer, progress)
                return await watching.run(client)


def _key(options: Options) -> str:
    """The key, or what to do when there is none.

    Raises:
        NoKeyError: There is none, or what was found cannot be one.
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


def _strategy(options: Options) -> Strategy:
    words: tuple[Strategy, ...] = get_args(Strategy)
    return next(word for word in words if word == options.strategy)
