"""The key, the base URL and the checks of arguments: what may be given, and what is said if not."""

from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from sieve_async import ConfigError, InvalidArgumentError
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
    check_seconds,
    check_setting,
    check_status,
    check_timeout,
    find_api_key,
    parse_function_name,
    read_config,
)

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
    del environment["SIEVE_API_KEY"]
    assert find_api_key(None, environment, tmp_path) == "from-named-file"
    del environment["SIEVE_API_KEY_FILE"]
    assert find_api_key(None, environment, tmp_path) == "from-official-file"


@pytest.mark.parametrize("name", ["SIEVE_API_KEY", "SIEVE_API_KEY_FILE"])
def test_empty_variables(name: str, official: Path, tmp_path: Path) -> None:
    """A variable that is empty counts as not set."""
    official.write_text(KEY)

    assert find_api_key(None, {name: ""}, tmp_path) == KEY


@pytest.mark.parametrize("home", [True, False])
def test_no_key(home: bool, tmp_path: Path) -> None:  # noqa: FBT001 - whether there is one
    """Without any key the error says where one may stand."""
    with pytest.raises(ConfigError, match=r"SIEVE_API_KEY.*SIEVE_API_KEY_FILE.*\.config/\.sieve"):
        find_api_key(None, {}, tmp_path if home else None)


@pytest.mark.parametrize("key", ["k", "!", "~", 'a"b\\c', "x" * 4096])
def test_good_keys(key: str) -> None:
    """A key is one or more visible ASCII characters."""
    assert find_api_key(Secret(key), {}, None) == key
    assert find_api_key(None, {"SIEVE_API_KEY": key}, None) == key


@pytest.mark.parametrize(
    "key",
    [
        *(
            "",
            " ",
            f" {KEY}",
            f"{KEY}\n",
            f"{KEY}\r\nX: y",
            "a b",
            "a\tb",
            "a\0",
            "\x7f",
            "é",
            "\ud800",
        )
    ],
)
def test_malformed_keys(key: str) -> None:
    """A key that cannot travel in a header is refused, whence it came is said, and it is not."""
    with pytest.raises(ConfigError, match="the api_key argument is not an API key") as caught:
        find_api_key(Secret(key), {"SIEVE_API_KEY": "other"}, None)
    assert KEY not in repr(caught.value)

    if key:
        with pytest.raises(ConfigError, match="SIEVE_API_KEY is not an API key"):
            find_api_key(None, {"SIEVE_API_KEY": key}, None)


@pytest.mark.parametrize("key", [5, True, b"key", ["key"], object()])
def test_keys_that_are_no_strings(key: Any) -> None:
    """A key that is not a string is refused."""
    with pytest.raises(ConfigError, match="the api_key argument is not an API key"):
        find_api_key(Secret(key), {}, None)


@pytest.mark.parametrize("content", [KEY, f"{KEY}\n", f" \t{KEY}\r\n\n", f"{KEY}{' ' * 4000}"])
def test_key_files(content: str, official: Path, tmp_path: Path) -> None:
    """White space around the key in a file, such as the newline of an editor, is ignored."""
    official.write_bytes(content.encode())

    assert find_api_key(None, {}, tmp_path) == KEY
    assert find_api_key(None, {"SIEVE_API_KEY_FILE": str(official)}, None) == KEY


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not an API key"),
        (b"\n", "is not an API key"),
        (b"a key", "is not an API key"),
        (b"key\nkey", "is not an API key"),
        (b"\xff\xfe", "is not an API key"),
        (b"\xef\xbb\xbfkey", "is not an API key"),
        (b"\0" * 10, "is not an API key"),
        (b"k" * 4097, "is too large to be a key"),
        (b"k" * 1_000_000, "is too large to be a key"),
    ],
    ids=range(9),
)
def test_key_files_that_cannot_be(
    content: bytes, reason: str, official: Path, tmp_path: Path
) -> None:
    """A file that does not hold a key is refused by its source, without a word of its content."""
    official.write_bytes(content)

    with pytest.raises(ConfigError, match=rf"file of ~/\.config/\.sieve/config {reason}"):
        find_api_key(None, {}, tmp_path)
    with pytest.raises(ConfigError, match=f"file of SIEVE_API_KEY_FILE {reason}") as caught:
        find_api_key(None, {"SIEVE_API_KEY_FILE": str(official)}, None)

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize(
    "path", ["absent", "", "x" * 5000, "config/below", "~nobody-of-this-name/key"]
)
def test_key_files_that_cannot_be_read(path: str, official: Path) -> None:
    """A file that is named but cannot be read is an error: it is not passed over in silence."""
    name = path if path.startswith("~") else str(official.parent / path)

    with pytest.raises(ConfigError, match="file of SIEVE_API_KEY_FILE") as caught:
        find_api_key(None, {"SIEVE_API_KEY_FILE": name, "HOME": "/"}, official.parents[2])

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("home", [Path("/" + "x" * 300), Path("/dev/null"), Path("a\0b")])
def test_homes_that_cannot_be_read(home: Path) -> None:
    """Trouble with the home directory is a ConfigError like any other."""
    with pytest.raises(ConfigError):
        find_api_key(None, {}, home)


def test_official_file_that_is_a_folder(tmp_path: Path) -> None:
    """A folder in the place of the official file holds no key."""
    (tmp_path / ".config" / ".sieve" / "config").mkdir(parents=True)

    with pytest.raises(ConfigError):
        find_api_key(None, {}, tmp_path)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://mango.sievedata.com", "https://mango.sievedata.com"),
        ("https://mango.sievedata.com/", "https://mango.sievedata.com"),
        ("https://host:8443/a/b//", "https://host:8443/a/b"),
        ("HTTPS://Host", "HTTPS://Host"),
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("https://[2001:db8::1]:443", "https://[2001:db8::1]:443"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://LOCALHOST", "http://LOCALHOST"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:65535/v", "http://[::1]:65535/v"),
    ],
)
def test_good_base_urls(given: str, kept: str) -> None:
    """A base URL is https, or http to this machine; slashes at its end are dropped."""
    assert check_base_url(given) == kept


