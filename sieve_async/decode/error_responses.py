"""From a response that is not of the 2xx kind to the error that it means."""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import attrs

from sieve_async.decode.parser import NotJSONError, parse
from sieve_async.display import value_text
from sieve_async.errors import (
    APIError,
    RedirectError,
    ResponseError,
    SieveError,
    UnprocessableEntityError,
    api_error_class,
)
from sieve_async.messages import Request, Response, printable, shorten

_MAX_DETAIL = 2000
_SECONDS = re.compile(r"[0-9]{1,10}(?:\.[0-9]{0,10})?")
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_CLOCK = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_YEAR = "[1-9][0-9]{3}"
# The three forms of RFC 9110, section 5.6.7; without a zone it is GMT all the same.
_DATE = re.compile(
    rf"{_DAY}, [0-9]{{2}} [A-Z][a-z]{{2}} {_YEAR} {_CLOCK}(?: GMT)?"
    rf"|{_LONG_DAY}, [0-9]{{2}}-[A-Z][a-z]{{2}}-[0-9]{{2}} {_CLOCK}(?: GMT)?"
    rf"|{_DAY} [A-Z][a-z]{{2}} [ 0-9][0-9] {_CLOCK} {_YEAR}"
)


def error_from_response(request: Request[Any], response: Response) -> SieveError:
    """The error for a response that is not of the 2xx kind."""
    status = response.status
    if status < 200:
        return ResponseError("not a final answer", request.method, request.path, status)
    if status < 400:
        target = "".join(response.header("Location")[:1])
        reason = f"redirects are never followed (to {shorten(target.partition('?')[0])!a})"
        return RedirectError(reason, request.method, request.path, status, response.excerpt())
    return _api_error(request, response)


def retry_after(values: Iterable[str], *, date: str | None, now: datetime) -> float | None:
    """Seconds that the server asks us to wait (RFC 9110, section 10.2.3); None if it does not.

    A value that makes no sense asks for nothing. Fractions of a second are rounded up.

    Args:
        values: All ``Retry-After`` headers of the answer; the longest valid one counts.
        date: Its ``Date`` header: a date is an offset on the server's clock, not on ours.
        now: The wall clock, for an answer without a ``Date``.
    """
    sent_at = _read_date(date or "") or now
    valid = [seconds for value in values if (seconds := _read_delay(value, sent_at)) > 0]
    return max(valid, default=None)


def _read_delay(value: str, sent_at: datetime) -> float:
    value = value.strip(" \t")
    if _SECONDS.fullmatch(value):
        return float(math.ceil(float(value)))
    until = _read_date(value)
    return 0.0 if until is None else (until - sent_at).total_seconds()


def _read_date(value: str) -> datetime | None:
    if not _DATE.fullmatch(value):
        return None
    try:
        return parsedate_to_datetime(value.removesuffix(" GMT") + " GMT").replace(tzinfo=UTC)
    except ValueError:
        return None


def _api_error(request: Request[Any], response: Response) -> APIError:
    body = _read_body(response)
    # The API's word, that of its first version, and those of gateways before it.
    words = ("detail", "description", "message", "error")
    detail = next(filter(None, map(body.get, words)), "")
    error_id = body.get("error_id")
    request_ids = response.header("X-Request-Id")
    error = api_error_class(response.status)(
        response.status,
        _detail_text(response, detail),
        shorten(response.redact(value_text(error_id))) if error_id else None,
        shorten(request_ids[0]) if request_ids else None,
        retry_after(
            response.header("Retry-After"),
            date="".join(response.header("Date")[:1]),
            now=datetime.now(UTC),
        ),
        request.method,
        request.path,
    )
    if isinstance(error, UnprocessableEntityError) and isinstance(detail, list):
        problems = tuple(shorten(response.redact(_problem_text(item))) for item in detail)
        return attrs.evolve(error, problems=problems)
    return error


def _read_body(response: Response) -> Mapping[str, Any]:
    """The JSON object of an error body; a text counts as its detail, HTML as nothing."""
    try:
        value = parse(response.body)
    except NotJSONError:
        text = response.text().strip()
        return {} if text.startswith("<") else {"detail": text}
    if isinstance(value, str):
        return {"detail": value}
    return value if isinstance(value, dict) else {}


def _detail_text(response: Response, detail: object) -> str:
    items = detail if isinstance(detail, list) else [detail]
    text = "; ".join(map(_problem_text, items)) if isinstance(detail, list) else value_text(detail)
    return printable(response.redact(text)[:_MAX_DETAIL])


def _problem_text(item: object) -> str:
    """One line for an item of a 422's list: its place and its message."""
    if not isinstance(item, Mapping):
        return value_text(item)
    loc = item.get("loc")
    place = ".".join(map(value_text, loc)) if isinstance(loc, list) else ""
    return ": ".join(filter(None, (place, value_text(item.get("msg", "")))))
