"""The fuzz targets: each takes any bytes and raises where the package breaks a promise."""

import copy
import json
import pickle
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from fuzz.mutations import ERROR, EVENT, JOB, PAGE, VERSION, Choices, body
from helpers.leak_checks import KEY
from sieve_async import (
    APIError,
    DecodeError,
    FunctionVersion,
    InvalidArgumentError,
    Job,
    RedirectError,
    ResponseError,
    SieveError,
    parse_webhook,
)
from sieve_async.config import check_job_id, parse_function_name
from sieve_async.decode import parse_model, parse_page, parse_state
from sieve_async.endpoints import get_job, get_version
from sieve_async.messages import Request, Response
from sieve_async.redaction import redactor

_REQUESTS: tuple[Request[Any], ...] = (
    get_job("job-1"),
    get_version("o", "f"),
    get_version("o", "f", "v"),
)
_STATUSES = (200, 200, 200, 201, 204, 206)
_ERROR_STATUSES = (400, 401, 404, 408, 422, 429, 500, 503, 302, 100)
_REDACT = redactor(KEY)
_DATE = (b"Date", b"Mon, 01 Jan 1990 00:00:00 GMT")
_PAUSES: tuple[tuple[tuple[bytes, bytes], ...], ...] = (
    *(((b"Retry-After", value),) for value in (b"5", b"1.5", b"0", b"nan", b"9" * 5000, b"soon")),
    (_DATE, (b"Retry-After", b"Mon, 01 Jan 1990 00:00:07 GMT")),
    (_DATE, (b"Retry-After", b"4"), (b"retry-after", b"Monday, 01-Jan-90 00:00:09 GMT")),
)


def _response(
    content: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Response:
    return Response(status, headers, content, _REDACT)


def _error_of(read: Callable[[], object]) -> SieveError | None:
    """The SieveError that a call raises, checked; any other exception is a failure."""
    try:
        read()
    except SieveError as error:
        _check_error(error)
        return error
    return None


def _check_error(error: SieveError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (repr(twin), str(twin)) == (repr(error), str(error))
    assert error.__context__ is None
    assert len(str(error)) <= 5000
    assert not any(unicodedata.category(each) in {"Cc", "Cs"} for each in str(error))
    assert KEY not in f"{error} {vars(error)}"


def models(data: bytes) -> None:
    """A document with id and status is decoded without loss; anything else is a DecodeError."""
    choices = Choices(data)
    request = choices.option(_REQUESTS)
    base = JOB if request.model is Job else VERSION
    response = _response(body(choices, base), choices.option(_STATUSES))
    error = _error_of(lambda: parse_model(request, response))
    assert repr(_error_of(lambda: parse_state(request, response))) == repr(error)
    if error is not None:
        assert isinstance(error, DecodeError)
        return
    model, state = parse_model(request, response), parse_state(request, response)
    status = model.status if isinstance(model, Job) else model.build_status
    assert (state.id, state.status) == (model.id, status)
    assert repr(state.model()) == repr(model)
    _check_round_trip(model)


def _check_round_trip(model: Job | FunctionVersion) -> None:
    document = model.to_dict()
    again = type(model).from_dict(document).to_dict()
    assert json.dumps(again, sort_keys=True) == json.dumps(document, sort_keys=True)
    hash(model)
    assert len(repr(model)) <= 3000
    assert repr(pickle.loads(pickle.dumps(model))) == repr(model)


def pages(data: bytes) -> None:
    """A page is an object with a list; its rows with id and status are kept, others left out."""
    choices = Choices(data)
    response = _response(body(choices, PAGE), choices.option(_STATUSES))
    request = get_job("job-1")
    error = _error_of(lambda: parse_page(request, response))
    if error is not None:
        assert isinstance(error, DecodeError)
        return
    page = parse_page(request, response)
    assert page.next_offset is None or 0 < page.next_offset < 2**63
    assert [job.id for job in page.models()] == [job_id for job_id, _ in page.jobs]
    for job in page.models():
        _check_round_trip(job)


def errors(data: bytes) -> None:
    """Every status of an error has its class, whatever its body and headers are."""
    choices = Choices(data)
    status = choices.option(_ERROR_STATUSES)
    headers = [*choices.option(_PAUSES)]
    headers.append((b"X-Request-Id", choices.option((KEY.encode(), b"r-1", b"\x1b[2J", b""))))
    headers.append((b"Location", choices.option((KEY.encode(), b"http://[", b"/a?b", b"\xff"))))
    response = _response(body(choices, ERROR) + choices.option((b"", KEY.encode())), status)
    response = attrs.evolve(response, headers=tuple(headers))
    error = _error_of(lambda: parse_model(get_job("job-1"), response))
    expected = APIError if status >= 400 else RedirectError if status >= 300 else ResponseError
    assert isinstance(error, expected)
    if isinstance(error, APIError):
        assert error.status == status
        assert error.retry_after is None or error.retry_after > 0


def webhooks(data: bytes) -> None:
    """An event has a type and a job id; anything else is an invalid argument."""
    content = body(Choices(data), EVENT)
    error = _error_of(lambda: parse_webhook(content))
    if error is not None:
        assert isinstance(error, InvalidArgumentError)
        return
    event = parse_webhook(content)
    assert event.type
    assert check_job_id(event.job_id) == event.job_id
    assert repr(pickle.loads(pickle.dumps(event))) == repr(event)


def identifiers(data: bytes) -> None:
    """A job id or a function name is accepted unchanged, or is an invalid argument."""
    text = data.decode("utf-8", "surrogateescape")
    for read in (check_job_id, parse_function_name):
        error = _error_of(lambda read=read: read(text))  # type: ignore[misc]
        assert error is None or isinstance(error, InvalidArgumentError)
        if error is None:
            assert text.isascii()
            assert text.isprintable()
            assert " " not in text
            assert "?" not in text
            assert "#" not in text


@attrs.frozen
class Target:
    """One target."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


_SEEDS = tuple(
    bytes([kind, form, changes, *range(at, at + 12)])
    for kind in range(4)
    for form in (0, 3)
    for changes in (0, 1, 4)
    for at in (0, 7, 40)
)
TARGETS: Mapping[str, Target] = {
    "models": Target(models, _SEEDS),
    "pages": Target(pages, _SEEDS),
    "errors": Target(errors, _SEEDS),
    "webhooks": Target(webhooks, _SEEDS),
    "identifiers": Target(
        identifiers, (b"job-1", b"..", b"a/b", b"o/f:v-1", b"a\xff", b"\x00", b"a" * 129)
    ),
}
