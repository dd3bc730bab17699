"""Settings, and the checks of all arguments: what cannot work is refused before any socket.

The order of the sources is that of Sieve's own client: the argument, then the environment, then the
file that its command line writes.
"""

import ipaddress
import math
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, TypeGuard
from urllib.parse import SplitResult, urlsplit

import attrs

from sieve_async.errors import ConfigError, InvalidArgumentError

__version__ = "0.1.0"
DEFAULT_BASE_URL = "https://mango.sievedata.com"
LATEST = "latest"  # the slug of a function's newest version

_MAX_KEY_FILE = 4096  # bytes
# Visible ASCII: anything else cannot travel in a header, or is a slip of copying.
_KEY = re.compile(r"[\x21-\x7e]+")
_BASE_URL = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
# Ids and names go into a path, so their grammar is narrow: nothing that a server, a proxy or a URL
# library could read as anything but one segment, and nothing that would need quoting.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~-]{0,127}")
_MAX_OFFSET = 2**63 - 1


def as_seconds(value: float | timedelta) -> float:
    """A duration in seconds; what is no duration is left to the checks."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def as_optional_seconds(value: float | timedelta | None) -> float | None:
    """A duration in seconds, or None for no limit."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def check_seconds(
    name: str, value: object, *, at_least: float = 0.0, optional: bool = False
) -> None:
    """Refuse what is not a finite number of seconds (or None, where that means no limit).

    Raises:
        ConfigError: It is not.
    """
    if optional and value is None:
        return
    if not _is_number(value) or not _is_finite(value) or value < at_least:
        none = " or None for no limit" if optional else ""
        raise ConfigError(
            f"{name} must be seconds or a timedelta of at least {at_least:g}{none}, "
            f"got {_shown(value)}"
        )


def check_more_than_zero(name: str, value: object) -> None:
    """Refuse what is not a finite number above zero, or None for no limit.

    Raises:
        ConfigError: It is not.
    """
    if value is not None and (not _is_number(value) or not _is_finite(value) or value <= 0):
        raise ConfigError(
            f"{name} must be a finite number above 0 or None for no limit, got {_shown(value)}"
        )


def check_count(name: str, value: object) -> None:
    """Refuse what is not a whole number of at least one.

    Raises:
        ConfigError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {_shown(value)}")


def check_setting(name: str, value: object, kind: type) -> None:
    """Refuse what is not a settings object of a class.

    Raises:
        ConfigError: It is not.
    """
    if not isinstance(value, kind):
        raise ConfigError(f"{name} must be a {kind.__name__}, got {_shown(value)}")


def check_timeout(timeout: object, name: str = "timeout") -> float | None:
    """The timeout of a wait in seconds; None for no limit.

    Raises:
        InvalidArgumentError: It is no duration, or negative.
    """
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds is None or (isinstance(seconds, float) and seconds == math.inf):
        return None
    if not _is_number(seconds) or not _is_finite(seconds) or seconds < 0:
        raise InvalidArgumentError(
            f"{name} must be seconds or a timedelta of at least 0 or None for no limit, "
            f"got {_shown(timeout)}"
        )
    return float(seconds)


def check_job_id(job_id: object, name: str = "job_id") -> str:
    """The id of a job as a plain string; of a string enum, its value.

    Raises:
        InvalidArgumentError: It cannot be an id; the message says what an id is.
    """
    return _check_segment(ID, name, job_id)


def check_job_ids(job_ids: object, *kinds: type) -> None:
    """Refuse what is no iterable of ids; a single string is none.

    Args:
        job_ids: The argument.
        kinds: The abstract classes that are accepted; any iterable if none are given.

    Raises:
        InvalidArgumentError: It is not.
    """
    if isinstance(job_ids, str | bytes) or not isinstance(job_ids, kinds or (Iterable,)):
        raise InvalidArgumentError(f"job_ids must be an iterable of ids, got {_shown(job_ids)}")


def check_offset(offset: object) -> int:
    """How many of the first outputs or rows to leave out.

    Raises:
        InvalidArgumentError: It is no whole number from 0 to 2**63 - 1.
    """
    is_whole = isinstance(offset, int) and not isinstance(offset, bool)
    if not (is_whole and isinstance(offset, int) and 0 <= offset <= _MAX_OFFSET):
        raise InvalidArgumentError(
            f"offset must be a whole number from 0 to 2**63 - 1, got {_shown(offset)}"
        )
    return offset


def check_status(status: object) -> str:
    """A status to filter by: any word, since the set is open.

    Raises:
        InvalidArgumentError: It is no string, or an empty one.
    """
    if not isinstance(status, str) or not status:
        raise InvalidArgumentError(
            f"status must be a status such as 'queued', got {_shown(status)}"
        )
    return str.__str__(status)


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse what is not one of some words.

    Raises:
        InvalidArgumentError: It is not.
    """
    accepted = tuple(choices)
    if not isinstance(value, str) or value not in accepted:
        words = ", ".join(map(repr, accepted))
        raise InvalidArgumentError(f"{name} must be one of {words}, got {_shown(value)}")


def check_whole(name: str, value: object, *, at_least: int, optional: bool = False) -> None:
    """Refuse what is not a whole number in an argument (or None, where that means no limit).

    Raises:
        InvalidArgumentError: It is not.
    """
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        none = " or None for no limit" if optional else ""
        raise InvalidArgumentError(
            f"{name} must be a whole number of at least {at_least}{none}, got {_shown(value)}"
        )


def check_kind(name: str, value: object, kind: type) -> None:
    """Refuse what is not of a class.

    Raises:
        InvalidArgumentError: It is not.
    """
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"{name} must be of class {kind.__name__}, got {_shown(value)}")


