"""Settings: where they come from and what they may be.

The order of the sources is that of Sieve's own client: the argument, then the environment, then the
file that its command line writes. Whatever cannot work is refused here, before any socket.
"""

import ipaddress
import math
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import attrs

from sieve_async.errors import ConfigError

__version__ = "0.1.0"
DEFAULT_BASE_URL = "https://mango.sievedata.com"

_LARGEST_KEY_FILE = 4096
# Visible ASCII: anything else cannot travel in a header, or is a slip of copying.
_KEY = re.compile(r"[\x21-\x7e]+")
_BASE_URL = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")


def check_seconds(
    name: str, value: object, *, at_least: float = 0.0, optional: bool = False
) -> None:
    """Refuse what is not a finite number of seconds (or None, where that means no limit)."""
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        kind = type(value).__name__
        raise ConfigError(f"{name} must be a number of seconds, not {kind}")
    try:
        is_usable = math.isfinite(value) and value >= at_least
    except OverflowError:
        is_usable = False
    if not is_usable:
        raise ConfigError(f"{name} must be a finite number of at least {at_least:g}")


def check_count(name: str, value: object) -> None:
    """Refuse what is not a whole number of at least one."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, not {value}")


@attrs.frozen(kw_only=True)
class Timeout:
    """How long one request may take, in seconds; None is no limit.

    Not the deadline of a wait: that is the ``timeout`` argument of the wait itself.

    Attributes:
        connect: For opening one connection, TLS handshake included.
        request: For one request from looking up the host to the last byte of the body. It starts
            when the request has its slot, so that queueing causes no false timeouts.
    """

    connect: float | None = 10.0
    request: float | None = 30.0

    def __attrs_post_init__(self) -> None:
        for name in ("connect", "request"):
            check_seconds(f"Timeout.{name}", getattr(self, name), optional=True)
            if getattr(self, name) == 0:
                raise ConfigError(f"Timeout.{name} must be more than 0; None is no limit")


@attrs.frozen(kw_only=True)
class Limits:
    """How much the client does at once.

    Attributes:
        max_connections: Requests, and so sockets, at the same time; others queue, first come first
            served.
        polls_per_second: Requests a second of all watches of many jobs together, evenly spread: n
            jobs are then looked at every n / 100 seconds at the most. Also the pace at which
            requests that a ``Retry-After`` held back are let go. None is as fast as the slots
            allow. No rate is documented; a hundred is polite.
        max_pending_jobs: Jobs that one call watches at once, ended ones that were not yet taken
            included. Further ids are taken from their source as room appears.
        max_response_bytes: Bytes of one answer, after decompression.
    """

    max_connections: int = 64
    polls_per_second: float | None = 100.0
    max_pending_jobs: int = 100_000
    max_response_bytes: int = 16 * 1024 * 1024

    def __attrs_post_init__(self) -> None:
        check_count("Limits.max_connections", self.max_connections)
        check_count("Limits.max_pending_jobs", self.max_pending_jobs)
        check_count("Limits.max_response_bytes", self.max_response_bytes)
        check_seconds("Limits.polls_per_second", self.polls_per_second, optional=True)
        if self.polls_per_second == 0:
            raise ConfigError("Limits.polls_per_second must be more than 0; None is no limit")


@attrs.frozen
class Secret:
    """A key that no repr and no traceback with locals shows."""

    value: object = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Config:
    """Whom to ask, and with which key."""

    api_key: str = attrs.field(repr=False)
    base_url: str


def read_config(
    api_key: Secret | None, base_url: str | None, environment: Mapping[str, str], home: Path | None
) -> Config:
    """Find and check the key and the base URL.

    Args:
        api_key: The key, when the caller gave one.
        base_url: The base URL, when the caller gave one.
        environment: The environment variables.
        home: The user's home directory; None when there is none.

    Raises:
        ConfigError: There is no key, or what was found cannot be a key or a base URL.
    """
    if base_url is None:
        base_url = environment.get("SIEVE_API_URL") or DEFAULT_BASE_URL
    base_url = check_base_url(base_url)
    return Config(api_key=find_api_key(api_key, environment, home), base_url=base_url)


def find_api_key(api_key: Secret | None, environment: Mapping[str, str], home: Path | None) -> str:
    """The key from the argument, the environment, or one of the two files, in this order."""
    if api_key is not None:
        return _check_key(api_key, "the api_key argument")
    if environment.get("SIEVE_API_KEY"):
        return _check_key(Secret(environment["SIEVE_API_KEY"]), "SIEVE_API_KEY")
    if path := environment.get("SIEVE_API_KEY_FILE"):
        return _read_key_file(Path(path), "SIEVE_API_KEY_FILE")
    if home is not None and _exists(official := home / ".config" / ".sieve" / "config"):
        return _read_key_file(official, "~/.config/.sieve/config")
    raise ConfigError(
        "no API key: pass SieveClient(api_key=...), set SIEVE_API_KEY to the key or "
        "SIEVE_API_KEY_FILE to a file that holds it, or put it into ~/.config/.sieve/config"
    )


def check_base_url(base_url: object) -> str:
    """The base URL without a slash at its end.

    Raises:
        ConfigError: It is not https (or http to loopback), or has parts that a base cannot have.
    """
    if not isinstance(base_url, str) or not _BASE_URL.fullmatch(base_url):
        raise ConfigError("the base URL must be a string of visible ASCII characters")
    parts = _split(base_url)
    if parts is None or not _can_be_host(parts.hostname or ""):
        raise ConfigError("the base URL must look like https://host or https://host:port/path")
    if "@" in parts.netloc or "?" in base_url or "#" in base_url:
        raise ConfigError("the base URL must have no user name, no query and no fragment")
    if parts.scheme != "https" and not (
        parts.scheme == "http" and _is_loopback(parts.hostname or "")
    ):
        raise ConfigError("the base URL must be https (plain http only to this machine itself)")
    return base_url.rstrip("/")


def _split(base_url: str) -> SplitResult | None:
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:  # no valid port, or brackets that hold no address
        return None
    return None if port == 0 else parts


def _check_key(key: Secret, source: str) -> str:
    if not isinstance(key.value, str) or not _KEY.fullmatch(key.value):
        raise ConfigError(
            f"{source} is not an API key: a key is visible ASCII characters without white space"
        )
    return key.value


def _read_key_file(path: Path, source: str) -> str:
    try:
        with path.expanduser().open("rb") as file:
            raw = file.read(_LARGEST_KEY_FILE + 1)
    except (OSError, RuntimeError, ValueError) as error:  # no such home, or no path at all
        reason = f"the file of {source} cannot be read: {getattr(error, 'strerror', None) or error}"
    else:
        if len(raw) <= _LARGEST_KEY_FILE:
            key = Secret(raw.decode("utf-8", "replace").strip())
            del raw  # a traceback with locals would show it
            return _check_key(key, f"the file of {source}")
        reason = f"the file of {source} is too large to be a key"
    raise ConfigError(reason)


def _exists(path: Path) -> bool:
    """Whether there is a file, be it one that cannot be read; that is worth an error of its own."""
    try:
        return path.is_file()
    except OSError:
        return True


def _can_be_host(host: str) -> bool:
    """Whether a host is a name or an address; one that ends in a number must be an address."""
    is_address = ":" in host or host.rstrip(".").rpartition(".")[2].isdigit()
    return _is_address(host) if is_address else _HOST.fullmatch(host) is not None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
