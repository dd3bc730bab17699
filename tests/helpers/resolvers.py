"""A DNS resolver that does what a test wants."""

import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

Act: TypeAlias = Callable[[], Awaitable[object]]


class FakeResolver(AbstractResolver):
    """A resolver that calls a function or raises an error, and then returns loopback."""

    def __init__(self, act: Act | BaseException) -> None:
        self.calls = 0
        self._act = act

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return loopback after the action."""
        self.calls += 1
        if isinstance(self._act, BaseException):
            raise self._act
        await self._act()
        found = {"hostname": host, "host": "127.0.0.1", "port": port, "family": family}
        return [ResolveResult(**found, proto=0, flags=0)]  # type: ignore[typeddict-item]

    async def close(self) -> None:
        """Release nothing."""
