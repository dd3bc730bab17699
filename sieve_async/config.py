"""The key, the base URL and the checks of all arguments: nothing invalid reaches a socket.

The order of the sources is that of Sieve's own client: the argument, then the environment, then the
file that its command line writes.
"""

import contextlib
import ipaddress
import json
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
_NO_LIMIT = " or None for no limit"


def check_seconds(name: str, value: object, *, optional: bool = False) -> None:
    """Refuse a setting that is no finite number of seconds (or None, where that means no limit)."""
    if not (optional and value is None) and not (is_finite(value) and value >= 0):
        accepted = f"seconds or a timedelta of at least 0{_NO_LIMIT if optional else ''}"
        raise ConfigError(must_be(name, accepted, value))


def check_more_than_zero(name: str, value: object) -> None:
    """Refuse a setting that is no number above 0, or None for no limit."""
    if value is not None and not (is_finite(value) and value > 0):
        raise ConfigError(must_be(name, f"a finite number above 0{_NO_LIMIT}", value))


def check_count(name: str, value: object) -> None:
    """Refuse a setting that is no whole number of at least one."""
    if not _is_whole(value, 1):
        raise ConfigError(must_be(name, "a whole number of at least 1", value))


def check_setting(name: str, value: object, kind: type) -> None:
    """Refuse what is no settings object of a class."""
    if not isinstance(value, kind):
        raise ConfigError(must_be(name, f"a {kind.__name__}", value))


def check_timeout(timeout: object, name: str = "timeout") -> float | None:
    """The timeout of a wait in seconds; None for no limit."""
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds is None or (isinstance(seconds, float) and seconds == math.inf):
        return None
    if not is_finite(seconds) or seconds < 0:
        accepted = f"seconds or a timedelta of at least 0{_NO_LIMIT}"
        raise InvalidArgumentError(must_be(name, accepted, timeout))
    return float(seconds)


def check_job_id(job_id: object, name: str = "job_id") -> str:
    """The id of a job as a plain string; of a string enum, its value."""
    return _check_segment(ID, name, job_id)


def check_job_ids(job_ids: object, *kinds: type) -> None:
    """Refuse what is of none of these kinds (any iterable if none are given); a string is none."""
    if isinstance(job_ids, str | bytes) or not isinstance(job_ids, kinds or (Iterable,)):
        raise InvalidArgumentError(must_be("job_ids", "an iterable of ids", job_ids))


def check_offset(offset: object) -> int:
    """How many of the first outputs or rows to leave out."""
    if not _is_whole(offset, 0) or offset > _MAX_OFFSET:
        raise InvalidArgumentError(must_be("offset", "a whole number from 0 to 2**63 - 1", offset))
    return offset


