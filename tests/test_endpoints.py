"""The documented endpoints: checked arguments in, a request out."""

from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sieve_async import FunctionVersion, InvalidArgumentError, Job, endpoints
from sieve_async.endpoints import get_job, get_version, pinned
from sieve_async.messages import Request, Response, shorten

STEADY = settings(derandomize=True, deadline=None, max_examples=200)
GRAMMAR = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}"
UUID = "0b8f6f1e-5b8c-4f55-9d0e-2f6a3f9f7a11"

GOOD_IDS = ["j", "7", UUID, "a.b", "a..b", "a_b~c-d", "x" * 128, "latest"]
BAD_IDS: list[Any] = [
    *("", " ", ".", "..", "-a", "_a", "~a", "a/b", "a\\b", "../a", "%2e%2e", "a%2Fb", "a?b", "a#b"),
    *("a b", " a", "a ", "a\n", "a\r\nX: y", "a\0", "\ta", "a;b", "a:b", "a@b", "a&b", "a+b", "a="),
    *("é", "\u0661", "\uff21", "\ud800", "\N{KELVIN SIGN}", "x" * 129, "x" * 10_000_000),
    *(None, 7, 0, True, 1.5, b"j", ["j"], ("j",), {}, object()),
]


class Small(IntEnum):
    """An int that is written as a word."""

    THREE = 3


@pytest.mark.parametrize("job_id", GOOD_IDS, ids=range(len(GOOD_IDS)))
def test_get_job(job_id: str) -> None:
    """A lookup of a job is one GET, whose answer must bear the very id."""
    request = get_job(job_id)

    assert request == Request("GET", f"/v2/jobs/{job_id}", Job, "", job_id)
    assert request.accepts(job_id)
    assert not request.accepts(f"{job_id}x")
    assert not request.accepts(job_id[:-1])


@pytest.mark.parametrize(
    ("offset", "query"),
    [(0, ""), (1, "offset=1"), (Small.THREE, "offset=3"), (2**63 - 1, f"offset={2**63 - 1}")],
)
def test_offsets(offset: int, query: str) -> None:
    """An offset is sent as a number, and never when it is zero."""
    assert get_job("j", offset=offset).query == query


@pytest.mark.parametrize(
    "offset",
    [-1, 2**63, 10**5000, True, False, None, 1.0, float("nan"), "1", b"1", [1]],
    ids=range(11),
)
def test_offsets_that_cannot_be(offset: Any) -> None:
    """An offset that is no whole number from 0 to 2**63 - 1 is refused, by name."""
    with pytest.raises(InvalidArgumentError, match=r"\Aoffset must be "):
        get_job("j", offset=offset)


@pytest.mark.parametrize("job_id", BAD_IDS, ids=range(len(BAD_IDS)))
def test_ids_that_cannot_be(job_id: Any) -> None:
    """An id that could be read as anything but one segment of a path is refused, by name."""
    for call, name in (
        (lambda: get_job(job_id), "job_id"),
        (lambda: get_version("sieve", "dubbing", job_id), "version_slug"),
    ):
        with pytest.raises(InvalidArgumentError, match=rf"\A{name} must be ") as caught:
            call()

        assert len(str(caught.value)) < 1000
        assert str(caught.value).isascii()


def test_names_that_cannot_be() -> None:
    """The names of owners and functions are checked like ids, but may begin with an underscore."""
    for name in BAD_IDS:
        if name != "_a":
            with pytest.raises(InvalidArgumentError, match=r"\Aowner_name must be "):
                get_version(name, "dubbing")
            with pytest.raises(InvalidArgumentError, match=r"\Afunction_name must be "):
                get_version("sieve", name)


def test_latest_version() -> None:
    """A lookup of the latest version takes an answer with any id."""
    request = get_version("sieve", "_dubbing")

    assert request == get_version("sieve", "_dubbing", endpoints.LATEST)
    assert request.path == "/v2/functions/sieve/_dubbing/versions/latest"
    assert (request.method, request.model, request.query) == ("GET", FunctionVersion, "")
    assert request.accepts(UUID)


def test_version_by_prefix() -> None:
    """A lookup of a version takes an answer whose id begins with what was asked for."""
    request = get_version("sieve", "dubbing", UUID[:7])

    assert request.path == f"/v2/functions/sieve/dubbing/versions/{UUID[:7]}"
    assert request.accepts(UUID)
    assert request.accepts(UUID[:7])
    assert not request.accepts(UUID[:6])
    assert not request.accepts(f"x{UUID}")


@pytest.mark.parametrize("slug", ["latest", UUID[:7]])
@pytest.mark.parametrize(
    "expected_id", ["", "a/b", "..", f"{UUID[:7]}/..", f"{UUID[:7]} ", "\ud800"]
)
def test_ids_in_answers(slug: str, expected_id: str) -> None:
    """An id that could not be asked for is not taken: the next request is made of it."""
    assert not get_version("sieve", "dubbing", slug).accepts(expected_id)


@pytest.mark.parametrize("slug", ["latest", UUID[:7], UUID])
def test_pinned(slug: str) -> None:
    """A wait goes on asking for the version that it saw first, whatever it was called."""
    request = pinned(get_version("sieve", "dubbing", slug), UUID)

    assert request.path == f"/v2/functions/sieve/dubbing/versions/{UUID}"
    assert request.accepts(UUID)
    assert not request.accepts(f"{UUID}x")
    assert pinned(request, "other") is request


def test_pinned_job() -> None:
    """A request for a job is pinned from the start."""
    request = get_job("j", offset=3)

    assert pinned(request, "j") is request


@STEADY
@given(st.from_regex(GRAMMAR, fullmatch=True))
def test_any_id(job_id: str) -> None:
    """Every id of the grammar is taken, and stands in the path as it is."""
    path = f"/v2/functions/{job_id}/{job_id}/versions/{job_id}"

    assert get_job(job_id).path == f"/v2/jobs/{job_id}"
    assert get_version(job_id, job_id, job_id).path == path


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("", ""),
        ("  a \n\t b\r\n", "a b"),
        ("x" * 300, "x" * 300),
        ("x" * 301, "x" * 297 + "..."),
        ("see https://a.example/b?sig=1&c=2#d now", "see https://a.example/b?... now"),
        ('{"url": "http://a.example/?k=1", "b": "https://c.example"}',
         '{"url": "http://a.example/?...", "b": "https://c.example"}'),
        ("what? no", "what? no"),
    ],
)  # fmt: skip
def test_shorten(text: str, short: str) -> None:
    """What is quoted in an error is one line, not long, without the queries of URLs."""
    assert shorten(text) == short


def test_responses() -> None:
    """Whatever is read from an answer for a person is masked; the body itself is as it came."""
    headers = ((b"X-Echo", b"the key"), (b"x-ECHO", b"\xe9"), (b"Other", b"x"))
    response = Response(200, headers, b"key \xff key", lambda text: text.replace("key", "***"))

    assert response.header("x-echo") == ["the ***", "\xe9"]
    assert response.header("absent") == []
    assert response.text() == "*** \ufffd ***"
    assert response.excerpt() == "*** \ufffd ***"
    assert response.body == b"key \xff key"
    assert "key" not in repr(response)


def test_excerpts_of_long_answers() -> None:
    """A key or a URL's query at the end of an excerpt is masked before anything is cut off."""
    body = b"x" * 289 + b" secret-key https://a.example/?" + b"s" * 100_000
    response = Response(200, (), body, lambda text: text.replace("secret-key", "***"))

    assert response.excerpt() == "x" * 289 + " *** htt" + "..."
