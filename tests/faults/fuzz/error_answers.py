"""Any answer with any status, which repeats the key in some spelling."""

import html
import json
import math
import re
from typing import Any
from urllib.parse import unquote

from faults.fuzz.asking_for import (
    KEY,
    LIST,
    REQUESTS,
    check_printable,
    failure_of,
    response,
    told,
)
from faults.fuzz.draws import Draws
from sieve_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    DecodeError,
    NotFoundError,
    OutOfCreditsError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ResponseError,
    ResponseTooLargeError,
    ServerError,
    SieveError,
    UnprocessableEntityError,
)
from sieve_async.decode import parse_model, parse_page, parse_state, parse_text

# The second one has every character that JSON, HTML, a URL or a regular expression writes oddly.
KEYS = (KEY, "k3y\"<a&b>'/\\=+%7.*[(~{$^|#?;:,@!`_-")
_STATUSES = (200, 422, 400, 401, 402, 403, 404, 409, 408, 429, 500, 503, 599, 300, 302, 308, 199)
_CLASSES: dict[int, type[APIError]] = {
    401: AuthenticationError,
    402: OutOfCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}
HOLDERS = (
    b"%s",
    b'{"detail": "%s"}',
    b'{"detail": [{"loc": ["header", "%s"], "msg": "no %s"}]}',
    b'{"description": {"%s": ["%s"]}}',
    b'{"message": "a", "error_id": ["%s"]}',
    b'{"error_id": "%s", "detail": null}',
    b'<html><pre title="%s">%s',
    b'{"id": "%s", "status": 5, "%s": 1}',
    b'{"id": "job-1", "status": "a", "inputs": {"%s": "%s"}}',
    b'{"data": "%s"}',
    b'["%s", {"%s": "%s"}]',
    b"\xff%s\xff",
)
_NAMES = (b"X-Request-Id", b"Location", b"location", b"Retry-After", b"Date", b"X-Request-ID")
_NUMERIC = re.compile(r"\\u00([0-9a-fA-F]{2})")


def target(data: bytes) -> None:
    """What an error says is bounded and fit for a log, and the key is in nothing of it."""
    draws = Draws(data)
    status = draws.choice((*_STATUSES, 100 + draws.number(500)))
    key = draws.choice(KEYS)
    request = draws.choice((*REQUESTS, LIST))
    headers = tuple((draws.choice(_NAMES), _filled(draws, key)) for _ in range(draws.number(4)))
    answer = response(_body(draws, key), status, headers, key)
    errors = [
        error
        for read in (parse_model, parse_state, parse_page, parse_text)
        if (error := failure_of(read, request, answer)) is not None
    ]
    if not 200 <= status < 300:
        assert len(errors) == 4
        assert len({told(error) for error in errors}) == 1
    for error in errors:
        _check_class(error, status)
        for text in _texts(error):
            _check_hidden(text, key)


def _body(draws: Draws, key: str) -> bytes:
    holder = draws.choice((*HOLDERS, draws.piece()))
    for _ in range(holder.count(b"%s")):
        holder = holder.replace(b"%s", _spelling(draws, key) + draws.piece(), 1)
    return holder + draws.rest()


def _filled(draws: Draws, key: str) -> bytes:
    return b"".join((draws.piece(), _spelling(draws, key), draws.piece()))


def _spelling(draws: Draws, key: str) -> bytes:
    """The key as one program or another would write it."""
    in_json = json.dumps(key)[1:-1]
    spellings = (
        key,
        in_json,
        json.dumps(in_json)[1:-1],
        html.escape(key),
        repr(key)[1:-1],
        "".join(f"%{ord(one):02X}" for one in key),
        None,
    )
    spelling = draws.choice(spellings)
    if spelling is None:  # each character in its own way
        spelling = "".join(_spelt(draws, one) for one in key)
    return spelling.encode()


def _spelt(draws: Draws, character: str) -> str:
    code = ord(character)
    forms = (character, f"\\u{code:04x}", f"\\u{code:04X}", f"%{code:02x}", f"&#{code};")
    return draws.choice((*forms, f"&#x{code:x};"))


def _check_class(error: SieveError, status: int) -> None:
    if 200 <= status < 300:
        assert isinstance(error, DecodeError | ResponseTooLargeError)
    elif status < 200:
        assert type(error) is ResponseError
    elif status < 400:
        assert type(error) is RedirectError
    else:
        assert isinstance(error, APIError)
        assert type(error) is _CLASSES.get(
            status, ServerError if status >= 500 else BadRequestError
        )
        assert error.status == status
        _check_api_error(error)


def _check_api_error(error: APIError) -> None:
    asked = error.retry_after
    assert asked is None or (type(asked) is float and math.isfinite(asked) and asked > 0)
    for short in (error.error_id, error.request_id):
        if short is not None:
            check_printable(short, most=300)
    assert type(error.detail) is str
    check_printable(" ".join(error.detail.split()), most=2100)
    for problem in getattr(error, "problems", ()):
        check_printable(problem, most=300)


def _texts(error: SieveError) -> list[str]:
    def leaves(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for pair in value.items() for one in pair for text in leaves(one)]
        if isinstance(value, list | tuple):
            return [text for one in value for text in leaves(one)]
        return [str(value)]

    return [str(error), *leaves(vars(error))]


def _check_hidden(text: str, key: str) -> None:
    """Neither the text nor what a reader would make of it shows the key."""
    from_json = _NUMERIC.sub(lambda match: chr(int(match[1], 16)), text)
    for reading in (text, html.unescape(text), unquote(text), from_json):
        for one in (reading, re.sub(r"\\(.)", r"\1", reading)):
            assert key not in one
