"""What both senders share: settings, sockets, and which pooled connections may be used."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import attrs
from yarl import URL

_ALWAYS = float("-inf")
_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds, and probes


@attrs.define(eq=False)
class _LastUse:
    at: float


# Of each pooled connection, of all clients: two of them may share one session.
_last_uses: "WeakKeyDictionary[object, _LastUse]" = WeakKeyDictionary()


class UnusableConnectionError(Exception):
    """A pooled connection must not be used; nothing was sent on it."""


@attrs.define(eq=False)
class PooledConnections:
    """Which pooled connections may be used; those that may not are closed when their turn comes."""

    trusted_since: float = _ALWAYS  # the time of the loop since which they must have served

    def close_idle(self) -> None:
        """Use no connection that is idle now: one had died unseen, and so may the others.

        After the machine has slept they all have, and a call has few attempts.
        """
        self.trusted_since = asyncio.get_running_loop().time()

    def check(self, protocol: Any, *, fresh: bool) -> bool:
        """Whether the connection has served before; from now on, it has.

        Raises:
            UnusableConnectionError: Data has arrived on it that was not asked for, it is not
                trusted any more, or a new one is wanted.
        """
        now = asyncio.get_running_loop().time()
        last_use = _last_uses.get(protocol)
        has_data = getattr(protocol, "should_close", False)
        if last_use is None:
            _last_uses[protocol] = _LastUse(now)
            # Others who use the session may have opened it.
            has_served = getattr(protocol, "_payload", None) is not None
            if has_served and (has_data or fresh or self.trusted_since != _ALWAYS):
                raise UnusableConnectionError
            return has_served
        if has_data or fresh or last_use.at < self.trusted_since:
            raise UnusableConnectionError
        last_use.at = now
        return True


@attrs.define(eq=False, kw_only=True)
class SenderSettings:
    """How requests of one client are sent."""

    origin: URL
    headers: Mapping[str, str] = attrs.field(repr=False)  # of each request; among them the key
    timeout: aiohttp.ClientTimeout  # of opening a connection
    max_body: int  # the size of a good body in bytes
    proxy: URL | None = attrs.field(repr=False)  # None for what the session uses
    pool: PooledConnections = attrs.Factory(PooledConnections)


def keepalive_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices within half a minute that the other side has gone."""
    family, kind, protocol, *_ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return opened
