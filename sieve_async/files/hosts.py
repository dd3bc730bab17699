"""Which hosts a download may contact.

The URLs come from a job's outputs and from redirects, so they are not trusted: only https, and no
address inside a private network. Plain http and loopback addresses are for tests and local servers:
they are allowed only where the first URL was one.
"""

import ipaddress
import re
import socket
from typing import Self

import attrs
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

_VISIBLE = re.compile(r"[^\x00-\x20\x7f-\x9f\\]+")
_MAX_URL_LENGTH = 16 * 1024
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenUrlError(Exception):
    """A URL or address that downloads must not contact; its text says why."""


def parse_url(text: str) -> URL:
    """A URL as it is, not requoted: a signature covers its spelling.

    Raises:
        ForbiddenUrlError: It is not an absolute URL with a host, or it holds a user name.
    """
    if len(text) > _MAX_URL_LENGTH or not _VISIBLE.fullmatch(text):
        raise ForbiddenUrlError("not a URL")
    try:
        url = URL(text, encoded=text.isascii())
        host, port = url.host, url.port
    except ValueError:
        raise ForbiddenUrlError("not a URL") from None
    if url.scheme not in {"http", "https"}:
        raise ForbiddenUrlError("only https URLs can be downloaded")
    if not host or port == 0:
        raise ForbiddenUrlError("the URL has no host")
    if url.raw_user is not None or url.raw_password is not None:
        raise ForbiddenUrlError("the URL holds a user name or password")
    return url.with_fragment(None)


def without_query(url: str | URL) -> str:
    """Scheme, host and path only: the query of a signed URL is as good as a password."""
    try:
        parsed = URL(url, encoded=True) if isinstance(url, str) else url
        shown = f"{parsed.scheme}://{parsed.raw_authority.rpartition('@')[2]}{parsed.raw_path}"
    except ValueError:
        return "(invalid URL)"
    return "".join(c if c.isprintable() else "?" for c in shown)


@attrs.frozen
class HostRules:
    """What one download may contact, derived from its first URL."""

    allow_http: bool
    allow_loopback: bool

    @classmethod
    def for_first(cls, url: URL) -> Self:
        """The rules for a download that begins at this URL."""
        is_loopback = _is_loopback_host(url.host or "")
        return cls(allow_http=is_loopback and url.scheme == "http", allow_loopback=is_loopback)

    def check_url(self, url: URL) -> None:
        """Check the scheme and, where the host is an address, the address.

        Raises:
            ForbiddenUrlError: The URL must not be contacted.
        """
        host = url.host or ""
        if url.scheme == "http" and not (self.allow_http and _is_loopback_host(host)):
            raise ForbiddenUrlError("plain http is allowed to this machine only")
        if _address(host) is not None and not self.allows_address(host):
            raise ForbiddenUrlError(f"{host} is not a public address")

    def allows_address(self, text: str) -> bool:
        """Whether a connection to this address may be opened."""
        address = _address(text)
        if address is None:
            return False
        if address.is_loopback:
            return self.allow_loopback
        return address.is_global and not (address.is_multicast or address.is_reserved)


class CheckedResolver(AbstractResolver):
    """Resolves names as the system does, and leaves out the addresses that the rules forbid.

    The connection is made to the addresses that were checked: a name cannot change in between.
    """

    def __init__(self, rules: HostRules) -> None:
        self._rules = rules
        self._resolver = ThreadedResolver()
        self._proxies: set[str] = set()

    def trust_proxy(self, host: str) -> None:
        """Allow any address for the host of a proxy that the environment names."""
        self._proxies.add(host)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The allowed addresses of a host.

        Raises:
            ForbiddenUrlError: It has none.
        """
        found = await self._resolver.resolve(host, port, family)
        if host in self._proxies:
            return found
        allowed = [result for result in found if self._rules.allows_address(result["host"])]
        if found and not allowed:
            raise ForbiddenUrlError(f"{host} has no public address")
        return allowed

    async def close(self) -> None:
        """Release the system's resolver."""
        await self._resolver.close()


def _is_loopback_host(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a text is, or the IPv4 address inside of it; None for a name."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
