"""Calls that block, in a thread."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

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
