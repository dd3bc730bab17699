"""Error responses: their classes, bodies, retries, and the end of waits."""

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import JOB, JOB_PATH, Action, Script, job_json, respond, serve, serve_once
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
    ServerError,
    SieveError,
    UnprocessableEntityError,
)

pytestmark = pytest.mark.looptime

CLASSES: dict[int, tuple[type[SieveError], int]] = {
    400: (BadRequestError, 1),
    401: (AuthenticationError, 1),
    402: (OutOfCreditsError, 1),
    403: (PermissionDeniedError, 1),
    404: (NotFoundError, 1),
    405: (BadRequestError, 1),
    406: (BadRequestError, 1),
    408: (BadRequestError, 3),
    409: (BadRequestError, 1),
    410: (BadRequestError, 1),
    413: (BadRequestError, 1),
    418: (BadRequestError, 1),
    422: (UnprocessableEntityError, 1),
    421: (BadRequestError, 3),
    425: (BadRequestError, 3),
    426: (BadRequestError, 1),
    429: (RateLimitError, 3),
    431: (BadRequestError, 1),
    451: (BadRequestError, 1),
    499: (BadRequestError, 1),
    500: (ServerError, 3),
    501: (ServerError, 1),
    502: (ServerError, 3),
    503: (ServerError, 3),
    504: (ServerError, 3),
    505: (ServerError, 1),
    507: (ServerError, 3),
    511: (ServerError, 3),
    520: (ServerError, 3),
    521: (ServerError, 3),
    522: (ServerError, 3),
    523: (ServerError, 3),
    524: (ServerError, 3),
    599: (ServerError, 3),
}


BODIES: dict[str, tuple[bytes, str | None, str | None]] = {
    "detail": (b'{"detail": "No such job"}', "No such job", None),
    "error id": (b'{"error_id": "e-77"}', "", "e-77"),
    "both": (b'{"detail": "Oh", "error_id": "e-77"}', "Oh", "e-77"),
    "description": (b'{"description": "The old API"}', "The old API", None),
    "null": (b'{"detail": null, "error_id": null}', "", None),
    "HTML": (b"<!DOCTYPE html>\n<html><body>Bad gateway</body></html>", "", None),
    "empty": (b"", "", None),
    "an array": (b"[1, 2]", "", None),
    "a number": (b"5", "", None),
    "cut JSON": (b'{"detail": "No su', None, None),
    "wrong types": (b'{"detail": {"a": [1]}, "error_id": 5}', None, "5"),
    "not UTF-8": (b'{"detail": "\xff\xfe"}', None, None),
    "deep": (b"[" * 60_000, None, None),
    "lone surrogate": (b'{"detail": "a\\ud800b"}', None, None),
    "control characters": (b'{"detail": "a\\u0000\\u001b[31mb"}', None, None),
}


@pytest.mark.parametrize(("status", "expected"), CLASSES.items(), ids=CLASSES)
async def test_status(status: int, expected: tuple[type[APIError], int]) -> None:
    """Each error status has its class, and only transient ones are retried."""
    kind, attempts = expected
    rejection = respond({"detail": "why"}, status=status, headers=[("X-Request-Id", "r-1")])
    async with serve(rejection) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert type(error) is kind
        assert isinstance(error, APIError)
        assert (error.status, error.detail, error.request_id) == (status, "why", "r-1")
        assert (error.method, error.path, error.attempts) == ("GET", JOB_PATH, attempts)
        assert (error.error_id, error.retry_after) == (None, None)
        assert len(server.requests) == attempts
        assert client.stats.requests == attempts
        assert all(gap >= 0.0499 for gap in server.gaps)
        assert str(status) in str(error)
        assert "why" in str(error)


REJECTIONS = [400, 401, 402, 403, 404, 406, 409, 410, 422]


@pytest.mark.parametrize("status", [*REJECTIONS, 451, 501, 505])
async def test_rejection_at_the_first_poll(status: int) -> None:
    """A rejection without an earlier good response ends a wait at once."""
    async with serve(respond({"detail": "no"}, status=status)) as (server, client):
        error = await error_of(client.wait_for_job(JOB))

        assert isinstance(error, APIError)
        assert (error.status, len(server.requests)) == (status, 1)


@pytest.mark.parametrize("status", [408, 421, 425, 429, 500, 502, 503, 504, 511, 520, 524])
async def test_wait_continues_after_transient_errors(status: int) -> None:
    """A transient error does not end a wait, also at the first poll."""
    bad = respond({"detail": "later"}, status=status)
    async with serve(*([bad] * 7), respond()) as (server, client):
        job = await client.wait_for_job(JOB)

        assert job.succeeded
        assert len(server.requests) == 8


