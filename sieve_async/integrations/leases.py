"""Clients shared by all users of one event loop that have the same settings.

An engine runs many tasks in one process. With a lease they share one connection pool and one poll
rate; the last user closes the client.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import attrs

from sieve_async.client import SieveClient
from sieve_async.settings import Limits


@attrs.frozen(kw_only=True)
class ClientSettings:
    """The settings of a leased client; equal settings share one client.

    Attributes:
        api_key: The API key; None finds it as :class:`~sieve_async.SieveClient` does.
        base_url: The base URL; None finds it in the same way.
        limits: The limits of the client.
        options: Pairs of a name and a value: further arguments of the client.
    """

    api_key: str | None = attrs.field(default=None, repr=False)
    base_url: str | None = None
    limits: Limits = Limits()
    options: tuple[tuple[str, Any], ...] = ()

    def make_client(self) -> SieveClient:
        """A new client with these settings.

        Raises:
            ConfigError: There is no API key, or a setting is invalid.
        """
        options = {"base_url": self.base_url, **dict(self.options)}
        return SieveClient(self.api_key, limits=self.limits, **options)

    def __reduce__(self) -> NoReturn:
        raise TypeError("client settings hold the API key: they cannot be pickled")


@attrs.define(eq=False)
class _Lease:
    client: SieveClient
    users: int = 0


_leases: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ClientSettings, _Lease]]" = (
    WeakKeyDictionary()
)


@asynccontextmanager
async def leased_client(settings: ClientSettings) -> AsyncIterator[SieveClient]:
    """Use the client of this event loop that has these settings.

    Raises:
        ConfigError: There is no API key, or a setting is invalid.
    """
    by_settings = _leases.setdefault(asyncio.get_running_loop(), {})
    lease = by_settings.get(settings)
    if lease is None:
        lease = by_settings[settings] = _Lease(settings.make_client())
    lease.users += 1
    try:
        yield lease.client
    finally:
        lease.users -= 1
        if lease.users == 0:
            del by_settings[settings]
            await lease.client.close()