def check_status(status: object) -> str:
    """A status to filter by: any word, since the set is open."""
    if not isinstance(status, str) or not status or not status.isprintable():
        raise InvalidArgumentError(must_be("status", "a status such as 'queued'", status))
    return str.__str__(status)


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse what is not one of some words."""
    accepted = tuple(choices)
    if not isinstance(value, str) or value not in accepted:
        words = ", ".join(map(repr, accepted))
        raise InvalidArgumentError(must_be(name, f"one of {words}", value))


def check_whole(name: str, value: object, *, at_least: int, optional: bool = False) -> None:
    """Refuse an argument that is no whole number (or None, where that means no limit)."""
    if not (optional and value is None) and not _is_whole(value, at_least):
        accepted = f"a whole number of at least {at_least}{_NO_LIMIT if optional else ''}"
        raise InvalidArgumentError(must_be(name, accepted, value))


def check_kind(name: str, value: object, kind: type) -> None:
    """Refuse an argument that is not of a class."""
    if not isinstance(value, kind):
        raise InvalidArgumentError(must_be(name, f"of class {kind.__name__}", value))


def check_callable(name: str, value: object, *, optional: bool = True) -> None:
    """Refuse what cannot be called (or None, where that means no callback)."""
    if not (optional and value is None) and not callable(value):
        raise InvalidArgumentError(must_be(name, "callable", value))


class FunctionName(NamedTuple):
    """A function, and one of its versions where the name says which."""

    owner_name: str
    function_name: str
    version_slug: str | None = None

    def __str__(self) -> str:
        slug = "" if self.version_slug is None else f":{self.version_slug}"
        return f"{self.owner_name}/{self.function_name}{slug}"


def parse_function_name(function: object, name: str = "function") -> FunctionName:
    """Read ``OWNER/NAME`` or ``OWNER/NAME:SLUG``."""
    if isinstance(function, FunctionName):
        function = str(function)
    text = str.__str__(function) if isinstance(function, str) else ""
    owner_name, slash, rest = text.partition("/")
    function_name, colon, version_slug = rest.partition(":")
    is_named = _NAME.fullmatch(owner_name) and _NAME.fullmatch(function_name)
    if not (slash and is_named and (not colon or ID.fullmatch(version_slug))):
        raise InvalidArgumentError(must_be(name, "OWNER/NAME or OWNER/NAME:VERSION", function))
    return FunctionName(owner_name, function_name, version_slug if colon else None)


def function_name_of(
    owner_or_function: object, function_name: object, version_slug: object
) -> FunctionName:
    """The function that is named by ``OWNER/NAME[:SLUG]``, or by the owner and the name."""
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
        accepted = f"1 to 128 letters, digits and . _ ~ -, beginning with {first}"
        raise InvalidArgumentError(must_be(name, accepted, value))
    return text


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value is a number that a duration or a rate can have."""
    try:
        return type(value) is not bool and isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _is_whole(value: object, at_least: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def must_be(name: str, accepted: str, value: object) -> str:
    """Why a value is refused; of an object of some other class, only the class is shown."""
    is_long = isinstance(value, int) and value.bit_length() >= 200  # Python may not print it
    if isinstance(value, str):
        text = ascii(str.__str__(value))
    elif value is None or (isinstance(value, int | float | timedelta) and not is_long):
        text = repr(value)
    else:
        return f"{name} must be {accepted}, got an object of class {type(value).__name__}"
    return f"{name} must be {accepted}, got {text if len(text) <= 60 else f'{text[:57]}...'}"


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
    """Find and check the key and the base URL, in the arguments or in the other sources."""
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
        return read_key_file(Path(path), "SIEVE_API_KEY_FILE")
    if home is not None and _exists(official := home / ".config" / ".sieve" / "config"):
        return read_key_file(official, "~/.config/.sieve/config")
    raise ConfigError(
        "no API key: pass SieveClient(api_key=...), set SIEVE_API_KEY to the key or "
        "SIEVE_API_KEY_FILE to a file that holds it, or put it into ~/.config/.sieve/config"
    )


def check_base_url(base_url: object) -> str:
    """The base URL without a slash at its end."""
    if not isinstance(base_url, str) or not _BASE_URL.fullmatch(base_url):
        raise ConfigError("the base URL must be a string of visible ASCII characters")
    parts = _parts(base_url)
    if parts is None:
        raise ConfigError("the base URL must look like https://host or https://host:port/path")
    if "@" in parts.netloc or "?" in base_url or "#" in base_url:
        raise ConfigError("the base URL must have no user name, no query and no fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ConfigError("the base URL must be https (plain http only to this machine itself)")
    return base_url.rstrip("/")


def _parts(base_url: str) -> SplitResult | None:
    """The parts of a URL; None without a valid host, or with an invalid port."""
    try:
        parts = urlsplit(base_url)
        is_valid = parts.port != 0 and _can_be_host(parts.hostname or "")
    except ValueError:  # no valid port, or brackets that hold no address
        return None
    return parts if is_valid else None


def _check_key(key: Secret, source: str) -> str:
    if not isinstance(key.value, str) or not _KEY.fullmatch(key.value):
        raise ConfigError(
            f"{source} is not an API key: a key is visible ASCII characters without white space"
        )
    return key.value


def read_key_file(path: Path, source: str) -> str:
    """The key in a file that was named by some source."""
    try:
        with path.expanduser().open("rb") as file:
            raw = file.read(_MAX_KEY_FILE + 1)
    except (OSError, RuntimeError, ValueError) as error:  # no such home, or no path at all
        reason = f"the file of {source} cannot be read: {getattr(error, 'strerror', None) or error}"
    else:
        if len(raw) <= _MAX_KEY_FILE:
            key = Secret(raw.decode(json.detect_encoding(raw), "replace").strip())
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
    if ":" in host or host.rstrip(".").rpartition(".")[2].isdigit():
        return _address(host) is not None
    return _HOST.fullmatch(host) is not None


def _is_loopback(host: str | None) -> bool:
    address = _address(host or "")
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host)
    return None
