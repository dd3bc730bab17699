"""The key, the base URL, settings objects and the checks of arguments."""

import math
import pickle
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import pytest

from sieve_async import ConfigError, InvalidArgumentError, Limits, PollPolicy, RetryPolicy, Timeout
from sieve_async.config import (
    FunctionName,
    Secret,
    check_base_url,
    check_callable,
    check_choice,
    check_count,
    check_job_id,
    check_job_ids,
    check_offset,
    check_setting,
    check_status,
    check_timeout,
    find_api_key,
    parse_function_name,
    read_config,
)
from sieve_async.settings import as_timeout

KEY = "canary-4f1d9c7e"


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The file of the official client, in the home directory ``tmp_path``; empty."""
    folder = tmp_path / ".config" / ".sieve"
    folder.mkdir(parents=True)
    file = folder / "config"
    file.touch()
    return file


def test_order_of_sources(official: Path, tmp_path: Path) -> None:
    """The argument wins over the variable, the variable over its file, that over the official."""
    official.write_text("from-official-file")
    named = tmp_path / "key"
    named.write_text("from-named-file")
    environment = {"SIEVE_API_KEY": "from-variable", "SIEVE_API_KEY_FILE": str(named)}
    assert find_api_key(Secret("from-argument"), environment, tmp_path) == "from-argument"
    assert find_api_key(None, environment, tmp_path) == "from-variable"
    environment["SIEVE_API_KEY"] = ""  # counts as not set
    assert find_api_key(None, environment, tmp_path) == "from-named-file"
    environment["SIEVE_API_KEY_FILE"] = ""
    assert find_api_key(None, environment, tmp_path) == "from-official-file"
    official.unlink()
    for home in (tmp_path, None):
        with pytest.raises(ConfigError, match=r"SIEVE_API_KEY.*SIEVE_API_KEY_FILE.*\.config/\.si"):
            find_api_key(None, {}, home)


BAD_KEYS: list[Any] = [
    *("", " ", f" {KEY}", f"{KEY}\n", f"{KEY}\r\nX: y", "a\tb", "a\0", "\x7f", "é", "\ud800"),
    *(5, True, b"key", ["key"], object()),
]


def test_keys() -> None:
    """A key is one or more visible ASCII characters; an error names the source, not the key."""
    for key in ("k", "!", "~", 'a"b\\c', "x" * 4096):
        assert find_api_key(Secret(key), {}, None) == key
        assert find_api_key(None, {"SIEVE_API_KEY": key}, None) == key
    for key in BAD_KEYS:
        with pytest.raises(ConfigError, match="the api_key argument is not an API key") as caught:
            find_api_key(Secret(key), {"SIEVE_API_KEY": "other"}, None)
        assert KEY not in repr(caught.value)
        if key and isinstance(key, str):
            with pytest.raises(ConfigError, match="SIEVE_API_KEY is not an API key"):
                find_api_key(None, {"SIEVE_API_KEY": key}, None)


def test_key_files(official: Path, tmp_path: Path) -> None:
    """White space and byte order marks, as editors and shells write them, are ignored."""
    texts = (KEY, f" \t{KEY}\r\n\n", f"{KEY}{' ' * 4000}", f"\ufeff{KEY}\n")
    for content in (*(text.encode() for text in texts), f"{KEY}\r\n".encode("utf-16")):
        official.write_bytes(content)
        assert find_api_key(None, {}, tmp_path) == KEY
        assert find_api_key(None, {"SIEVE_API_KEY_FILE": str(official)}, None) == KEY


def test_key_files_without_a_key(official: Path, tmp_path: Path) -> None:
    """A file that does not hold a key is refused by its source, without a word of its content."""
    for content in (b"\n", b"key\nkey", b"\xff\xfe", b"\xfekey", b"k" * 4097):
        official.write_bytes(content)
        reason = "is too large to be a key" if len(content) > 4096 else "is not an API key"
        with pytest.raises(ConfigError, match=rf"file of ~/\.config/\.sieve/config {reason}"):
            find_api_key(None, {}, tmp_path)
        with pytest.raises(ConfigError, match=f"file of SIEVE_API_KEY_FILE {reason}") as caught:
            find_api_key(None, {"SIEVE_API_KEY_FILE": str(official)}, None)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("path", ["absent", "", "x" * 5000, "config/below", "~no-such-user/key"])
def test_key_files_that_cannot_be_read(path: str, official: Path) -> None:
    """A file that is named but cannot be read is an error: it is not passed over in silence."""
    name = path if path.startswith("~") else str(official.parent / path)
    with pytest.raises(ConfigError, match="file of SIEVE_API_KEY_FILE") as caught:
        find_api_key(None, {"SIEVE_API_KEY_FILE": name, "HOME": "/"}, official.parents[2])
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_unusable_homes(tmp_path: Path) -> None:
    """A failure to read the home directory is a ConfigError like any other."""
    (tmp_path / ".config" / ".sieve" / "config").mkdir(parents=True)
    for home in (tmp_path, Path("/" + "x" * 300), Path("/dev/null"), Path("a\0b")):
        with pytest.raises(ConfigError):
            find_api_key(None, {}, home)


def test_good_base_urls() -> None:
    """A base URL is https, or http to this machine; slashes at its end are dropped."""
    for url in (
        *(
            "https://mango.sievedata.com",
            "https://host:8443/a/b",
            "HTTPS://Host",
            "https://10.0.0.1",
        ),
        *("https://[2001:db8::1]:443", "http://LOCALHOST:8000", "http://127.1.2.3:1"),
        "http://[::1]:65535/v",
    ):
        assert check_base_url(url) == check_base_url(f"{url}/") == check_base_url(f"{url}//") == url


BAD_URLS: list[Any] = [
    *("", "mango.sievedata.com", "//host", "/v2", "https://", "https:host", "https://:443"),
    *("http://mango.sievedata.com", "http://10.0.0.1", "http://0.0.0.0", "http://[::]"),
    *("http://localhost.evil.example", "http://evil.example#@localhost", "ftp://host"),
    *("https://user@host", "https://:SECRET@host", "https://@host", "https://host?"),
    *("https://host/?a=SECRET", "https://host#", "https://host/#SECRET", "https://host:0"),
    *("https://host:65536", "https://host:x", "https://[::1", "https://[host]", "https://::1"),
    *("https://h\u00f6st", "https://host\u3002com", "https://ho st", " https://host"),
    *("https://host\n", "https://ho\tst", "https://host\\@evil", "https://ho%73t"),
    *("https://host;a", "https://host,b", "http://[fe80::1%25lo]", "unix:///run/x"),
    *(5, True, b"https://host", ["https://host"], object()),
]


def test_bad_base_urls() -> None:
    """What could send the key in clear, or elsewhere, is refused and not repeated."""
    for base_url in BAD_URLS:
        with pytest.raises(ConfigError, match=r"\Athe base URL must ") as caught:
            check_base_url(base_url)
        assert "SECRET" not in repr(caught.value)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_sources_of_the_base_url() -> None:
    """The base URL is the argument, else the variable, else the public service."""
    public, variable = "https://mango.sievedata.com", {"SIEVE_API_URL": "https://variable/"}
    for argument, environment, expected in (
        (None, {}, public),
        (None, {"SIEVE_API_URL": ""}, public),
        (None, variable, "https://variable"),
        ("https://argument/", variable, "https://argument"),
    ):
        assert read_config(Secret(KEY), argument, environment, None).base_url == expected


def test_the_key_is_not_shown() -> None:
    config = read_config(Secret(KEY), None, {}, None)
    assert config.api_key == KEY
    assert KEY not in f"{config} {config!r} {[config]} {Secret(KEY)} {Secret(KEY)!r}"


class Id(str, Enum):  # noqa: UP042 - older programs have them
    """Ids as a program may keep them."""

    A = "job-a"


def test_ids_of_enums() -> None:
    """An id that is a member of a string enum counts by its value, as a plain string."""
    for checked in (check_job_id("job-a"), check_job_id(Id.A)):
        assert (checked, type(checked)) == ("job-a", str)


def test_timeouts() -> None:
    """A timeout is seconds or a timedelta; None and infinity are no limit, and zero is zero."""
    limits = (0, 1, 2.5, timedelta(minutes=1), timedelta(0), None, float("inf"))
    checked = [check_timeout(limit) for limit in limits]
    assert checked == [0.0, 1.0, 2.5, 60.0, 0.0, None, None]
    assert {type(seconds) for seconds in checked} == {float, type(None)}


def test_function_names() -> None:
    """A function is named as OWNER/NAME or OWNER/NAME:SLUG."""
    names = {"sieve/dubbing": FunctionName("sieve", "dubbing")}
    names |= {"_a/_b.c:3ad9c1e": FunctionName("_a", "_b.c", "3ad9c1e")}
    for text, name in names.items():
        assert parse_function_name(text) == parse_function_name(name) == name
        assert str(name).startswith(text)


BAD_FUNCTIONS: list[Any] = [
    *("", "sieve", "/dubbing", "sieve/", "sieve/dubbing:", "sieve/a/b", "a/b:c:d", "a/b:_c"),
    *(" sieve/dubbing", "sieve/dubbing\n", "a:b/c", "../x", "a b/c", "a/b:../c", "x" * 1000),
    *(None, 5, b"a/b", ["a", "b"], ("a", "b"), object()),
]
BAD_ARGUMENTS: list[tuple[Callable[..., Any], tuple[Any, ...], list[Any]]] = [
    (parse_function_name, (), BAD_FUNCTIONS),
    (check_job_id, (), ["", "a/b", None, 5, 10**5000, b"a", Path("a")]),
    (check_timeout, (), [-1, -0.1, float("nan"), "1", True, timedelta(-1), 10**400, object()]),
    (check_offset, (), [-1, 1.0, True, "1", None, 2**63]),
    (check_status, (), ["", None, 5, b"queued"]),
    (check_job_ids, (), ["job-1", b"job-1", 5, None, object()]),
    (check_choice, ("strategy",), ["guess", "", None, 5, ["poll"], {}]),
    (check_callable, ("on_update",), ["x", 5, object()]),
]


@pytest.mark.parametrize(("check", "names", "values"), BAD_ARGUMENTS)
def test_bad_arguments(
    check: Callable[..., Any], names: tuple[Any, ...], values: list[Any]
) -> None:
    """An error names a bad argument, shows it within bounds, and says what is accepted."""
    choices = (("poll", "list"),) if check is check_choice else ()
    for value in values:
        with pytest.raises(InvalidArgumentError, match=r"\A[a-z_]+ must be .+, got ") as caught:
            check(*names, value, *choices)
        assert len(str(caught.value)) < 300
        assert str(caught.value).isascii()
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_what_errors_show() -> None:
    """Values of other classes are not shown, only their class: a repr may be anything."""

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(ConfigError, match=r"n must be .* got an object of class Odd"):
        check_count("n", Odd())
    with pytest.raises(InvalidArgumentError, match=r"got 'x{50,56}\.\.\."):
        check_job_id("x" * 1000)
    with pytest.raises(ConfigError, match="limits must be a Limits, got an object of class Time"):
        check_setting("limits", Timeout(), Limits)
    check_callable("on_update", None)
    with pytest.raises(InvalidArgumentError, match="on_update must be callable, got None"):
        check_callable("on_update", None, optional=False)


SETTINGS: list[tuple[Any, str, tuple[float | None, ...]]] = [
    (Timeout(), "connect request", (10, 30)),
    (RetryPolicy(), "max_attempts initial_delay max_delay max_retry_after", (3, 0.5, 8, 120)),
    (
        PollPolicy(),
        "min_interval growth max_interval jitter outage_timeout",
        (0.5, 0.05, 10, 0.25, 1800),
    ),
    (
        Limits(),
        "max_connections polls_per_second max_pending_jobs max_response_bytes",
        (64, 100, 100_000, 16 * 1024 * 1024),
    ),
]

NO_NUMBERS: tuple[Any, ...] = ("1", b"1", "", True, False, [], [1], {}, 1j, object(), Decimal(1))
NO_SECONDS = (math.nan, math.inf, -math.inf, -1, -0.001, 10**400, *NO_NUMBERS)
NO_COUNTS = (0, -1, -(10**400), 1.0, 1.5, math.nan, math.inf, None, *NO_NUMBERS)


@pytest.mark.parametrize(("settings", "names", "values"), SETTINGS)
def test_defaults(settings: Any, names: str, values: tuple[float | None, ...]) -> None:
    """Settings have the documented defaults; frozen, equal by value, hashable, by keyword only."""
    defaults = dict(zip(names.split(), values, strict=True))
    assert attrs.asdict(settings) == defaults
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(settings, next(iter(defaults)), 1)
    with pytest.raises(TypeError):
        type(settings)(1)
    assert pickle.loads(pickle.dumps(settings)) == settings == type(settings)(**defaults)
    assert hash(settings) == hash(type(settings)())


BAD_VALUES: list[tuple[Callable[..., Any], str, tuple[Any, ...]]] = [
    (Timeout, "connect", (*NO_SECONDS, 0, 0.0)),
    (Timeout, "request", (*NO_SECONDS, 0, 0.0)),
    (RetryPolicy, "max_attempts", NO_COUNTS),
    (RetryPolicy, "initial_delay", (*NO_SECONDS, None, 8.1)),
    (RetryPolicy, "max_delay", (*NO_SECONDS, None, 0.4)),
    (RetryPolicy, "max_retry_after", NO_SECONDS),
    (PollPolicy, "min_interval", (*NO_SECONDS, None, 10.1)),
    (PollPolicy, "growth", (*NO_SECONDS, None)),
    (PollPolicy, "max_interval", (*NO_SECONDS, None, 0.4)),
    (PollPolicy, "jitter", (*NO_SECONDS, None, 1, 1.5)),
    (PollPolicy, "outage_timeout", NO_SECONDS),
    (Limits, "max_connections", NO_COUNTS),
    (Limits, "polls_per_second", (*NO_SECONDS, 0, 0.0)),
    (Limits, "max_pending_jobs", NO_COUNTS),
    (Limits, "max_response_bytes", NO_COUNTS),
]


@pytest.mark.parametrize(("kind", "name", "values"), BAD_VALUES)
def test_bad_values(kind: Callable[..., Any], name: str, values: tuple[Any, ...]) -> None:
    """A setting that cannot work is refused when it is made, by name."""
    for value in values:
        with pytest.raises(ConfigError, match=name) as caught:
            kind(**{name: value})
        assert len(str(caught.value)) < 1000


ZERO_DELAYS = {"initial_delay": 0, "max_delay": 0, "max_retry_after": None}
ZERO_POLLS = {"min_interval": 0, "growth": 0, "max_interval": 0, "jitter": 0, "outage_timeout": 0}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Timeout, {"connect": None, "request": 1e-3}),
        (RetryPolicy, {"max_attempts": 1} | ZERO_DELAYS),
        (RetryPolicy, {"max_retry_after": 0}),
        (PollPolicy, ZERO_POLLS),
        (PollPolicy, {"min_interval": 10, "outage_timeout": None, "jitter": 0.99}),
        (Limits, {"max_connections": 1, "polls_per_second": None, "max_response_bytes": 1}),
        (Limits, {"polls_per_second": 0.5, "max_connections": 10_000}),
    ],
)
def test_good_values(kind: Callable[..., Any], values: dict[str, Any]) -> None:
    """Zero is zero and None is no limit, wherever that makes sense."""
    assert attrs.asdict(kind(**values)).items() >= values.items()


def test_plain_timeouts() -> None:
    """Seconds or a timedelta in the place of a Timeout are those of one request."""
    assert as_timeout(Timeout(connect=1)) == Timeout(connect=1)
    assert as_timeout(0.5) == Timeout(request=0.5)
    assert as_timeout(timedelta(minutes=2)) == Timeout(request=120)
    for given in (None, *NO_SECONDS, 0, timedelta(0), Limits()):
        with pytest.raises(ConfigError, match=r"\Atimeout must be a Timeout, or seconds or a time"):
            as_timeout(given)


def test_durations() -> None:
    """A timedelta may stand for seconds in every duration; it is kept as seconds."""
    second, minute = timedelta(seconds=1), timedelta(minutes=1)
    timeout = Timeout(connect=second, request=minute)
    polling = PollPolicy(min_interval=second, max_interval=minute, outage_timeout=minute)
    retry = RetryPolicy(initial_delay=second, max_delay=minute, max_retry_after=minute)
    assert attrs.astuple(timeout) == (1.0, 60.0)
    assert polling == PollPolicy(min_interval=1.0, max_interval=60.0, outage_timeout=60.0)
    assert retry == RetryPolicy(initial_delay=1.0, max_delay=60.0, max_retry_after=60.0)
