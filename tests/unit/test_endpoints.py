"""The documented endpoints: checked arguments in, a request out."""

from typing import Any

import pytest

from sieve_async import FunctionVersion, InvalidArgumentError, Job, JobStatus, endpoints
from sieve_async.endpoints import get_job, get_version, list_jobs, pinned
from sieve_async.messages import Request

UUID = "0b8f6f1e-5b8c-4f55-9d0e-2f6a3f9f7a11"

GOOD_IDS = ["j", "7", UUID, "a..b", "a_b~c-d", "x" * 128, "latest"]
BAD_IDS: list[Any] = [
    *("", " ", ".", "..", "-a", "_a", "~a", "a/b", "a\\b", "../a", "%2e%2e", "a?b", "a#b", "a b"),
    *(" a", "a ", "a\n", "a\r\nX: y", "a\0", "a;b", "a:b", "a@b", "a&b", "a+b", "a=", "é"),
    *("\u0661", "\uff21", "\ud800", "\N{KELVIN SIGN}", "x" * 129, "x" * 1_000_000),
    *(None, 7, 0, True, 1.5, b"j", ["j"], ("j",), {}, object()),
]


def test_get_job() -> None:
    """A lookup of a job is one GET, whose answer must bear the very id; it is pinned."""
    for job_id in GOOD_IDS:
        request = get_job(job_id)
        assert request == Request("GET", f"/v2/jobs/{job_id}", Job, "", job_id)
        assert request.accepts(job_id)
        assert not request.accepts(f"{job_id}x")
        assert not request.accepts(job_id[:-1])
        assert pinned(request, job_id) is request


def test_offsets() -> None:
    """An offset from 0 to 2**63 - 1 is sent as a number, and never when it is zero."""
    assert get_job("j", offset=0).query == ""
    for offset in (1, 2**63 - 1):
        assert get_job("j", offset=offset).query == f"offset={offset}"
    bad: list[Any] = [-1, 2**63, 10**5000, True, False, None, 1.0, float("nan"), "1", b"1", [1]]
    for offset in bad:
        with pytest.raises(InvalidArgumentError, match=r"\Aoffset must be "):
            get_job("j", offset=offset)


def test_ids_that_cannot_be() -> None:
    """An id that could be read as anything but one segment of a path is refused, by name.

    The names of owners and functions are checked like ids, but may begin with an underscore.
    """
    for bad in BAD_IDS:
        with pytest.raises(InvalidArgumentError, match=r"\Ajob_id must be ") as caught:
            get_job(bad)
        assert len(str(caught.value)) < 1000
        assert str(caught.value).isascii()
        with pytest.raises(InvalidArgumentError, match=r"\Aversion_slug must be "):
            get_version("sieve", "dubbing", bad)
        if bad != "_a":
            with pytest.raises(InvalidArgumentError, match=r"\Aowner_name must be "):
                get_version(bad, "dubbing")
        if bad not in ("_a", None):
            with pytest.raises(InvalidArgumentError, match=r"\Afunction_name must be "):
                get_version("sieve", bad)


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


def test_ids_in_answers() -> None:
    """An id that could not be asked for is not taken: the next request is made of it."""
    for slug in ("latest", UUID[:7]):
        for found in ("", "a/b", "..", f"{UUID[:7]}/..", f"{UUID[:7]} ", "\ud800"):
            assert not get_version("sieve", "dubbing", slug).accepts(found)


@pytest.mark.parametrize("slug", ["latest", UUID[:7], UUID])
def test_pinned(slug: str) -> None:
    """A wait continues to ask for the version that it saw first, whatever it was called."""
    request = pinned(get_version("sieve", "dubbing", slug), UUID)
    assert request.path == f"/v2/functions/sieve/dubbing/versions/{UUID}"
    assert request.accepts(UUID)
    assert not request.accepts(f"{UUID}x")
    assert pinned(request, "other") is request


def test_ways_to_name_a_version() -> None:
    """A version is named in one argument or in several; given twice, it must be the same."""
    expected = get_version("sieve", "dubbing", "3ad9c1e")
    assert get_version("sieve/dubbing") == get_version("sieve", "dubbing", "latest")
    assert get_version("sieve/dubbing:3ad9c1e") == expected
    assert get_version("sieve/dubbing", version_slug="3ad9c1e") == expected
    assert get_version("sieve/dubbing:3ad9c1e", version_slug="3ad9c1e") == expected
    with pytest.raises(InvalidArgumentError, match="version_slug is given twice: 3ad9c1e and v2"):
        get_version("sieve/dubbing:3ad9c1e", version_slug="v2")
    with pytest.raises(InvalidArgumentError, match="owner_or_function must be OWNER/NAME"):
        get_version("sieve")


def test_lists() -> None:
    """A page of a list: of all jobs, of a function, or of a version; of one status or of all."""
    assert list_jobs() == Request("GET", "/v2/jobs", Job, "limit=500&offset=0")
    assert list_jobs(status=JobStatus.QUEUED, limit=9, offset=5).query == (
        "limit=9&offset=5&status=queued"
    )
    assert list_jobs(status="a b&c").query == "limit=500&offset=0&status=a%20b%26c"
    assert list_jobs(function="sieve/dubbing").path == "/v2/functions/sieve/dubbing/jobs"
    assert list_jobs(function="sieve/dubbing:v1").path == (
        "/v2/functions/sieve/dubbing/versions/v1/jobs"
    )
    for mistake in ({"function": "sieve"}, {"status": ""}, {"status": "\udcff"}, {"offset": -1}):
        with pytest.raises(InvalidArgumentError):
            list_jobs(**mistake)
