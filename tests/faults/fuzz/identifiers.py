"""Anything at all as an id or a name."""

import posixpath
from typing import Any
from urllib.parse import quote, urlsplit

from yarl import URL

from faults.fuzz.draws import Draws
from sieve_async import InvalidArgumentError
from sieve_async.endpoints import await_job, get_job, get_version, pinned
from sieve_async.watching import refusal

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_PIECES = (
    *(
        "a",
        "Z",
        "0",
        "-",
        "_",
        "~",
        ".",
        "..",
        "/",
        "%2e",
        "%2F",
        "?",
        "#",
        "\\",
        " ",
        "\r\n",
        "\0",
    ),
    *(
        "latest",
        "job-1",
        "\u0665",
        "é",
        "\ud800",
        "\u2024",
        "a" * 127,
        "a" * 128,
        "@",
        ":",
        "&",
        "=",
    ),
)


def target(data: bytes) -> None:
    """An id is taken or refused by its letters alone, and is one segment of the path as it is."""
    draws = Draws(data)
    value = _value(draws)
    is_id = isinstance(value, str) and _is_id(value)
    outcome = refusal(value)
    assert (outcome is None) == is_id
    if outcome is not None:
        assert isinstance(outcome.error, InvalidArgumentError)
        assert type(outcome.job_id) is str
        assert len(str(outcome.error)) < 1000
        str(outcome.error).encode("ascii")
    for ask, is_good, segments in (
        (lambda: get_job(value, offset=draws.number(9)), is_id, 3),
        (lambda: await_job(value), is_id, 4),
        (lambda: get_version("o", "f", value), is_id, 6),
        (lambda: get_version(value, value), isinstance(value, str) and _is_name(value), 6),
    ):
        _check(ask, value, is_good=is_good, segments=segments)


def _check(ask: Any, value: Any, *, is_good: bool, segments: int) -> None:
    try:
        request = ask()
    except InvalidArgumentError:
        assert not is_good
        return
    assert is_good
    parts = request.path.split("/")[1:]
    assert len(parts) == segments
    assert value in parts
    assert quote(request.path, safe="/~") == posixpath.normpath(request.path) == request.path
    url = URL("http://localhost").with_path(request.path, encoded=True)
    assert url.raw_path == urlsplit(str(url)).path == URL(str(url)).path == request.path
    assert not (url.query_string)
    assert not (url.fragment)
    assert not (url.user)
    if request.expected_id is not None:
        assert request.accepts(value)
        assert request.accepts(f"-{value}") is request.accepts(f"{value}\n") is False
        assert request.accepts(f"{value}a") == (segments == 6 and len(value) < 128)
    follower = pinned(request, "v-9")
    assert follower.path == (
        request.path.rpartition("/")[0] + "/v-9" if segments == 6 else request.path
    )


def _value(draws: Draws) -> Any:
    match draws.number(4):
        case 0:
            return draws.rest().decode("utf-8", "surrogateescape")
        case 1:
            return draws.rest().decode("latin-1")
        case 2:
            return draws.choice((None, 5, b"job-1", ["job-1"], True, 1.5, _Odd()))
    return "".join(draws.choice(_PIECES) for _ in range(draws.number(6)))


class _Odd:
    def __str__(self) -> str:
        raise RuntimeError


def _is_id(value: str) -> bool:
    return (
        0 < len(value) <= 128 and value[0] in _LETTERS and _LETTERS.union("._~-").issuperset(value)
    )


def _is_name(value: str) -> bool:
    return _is_id(f"a{value[1:]}") and (value[:1] == "_" or _is_id(value))
