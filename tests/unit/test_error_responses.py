"""From a response that is not of the 2xx kind to its error: the right class, all of it redacted."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from sieve_async import Job, errors
from sieve_async.decode import parse_model, parse_state
from sieve_async.messages import Request, Response

KEY = "canary-key"
JOB = Request("GET", "/v2/jobs/j", Job, expected_id="j")


def answer(status: int, body: object = b"", **headers: str) -> Response:
    """An answer with a body, either bytes or what becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    pairs = ((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Response(status, tuple(pairs), content, lambda text: text.replace(KEY, "[API key]"))


def error_of(response: Response, request: Request[Job] = JOB) -> errors.SieveError:
    """What both readers raise; they agree, and nothing of the libraries below hangs on it."""
    raised = []
    for read in (parse_model, parse_state):
        with pytest.raises(errors.SieveError) as caught:
            read(request, response)
        raised.append(caught.value)
    first, second = raised
    assert (type(first), first.args) == (type(second), second.args)
    assert (first.__cause__, first.__context__) == (None, None)
    assert KEY not in f"{first}{first!r}{first.args}"
    return first


def api_error_of(response: Response) -> errors.APIError:
    """The error in an error answer."""
    error = error_of(response)
    assert isinstance(error, errors.APIError)
    assert (error.method, error.path) == ("GET", "/v2/jobs/j")
    return error


def test_classes_of_errors() -> None:
    """Every status has its class, and the error says what the server said."""
    kinds = {
        401: errors.AuthenticationError,
        402: errors.OutOfCreditsError,
        403: errors.PermissionDeniedError,
        404: errors.NotFoundError,
        422: errors.UnprocessableEntityError,
        429: errors.RateLimitError,
    }
    for status in range(400, 600):
        error = api_error_of(answer(status, {"detail": "no such thing"}))
        assert type(error) is kinds.get(
            status, errors.BadRequestError if status < 500 else errors.ServerError
        )
        assert (error.status, error.detail, error.error_id) == (status, "no such thing", None)
        assert str(error) == f"GET /v2/jobs/j: HTTP {status}: no such thing"
    for status in (100, 103):
        assert type(error_of(answer(status))) is errors.ResponseError


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"  ", ""),
        ({"detail": "text"}, "text"),
        ({"message": "other"}, "other"),
        ({"error": "too many requests"}, "too many requests"),
        ({"error": {"code": 7}, "message": "other"}, "other"),
        ({"error": {"code": 7}}, "{'code': 7}"),
        ({"detail": None, "description": "old"}, "old"),
        ({"detail": ""}, ""),
        ({"detail": 5}, "5"),
        ({}, ""),
        ([], ""),
        (b"null", ""),
        (b"plain text", "plain text"),
        ("JSON text", "JSON text"),
        (b"<html><body>Bad gateway</body></html>", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"detail": "cut', '{"detail": "cut'),
        ({"detail": "x" * 5000}, "x" * 2000),
        (b"[" * 200_001, "[" * 2000),
        (f"headers: X-API-Key: {KEY}".encode(), "headers: X-API-Key: [API key]"),
        ({"detail": [{"loc": ["path", "id", 0], "msg": "long"}, "and"]}, "path.id.0: long; and"),
    ],
    ids=range(21),
)
def test_details_of_errors(body: object, detail: str) -> None:
    """Whatever the body of an error is, its text is the detail: bounded, redacted, never HTML."""
    assert api_error_of(answer(500, body)).detail == detail


def test_refused_arguments() -> None:
    """A 422 has one problem for each refused argument, with its place; with a text it has none."""
    items: list[object] = [
        {"loc": ["path", "job_id"], "msg": "too long", "type": "value_error"},
        {"loc": ["query", "offset", 0], "msg": "not a number"},
    ]
    error = api_error_of(answer(422, {"detail": items}))
    plain = api_error_of(answer(422, {"detail": "no"}))
    assert isinstance(error, errors.UnprocessableEntityError)
    assert error.problems == ("path.job_id: too long", "query.offset.0: not a number")
    assert error.detail == "path.job_id: too long; query.offset.0: not a number"
    assert isinstance(plain, errors.UnprocessableEntityError)
    assert (plain.problems, plain.detail) == ((), "no")


def test_what_to_quote() -> None:
    """An error holds the ids that support asks for, from the body and the headers."""
    error = api_error_of(answer(500, {"error_id": "e-1"}, x_request_id="r-1"))
    assert (error.error_id, error.request_id) == ("e-1", "r-1")
    assert str(error) == "GET /v2/jobs/j: HTTP 500 (error id e-1)"


def test_retry_after() -> None:
    """An error holds how long the server asks to wait, on its own clock when it shows it."""
    day = datetime(2001, 1, 1, tzinfo=UTC)
    date = format_datetime(day, usegmt=True)
    until = format_datetime(day + timedelta(seconds=90), usegmt=True)
    later = format_datetime(datetime.now(UTC) + timedelta(hours=10), usegmt=True)
    for status in (404, 429, 503):
        assert api_error_of(answer(status, retry_after="7")).retry_after == 7
        assert api_error_of(answer(status, date=date, retry_after=until)).retry_after == 90
        assert api_error_of(answer(status, retry_after="soon")).retry_after is None
        assert api_error_of(answer(status)).retry_after is None
    with pytest.raises(errors.APIError) as caught:
        parse_model(JOB, answer(429, retry_after=later))  # without a date it counts from our clock
    assert caught.value.retry_after == pytest.approx(36_000, abs=600)


def test_redirects() -> None:
    """A redirect is an error that says where it led, without the query."""
    for status in (300, 301, 302, 303, 304, 307, 308):
        error = error_of(answer(status, b"gone", location=f"https://evil.example/?{KEY}&sig=1"))
        assert isinstance(error, errors.RedirectError)
        assert (error.status, error.excerpt) == (status, "gone")
        assert "https://evil.example/" in str(error)
        assert "sig" not in str(error)


def test_keys_in_other_spellings() -> None:
    """A key that JSON spells with escapes is redacted all the same."""
    body = json.dumps({"detail": [{"msg": KEY}], "error_id": KEY}).replace("-", "\\u002d").encode()
    response = answer(422, body)
    error = api_error_of(response)
    assert isinstance(error, errors.UnprocessableEntityError)
    assert error.problems == ("[API key]",)
    assert (error.detail, error.error_id) == ("[API key]", "[API key]")


@pytest.mark.parametrize(
    "body", [b'{"detail": %s}', b'{"detail": [{"msg": %s}]}', b'{"error_id": %s}']
)
def test_deep_error_bodies(body: bytes) -> None:
    """An error body that is nested as deeply as JSON parsers go is an error of the API."""
    body = body.replace(b"%s", b"[" * 1000 + b"]" * 1000)
    assert api_error_of(answer(422, body)).status == 422


@pytest.mark.parametrize("status", [200, 500])
def test_signed_urls(status: int) -> None:
    """The query of a URL that an answer repeats is in no message and no excerpt."""
    url = "https://storage.example.com/a.mp4?X-Goog-Signature=5ec2e7&x=1"
    error = error_of(answer(status, {"id": 5, "detail": f"cannot read {url}, sorry"}))
    assert "https://storage.example.com/a.mp4" in f"{error!r}"
    assert "5ec2e7" not in f"{error!r} {error}"