def check_callable(name: str, value: object, *, optional: bool = True) -> None:
    """Refuse what cannot be called (or None, where that means no callback).

    Raises:
        InvalidArgumentError: It is not.
    """
    if not callable(value) and not (optional and value is None):
        raise InvalidArgumentError(f"{name} must be callable, got {_shown(value)}")


class FunctionName(NamedTuple):
    """A function, and one of its versions where the name says which."""

    owner_name: str
    function_name: str
    version_slug: str | None = None

    def __str__(self) -> str:
        slug = "" if self.version_slug is None else f":{self.version_slug}"
        return f"{self.owner_name}/{self.function_name}{slug}"


def parse_function_name(function: object, name: str = "function") -> FunctionName:
    """Read ``OWNER/NAME`` or ``OWNER/NAME:SLUG``.

    Raises:
        InvalidArgumentError: It is neither.
    """
    if isinstance(function, FunctionName):
        function = str(function)
    text = str.__str__(function) if isinstance(function, str) else ""
    owner_name, slash, rest = text.partition("/")
    function_name, colon, version_slug = rest.partition(":")
    is_named = _NAME.fullmatch(owner_name) and _NAME.fullmatch(function_name)
    if not (slash and is_named and (not colon or ID.fullmatch(version_slug))):
        raise InvalidArgumentError(
            f"{name} must be OWNER/NAME or OWNER/NAME:VERSION, got {_shown(function)}"
        )
    return FunctionName(owner_name, function_name, version_slug if colon else None)


def function_name_of(
    owner_or_function: object, function_name: object, version_slug: object
) -> FunctionName:
    """The function that is named in one argument or in several.

    Args:
        owner_or_function: ``OWNER/NAME[:SLUG]``, or the owner alone.
        function_name: The name, if the owner stands alone.
        version_slug: The id of a version, the beginning of one, or ``latest``.

    Raises:
        InvalidArgumentError: A part is missing, given twice, or cannot be right.
    """
    if function_name is not None:
        return FunctionName(
            _check_segment(_NAME, "owner_name", owner_or_function),
            _check_segment(_NAME, "function_name", function_name),
            _check_segment(ID, "version_slug", version_slug),
        )
    found = parse_function_name(owner_or_function, "owner_or_function")
    slug = _check_segment(ID, "version_slug", version_slug)
    if found.version_slug is None:
        return found._replace(version_slug=slug)
    if slug not in {LATEST, found.version_slug}:
        raise InvalidArgumentError(f"version_slug is given twice: {found.version_slug} and {slug}")
    return found


def _check_segment(grammar: re.Pattern[str], name: str, value: object) -> str:
    text = str.__str__(value) if isinstance(value, str) else ""
    if not grammar.fullmatch(text):
        first = "a letter or digit" if grammar is ID else "a letter, digit or _"
        raise InvalidArgumentError(
            f"{name} must be 1 to 128 letters, digits and . _ ~ -, beginning with {first}, "
            f"got {_shown(value)}"
        )
    return text


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _shown(value: object) -> str:
    """A value as an error may show it; of an object of some other class, only the class."""
    if isinstance(value, str):
        text = ascii(str.__str__(value))
    elif value is None or isinstance(value, bool | float | timedelta):
        text = repr(value)
    elif (
        isinstance(value, int) and value.bit_length() < 200
    ):  # Python does not print very long ones
        text = repr(value)
    else:
        return f"an object of class {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


@attrs.frozen(kw_only=True)
class Timeout:
    """How long one request may take, in seconds; None is no limit.

    Not the deadline of a wait: that is the ``timeout`` argument of the wait itself.

    Attributes:
        connect: For opening one connection, TLS handshake included.
        request: For one request from looking up the host to the last byte of the body. It starts
            when the request has its slot, so that queueing causes no false timeouts.
    """

    connect: float | None = attrs.field(default=10.0, converter=as_optional_seconds)
    request: float | None = attrs.field(default=30.0, converter=as_optional_seconds)

    def __attrs_post_init__(self) -> None:
        check_more_than_zero("Timeout.connect", self.connect)
        check_more_than_zero("Timeout.request", self.request)


def as_timeout(timeout: Timeout | float | timedelta) -> Timeout:
    """The timeouts of a client; a plain duration is that of one request.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(timeout, Timeout):
        return timeout
    seconds = as_seconds(timeout)
    if not _is_number(seconds) or not _is_finite(seconds) or seconds <= 0:
        raise ConfigError(
            f"timeout must be a Timeout, or seconds or a timedelta above 0, got {_shown(timeout)}"
        )
    return Timeout(request=seconds)


@attrs.frozen(kw_only=True)
class Limits:
    """How much the client does at once.

    Attributes:
        max_connections: Requests, and so sockets, at the same time; others queue, first come first
            served.
        polls_per_second: Polls a second of all waits and watches together, evenly spread: n jobs
            are then polled every n / 100 seconds at the most. Also the rate at which requests
            leave that a ``Retry-After`` made wait. None is as fast as the slots allow. No rate is
            documented; a hundred is polite.
        max_pending_jobs: Jobs that one call watches at once, terminal ones included whose outcome
            was not taken yet. Further ids are taken from their source as outcomes are taken.
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
        check_more_than_zero("Limits.polls_per_second", self.polls_per_second)


@attrs.frozen
class Secret:
    """A key that no repr and no traceback with locals shows."""

    value: object = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Config:
    """The base URL and the key."""

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
            raw = file.read(_MAX_KEY_FILE + 1)
    except (OSError, RuntimeError, ValueError) as error:  # no such home, or no path at all
        reason = f"the file of {source} cannot be read: {getattr(error, 'strerror', None) or error}"
    else:
        if len(raw) <= _MAX_KEY_FILE:
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
