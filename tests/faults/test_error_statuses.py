"""Fault class E: error answers, their classes, their bodies, and what is tried again."""

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
    425: (BadRequestError, 1),
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


@pytest.mark.parametrize(("status", "wanted"), CLASSES.items(), ids=CLASSES)
async def test_status(status: int, wanted: tuple[type[APIError], int]) -> None:
    """Each error status has its class, and only what may pass is asked again."""
    kind, attempts = wanted
    refusal = respond({"detail": "why"}, status=status, headers=[("X-Request-Id", "r-1")])
    async with serve(refusal) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert type(error) is kind
        assert isinstance(error, APIError)
        assert (error.status, error.detail, error.request_id) == (status, "why", "r-1")
        assert (error.method, error.path, error.attempts) == ("GET", JOB_PATH, attempts)
        assert (error.error_id, error.retry_after) == (None, None)
        assert len(wire.requests) == attempts
        assert client.stats.requests == attempts
        assert all(gap >= 0.0499 for gap in wire.gaps)
        assert str(status) in str(error)
        assert "why" in str(error)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 406, 409, 422, 425, 451, 501, 505])
async def test_refusal_ends_a_wait(status: int) -> None:
    """A wait for what is refused for good is over at the first poll."""
    async with serve(respond({"detail": "no"}, status=status)) as (wire, client):
        error = await error_of(client.wait_for_job(JOB))

        assert isinstance(error, APIError)
        assert (error.status, len(wire.requests)) == (status, 1)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 511, 520, 524])
async def test_outage_ends_no_wait(status: int) -> None:
    """A wait goes on through what may pass, also when that is the first it sees."""
    bad = respond({"detail": "later"}, status=status)
    async with serve(*([bad] * 7), respond()) as (wire, client):
        ended = await client.wait_for_job(JOB)

        assert ended.succeeded
        assert len(wire.requests) == 8


@pytest.mark.parametrize(
    ("status", "polls"), [(401, 2), (404, 3), (400, 1), (402, 1), (403, 1), (422, 1)]
)
async def test_refusal_after_a_good_poll(status: int, polls: int) -> None:
    """Replicas lag: 404 and 401 are confirmed once the job was seen; other refusals need not be."""
    waiting, refusal = respond(job_json(status="processing")), respond({}, status=status)
    async with serve(waiting, refusal) as (wire, client):
        error = await error_of(client.wait_for_job(JOB))

        assert isinstance(error, APIError)
        assert (error.status, len(wire.requests)) == (status, 1 + polls)


@pytest.mark.parametrize(("status", "polls"), [(401, 1), (404, 2)])
async def test_refusal_that_passes(status: int, polls: int) -> None:
    """A refusal that is not confirmed was a stale replica: the wait goes on."""
    waiting, refusal = respond(job_json(status="processing")), respond({}, status=status)
    async with serve(waiting, *([refusal] * polls), respond()) as (wire, client):
        ended = await client.wait_for_job(JOB)

        assert ended.succeeded
        assert len(wire.requests) == 2 + polls


async def test_outage_is_not_made_worse() -> None:
    """Retries come out of a budget: a server that is down is not asked three times for ever."""
    async with serve(respond({}, status=500)) as (wire, client):
        for _ in range(60):
            await error_of(client.get_job(JOB))

        assert 0 <= client.stats.retry_tokens < 14
        assert len(wire.requests) == client.stats.requests == 60 + 500 // 14


async def test_budget_fills_up_again() -> None:
    """A success after a retry gives back what the retry took, and never more than there was."""
    async with serve(respond({}, status=500), respond()) as (_, client):
        await client.get_job(JOB)
        await client.get_job(JOB)

        assert client.stats.retry_tokens == 500
        assert client.stats.retries == 1


@pytest.mark.parametrize("status", [204, 205, 206])
async def test_success_without_a_job(status: int) -> None:
    """A success that holds no whole job is an answer that cannot be used."""
    script = [b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % status]
    async with serve(script) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, DecodeError)
        assert (error.status, error.attempts, len(wire.requests)) == (status, 3, 3)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308, 399])
async def test_redirect(status: int) -> None:
    """Nothing but this very answer is wanted: any 3xx is an error, and asking again is no use."""
    async with serve([b"HTTP/1.1 %d Go\r\nContent-Length: 0\r\n\r\n" % status]) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, RedirectError)
        assert (error.status, error.attempts, len(wire.requests)) == (status, 1, 1)


@pytest.mark.parametrize("status", [101, 600, 999])
async def test_status_that_should_not_be(status: int) -> None:
    """A status that no document knows is still an error of ours with the status in it."""
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
    """Whatever body an error has, its status decides, and the server's own words are kept."""
    async with serve_once(respond(body, status=status)) as (_, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, APIError)
        assert (error.status, error.error_id) == (status, error_id)
        assert detail is None or error.detail == detail
        assert str(error).encode()


async def test_refused_arguments() -> None:
    """The list of a 422 is one line for each argument."""
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
    """Of an error body at most 64 KiB are read, and its connection is not used again."""
    body = b'{"detail": "' + b"x" * 1_000_000
    size = b"Content-Length: %d\r\n" % length if length else b""
    script: Script = [b"HTTP/1.1 %d No\r\n%b\r\n%b" % (status, size, body), Action.CLOSE]
    async with serve_once(script, respond()) as (wire, client):
        error = await error_of(client.get_job(JOB))
        read = client.stats.bytes_received
        await client.get_job(JOB)

        assert isinstance(error, (APIError, RedirectError))
        assert error.status == status
        assert read <= 64 * 1024
        assert len(str(error)) < 4000
        assert wire.connections == 2


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "rot13"])
async def test_coded_error_body(coding: str) -> None:
    """The status of an error decides also when its body cannot be decoded."""
    refusal = respond(b"not compressed", status=404, headers=[("Content-Encoding", coding)])
    async with serve_once(refusal) as (_, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, NotFoundError)
