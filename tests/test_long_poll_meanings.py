"""What the end of a held request means when it is not the end of the job."""

import pytest

from sieve_async import (
    ConnectError,
    DecodeError,
    InvalidArgumentError,
    RedirectError,
    RequestTimeoutError,
    SieveError,
    TLSError,
)
from sieve_async.errors import api_error_class
from sieve_async.polling.long_polls import means_cut_off, means_missing, means_unended

CUT_OFF, MISSING, UNENDED, NOTHING = "cut off", "missing", "unended", ""
BY_STATUS = {
    **dict.fromkeys((400, 401, 402, 403, 404, 406, 407, 409, 429, 499, 505), NOTHING),
    **dict.fromkeys((500, 502, 503, 504, 506, 599), CUT_OFF),
    **dict.fromkeys((405, 501), MISSING),
    408: UNENDED,
}
OTHERS: list[tuple[SieveError, str]] = [
    (ConnectError("the connection broke", "GET", "/"), CUT_OFF),
    (RequestTimeoutError("no answer in time", "GET", "/"), CUT_OFF),
    (DecodeError("not JSON", "GET", "/", 200), CUT_OFF),
    (RedirectError("elsewhere", "GET", "/", 302), CUT_OFF),
    (TLSError("no trust", "GET", "/"), NOTHING),
    (InvalidArgumentError("no id"), NOTHING),
]


def meanings(error: SieveError) -> list[str]:
    """All that the end of a held request may mean."""
    means = {CUT_OFF: means_cut_off, MISSING: means_missing, UNENDED: means_unended}
    return [word for word, applies in means.items() if applies(error)]


@pytest.mark.parametrize(("status", "meaning"), BY_STATUS.items())
def test_error_answers(status: int, meaning: str) -> None:
    """Each status means one thing at the most: no endpoint, time is up, or it was cut off."""
    error = api_error_class(status)(status)

    assert meanings(error) == [meaning] * bool(meaning)


@pytest.mark.parametrize(("error", "meaning"), OTHERS)
def test_no_answers(error: SieveError, meaning: str) -> None:
    """What broke on the way says nothing of the job; only trust that is missing will not pass."""
    assert meanings(error) == [meaning] * bool(meaning)
