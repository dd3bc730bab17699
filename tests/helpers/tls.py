"""TLS contexts of a private certificate authority."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import trustme


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
