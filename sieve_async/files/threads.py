"""Calls that block, in a thread."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sieve_async.errors import DownloadError

Result = TypeVar("Result")


async def run_blocking(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a thread.

    A cancellation waits for the end of the call, and passes then: a file must not be closed while a
    thread still writes it.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        while not call.done():
            try:
                await asyncio.wait([call])
            except asyncio.CancelledError:
                continue
        if not call.cancelled():
            call.exception()  # seen, so that nothing warns of it
        raise


async def on_disk(
    place: Path, url: str, function: Callable[..., Result], *arguments: object
) -> Result:
    """Call a function of the disk in a thread; what the system refuses is a download error.

    Raises:
        FileExistsError: As the function raises it.
        DownloadError: Any other error of the system; it names the place and the URL.
    """
    try:
        return await run_blocking(function, *arguments)
    except FileExistsError:
        raise
    except OSError as error:
        reason = f"{place}: {error.strerror or error}"
    raise DownloadError(reason, url)
