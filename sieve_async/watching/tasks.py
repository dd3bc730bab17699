"""Tasks that never begin before whoever made them has noted that they are there."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeAlias

Tasks: TypeAlias = list[asyncio.Task[None]]


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Make a task that begins in a later turn, also where tasks are eager."""
    return asyncio.Task(work, loop=asyncio.get_running_loop())
