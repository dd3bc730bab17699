"""A DNS resolver that does what a test wants, and TLS contexts of servers and clients."""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import aiohttp
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult


def server_context(
    authority: trustme.CA, name: str = "127.0.0.1", **validity: Any
) -> ssl.SSLContext:
    """A server context with a certificate for this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **validity).configure_cert(context)
    return context


@contextlib.asynccontextmanager
async def trusting_session(authority: trustme.CA) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield session


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