BAD_URLS: list[Any] = [
    *(
        "",
        "mango.sievedata.com",
        "//host",
        "/v2",
        "https://",
        "https:///v2",
        "https:host",
        "https://:443",
    ),
    *(
        "http://mango.sievedata.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://[::]",
        "ftp://host",
    ),
    *(
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://evil.example#@localhost",
    ),
    *("https://user@host", "https://user:SECRET@host", "https://:SECRET@host", "https://@host"),
    *("https://host?", "https://host/?a=SECRET", "https://host#", "https://host/#SECRET"),
    *("https://host:0", "https://host:65536", "https://host:x", "https://host:-1", "https://[::1"),
    *(
        "https://[host]",
        "https://::1",
        "https://h\u00f6st",
        "https://host\u3002com",
        "https://ho st",
    ),
    *(" https://host", "https://host\n", "https://ho\tst", "https://host\\@evil", "https://ho%73t"),
    *("https://host;a", "https://host,b", "http://[fe80::1%25lo]", "unix:///run/x", "file:///etc"),
    *("javascript:1", 5, True, b"https://host", ["https://host"], object()),
]


@pytest.mark.parametrize("base_url", BAD_URLS, ids=range(len(BAD_URLS)))
def test_bad_base_urls(base_url: Any) -> None:
    """Whatever could send the key in clear, or elsewhere, is refused and not repeated."""
    with pytest.raises(ConfigError, match=r"\Athe base URL must ") as caught:
        check_base_url(base_url)

    assert "SECRET" not in repr(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize(
    ("argument", "environment", "expected"),
    [
        (None, {}, "https://mango.sievedata.com"),
        (None, {"SIEVE_API_URL": ""}, "https://mango.sievedata.com"),
        (None, {"SIEVE_API_URL": "https://variable/"}, "https://variable"),
        ("https://argument/", {"SIEVE_API_URL": "https://variable"}, "https://argument"),
    ],
)
def test_sources_of_the_base_url(
    argument: str | None, environment: dict[str, str], expected: str
) -> None:
    """The base URL is the argument, else the variable, else the public service."""
    assert read_config(Secret(KEY), argument, environment, None).base_url == expected


def test_the_key_is_not_shown() -> None:
    """No text of the configuration shows the key."""
    config = read_config(Secret(KEY), None, {}, None)

    assert config.api_key == KEY
    assert KEY not in f"{config} {config!r} {[config]} {Secret(KEY)} {Secret(KEY)!r}"


class Id(str, Enum):  # noqa: UP042 - older programs have them
    """Ids as a program may keep them."""

    A = "job-a"


@pytest.mark.parametrize("job_id", ["job-a", Id.A], ids=["text", "enum"])
def test_ids_of_enums(job_id: str) -> None:
    """An id that is a member of a string enum counts by its value, as a plain string."""
    checked = check_job_id(job_id)

    assert (checked, type(checked)) == ("job-a", str)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        (0, 0.0),
        (1, 1.0),
        (2.5, 2.5),
        (timedelta(minutes=1), 60.0),
        (float("inf"), None),
        (timedelta(0), 0.0),
    ],
)
def test_timeouts(given: Any, seconds: float | None) -> None:
    """A timeout is seconds or a timedelta; None and infinity are no limit, and zero is zero."""
    assert check_timeout(given) == seconds
    assert type(check_timeout(given)) in {float, type(None)}


FUNCTIONS = [
    ("sieve/dubbing", FunctionName("sieve", "dubbing")),
    ("sieve/dubbing:latest", FunctionName("sieve", "dubbing", "latest")),
    ("_a/_b.c:3ad9c1e", FunctionName("_a", "_b.c", "3ad9c1e")),
    (FunctionName("a", "b", "c"), FunctionName("a", "b", "c")),
]


@pytest.mark.parametrize(("given", "expected"), FUNCTIONS)
def test_function_names(given: Any, expected: FunctionName) -> None:
    """A function is named as OWNER/NAME or OWNER/NAME:SLUG."""
    assert parse_function_name(given) == expected
    assert parse_function_name(str(expected)) == expected


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


@pytest.mark.parametrize(
    ("check", "arguments"),
    [
        (check_job_ids, (["a"],)),
        (check_job_ids, (iter("ab"),)),
        (check_choice, ("strategy", "poll", ("poll", "list"))),
        (check_callable, ("on_update", print)),
        (check_callable, ("on_update", None)),
        (check_count, ("n", 1)),
        (check_seconds, ("s", 0)),
        (check_setting, ("s", 5, int)),
    ],
)
def test_good_arguments(check: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """What is accepted passes."""
    check(*arguments)


def test_callables_that_must_be_given() -> None:
    """Where a callback must be given, None is none."""
    with pytest.raises(InvalidArgumentError, match="on_update must be callable, got None"):
        check_callable("on_update", None, optional=False)


def test_what_errors_show() -> None:
    """Values of other classes are not shown, only their class: a repr may be anything."""

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(ConfigError, match=r"n must be .* got an object of class Odd"):
        check_count("n", Odd())
    with pytest.raises(InvalidArgumentError, match=r"got 'x{50,56}\.\.\."):
        check_job_id("x" * 1000)
