"""One job or one version: ``job get``, ``job outputs``, ``version get`` and ``version wait``."""

import asyncio

from sieve_async import endpoints
from sieve_async.cli.arguments import Options
from sieve_async.cli.documents import json_of
from sieve_async.cli.exits import Exit, forgiven
from sieve_async.cli.lines import lines_of_job, lines_of_version
from sieve_async.cli.printer import Printer
from sieve_async.cli.progress import Progress
from sieve_async.client import SieveClient
from sieve_async.models import BuildStatus, FunctionVersion


async def get_job(client: SieveClient, options: Options, printer: Printer) -> Exit:
    """Print one job."""
    if options.raw:
        request = endpoints.get_job(options.job_id, offset=options.offset)
        printer.as_it_is(await client._document(request))  # noqa: SLF001 - not for everybody
        return Exit.GOOD
    job = await client.get_job(options.job_id, offset=options.offset)
    printer.only(job, "\n".join(lines_of_job(job)))
    return Exit.GOOD


async def print_outputs(
    client: SieveClient, options: Options, printer: Printer, progress: Progress
) -> Exit:
    """Print the outputs of a job while it runs; how it ended is raised after the last."""
    stream = client.stream_outputs(
        options.job_id,
        offset=options.offset,
        timeout=options.timeout,
        on_restart="continue" if options.on_restart == "continue" else "raise",
    )
    printed = options.offset
    try:
        async with stream:
            with printer:
                async for output in stream:
                    printer.item(output, json_of(output))
                    printed += 1
    except asyncio.CancelledError:
        again = f"sieve-async job outputs {options.job_id} --offset {printed}"
        progress.tell(f"job {options.job_id} was not seen to its end; to go on: {again}")
        raise
    return Exit.GOOD


async def get_version(client: SieveClient, options: Options, printer: Printer) -> Exit:
    """Print one version."""
    version = await client.get_version(*options.version)
    printer.only(version, "\n".join(lines_of_version(version)))
    return Exit.GOOD


async def wait_for_version(
    client: SieveClient, options: Options, printer: Printer, progress: Progress
) -> Exit:
    """Wait for a build, telling each of its stages, and print the version as it is then."""

    def tell(version: FunctionVersion) -> None:
        if not version.build_status.is_terminal and not is_silent:
            progress.tell(f"{version.id}  {version.build_status}")

    is_silent = options.no_progress or options.output == "quiet"
    try:
        version = await client.wait_until_ready(
            *options.version, timeout=options.timeout, on_update=tell
        )
    except asyncio.CancelledError:
        owner, name, slug = options.version
        again = f"sieve-async version wait {owner}/{name}:{slug}"
        progress.tell(f"the build was not seen to its end; to go on waiting: {again}")
        raise
    printer.only(version, "\n".join(lines_of_version(version)))
    code = Exit.FAILED if version.build_status is BuildStatus.ERROR else Exit.GOOD
    return forgiven(code) if options.no_fail else code
