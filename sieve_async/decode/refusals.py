"""From an answer that is no good one to the error that it means."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from sieve_async.decode.parsing import NotJSONError, TooManyPartsError, parse
from sieve_async.decode.retry_after import retry_after
from sieve_async.errors import (
    APIError,
    RedirectError,
    ResponseError,
    SieveError,
    UnprocessableEntityError,
    api_error_class,
)
from sieve_async.messages import Request, Response, printable, shorten

_LONGEST_DETAIL = 2000


def error_from_response(request: Request[Any], response: Response) -> SieveError:
    """The error for an answer that is not of the 2xx kind."""
    status = response.status
    if status < 200:
        return ResponseError("not a final answer", request.method, request.path, status)
    if status < 400:
        where = "".join(response.header("Location")[:1])
        reason = f"redirects are never followed (to {shorten(where.partition('?')[0])!a})"
        return RedirectError(reason, request.method, request.path, status, response.excerpt())
    return _api_error(request, response)


def _api_error(request: Request[Any], response: Response) -> APIError:
    body = _error_body(response)
    detail = body.get("detail") or body.get("description") or body.get("message") or ""
    error_id = body.get("error_id")
    request_ids = response.header("X-Request-Id")
    error = api_error_class(response.status)(
        response.status,
        _detail(detail),
        shorten(str(error_id)) if error_id else None,
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
        return attrs.evolve(error, problems=tuple(map(_problem, detail)))
    return error


def _error_body(response: Response) -> Mapping[str, Any]:
    """The JSON object of an error body; a plain text counts as its detail, HTML as nothing."""
    try:
        value = masked(parse(response.body), response.redact)
    except (NotJSONError, TooManyPartsError):
        text = response.text().strip()
        return {} if text.startswith("<") else {"detail": text}
    return value if isinstance(value, dict) else {}


def _detail(detail: object) -> str:
    text = "; ".join(map(_problem, detail)) if isinstance(detail, list) else str(detail)
    return printable(text[:_LONGEST_DETAIL])


def _problem(item: object) -> str:
    """One line for an item of a 422's list: where, and what."""
    if not isinstance(item, Mapping):
        return shorten(str(item))
    loc = item.get("loc")
    where = ".".join(map(str, loc)) if isinstance(loc, list) else ""
    return shorten(": ".join(filter(None, (where, str(item.get("msg", ""))))))


def masked(value: Any, redact: Callable[[str], str]) -> Any:
    """A JSON value without the API key, should the server have repeated it."""
    match value:
        case str():
            return redact(value)
        case list():
            return [masked(item, redact) for item in value]
        case dict():
            return {redact(key): masked(item, redact) for key, item in value.items()}
    return value