@pytest.mark.parametrize("status", REJECTIONS)
async def test_rejection_after_a_good_poll(status: int) -> None:
    """After a good response a rejection is confirmed by two more polls, 2.5 s apart."""
    running, rejection = respond(job_json(status="processing")), respond({}, status=status)
    async with serve(running, rejection) as (server, client):
        error = await error_of(client.wait_for_job(JOB))

        assert isinstance(error, APIError)
        assert (error.status, len(server.requests)) == (status, 4)
        assert all(2.5 - 1e-6 <= gap <= 15 for gap in server.gaps[1:])


@pytest.mark.parametrize("status", REJECTIONS)
@pytest.mark.parametrize("polls", [1, 2])
async def test_rejection_in_passing(status: int, polls: int) -> None:
    """A rejection that is not confirmed does not end a wait, however often it happens."""
    running, rejection = respond(job_json(status="processing")), respond({}, status=status)
    scripts = [running, *([rejection] * polls), running, *([rejection] * polls), respond()]
    async with serve(*scripts) as (server, client):
        job = await client.wait_for_job(JOB)

        assert job.succeeded
        assert len(server.requests) == len(scripts)


async def test_retry_budget() -> None:
    """Retries use a budget: a server that is down does not get three attempts for ever."""
    async with serve(respond({}, status=500)) as (server, client):
        for _ in range(60):
            await error_of(client.get_job(JOB))

        assert 0 <= client.stats.retry_tokens < 14
        assert len(server.requests) == client.stats.requests == 60 + 500 // 14


async def test_retry_budget_is_refilled() -> None:
    """A success after a retry returns what the retry took, up to the limit."""
    async with serve(respond({}, status=500), respond()) as (_, client):
        await client.get_job(JOB)
        await client.get_job(JOB)

        assert client.stats.retry_tokens == 500
        assert client.stats.retries == 1


@pytest.mark.parametrize("status", [204, 205, 206])
async def test_success_without_a_job(status: int) -> None:
    """A 2xx response without a complete job is a DecodeError."""
    script = [b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % status]
    async with serve(script) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, DecodeError)
        assert (error.status, error.attempts, len(server.requests)) == (status, 3, 3)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308, 399])
async def test_redirect(status: int) -> None:
    """Every 3xx is an error without a retry."""
    async with serve([b"HTTP/1.1 %d Go\r\nContent-Length: 0\r\n\r\n" % status]) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, RedirectError)
        assert (error.status, error.attempts, len(server.requests)) == (status, 1, 1)


@pytest.mark.parametrize("status", [101, 600, 999])
async def test_undocumented_status(status: int) -> None:
    """An undocumented status is an error that holds it."""
    async with serve_once([b"HTTP/1.1 %d Odd\r\nContent-Length: 0\r\n\r\n" % status]) as (
        _,
        client,
    ):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, (APIError, ResponseError))
        assert error.status == status


@pytest.mark.parametrize("status", [404, 422])
@pytest.mark.parametrize(("body", "detail", "error_id"), BODIES.values(), ids=BODIES)
async def test_error_body(
    body: bytes, detail: str | None, error_id: str | None, status: int
) -> None:
    """Whatever the body is, the status decides the class; the server's text is kept."""
    async with serve_once(respond(body, status=status)) as (_, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, APIError)
        assert (error.status, error.error_id) == (status, error_id)
        assert detail is None or error.detail == detail
        assert str(error).encode()


async def test_rejected_arguments() -> None:
    """The list of a 422 has one line for each argument."""
    listed = [
        {"loc": ["query", "offset"], "msg": "not an integer", "type": "int_parsing"},
        {"loc": ["path", 0], "msg": "too long"},
        "something else",
        {"odd": 1},
    ]
    async with serve_once(respond({"detail": listed}, status=422)) as (_, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, UnprocessableEntityError)
        assert len(error.problems) == 4
        assert "offset" in error.problems[0]
        assert "not an integer" in error.problems[0]
        assert "not an integer" in str(error)


@pytest.mark.parametrize("length", [1_000_000, None])
@pytest.mark.parametrize("status", [404, 500, 302])
async def test_huge_error_body(status: int, length: int | None) -> None:
    """At most 64 KiB of an error body are read, and its connection is closed."""
    body = b'{"detail": "' + b"x" * 1_000_000
    size = b"Content-Length: %d\r\n" % length if length else b""
    script: Script = [b"HTTP/1.1 %d No\r\n%b\r\n%b" % (status, size, body), Action.CLOSE]
    async with serve_once(script, respond()) as (server, client):
        error = await error_of(client.get_job(JOB))
        read = client.stats.bytes_received
        await client.get_job(JOB)

        assert isinstance(error, (APIError, RedirectError))
        assert error.status == status
        assert read <= 64 * 1024
        assert len(str(error)) < 4000
        assert server.connections == 2


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "rot13"])
async def test_encoded_error_body(coding: str) -> None:
    """The status decides the class also when the body cannot be decompressed."""
    rejection = respond(b"not compressed", status=404, headers=[("Content-Encoding", coding)])
    async with serve_once(rejection) as (_, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, NotFoundError)
