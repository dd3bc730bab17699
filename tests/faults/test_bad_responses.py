"""Responses that are errors, missing, truncated, malformed, slow, or no jobs."""

import asyncio
import json

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import (
    JOB,
    JOB_PATH,
    Action,
    Script,
    job_json,
    respond,
    respond_slowly,
    serve,
    serve_once,
    version_json,
)
from sieve_async import DecodeError, JobStatus, Limits, Timeout, errors

pytestmark = pytest.mark.looptime

SPECIAL: dict[int, type[errors.SieveError]] = {
    401: errors.AuthenticationError,
    402: errors.OutOfCreditsError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
}
REJECTIONS = [400, 401, 402, 403, 404, 406, 409, 410, 422]
LASTING = [405, 413, 418, 426, 451, 499, 501, 505]
TRANSIENT = [408, 421, 425, 429, 500, 502, 503, 504, 507, 520, 524, 599]


@pytest.mark.parametrize("status", REJECTIONS + LASTING + TRANSIENT)
async def test_status(status: int) -> None:
    """Each error status has its class; only transient ones are retried and continue a wait."""
    rejection = respond({"detail": "why"}, status=status, headers=[("X-Request-Id", "r-1")])
    attempts = 3 if status in TRANSIENT else 1
    async with serve(*[rejection] * 7, respond()) as (server, client):
        error = await error_of(client.get_job(JOB))
        expected = SPECIAL.get(
            status, errors.BadRequestError if status < 500 else errors.ServerError
        )
        assert type(error) is expected
        assert isinstance(error, errors.APIError)
        assert (error.status, error.detail, error.request_id) == (status, "why", "r-1")
        assert (error.method, error.path, error.attempts) == ("GET", JOB_PATH, attempts)
        assert (error.error_id, error.retry_after) == (None, None)
        assert len(server.requests) == client.stats.requests == attempts
        assert all(gap >= 0.0499 for gap in server.gaps)
        assert f"{status}: why" in str(error)
        if attempts == 3:
            assert (await client.wait_for_job(JOB)).succeeded
            assert len(server.requests) == 8
        else:
            waited = await error_of(client.wait_for_job(JOB))
            assert isinstance(waited, errors.APIError)
            assert (waited.status, len(server.requests)) == (status, 2)


async def test_retry_budget() -> None:
    """A server that is down does not get three attempts for ever; a success refills the budget."""
    async with serve(respond({}, status=500)) as (server, client):
        for _ in range(60):
            await error_of(client.get_job(JOB))
        assert 0 <= client.stats.retry_tokens < 14
        assert len(server.requests) == client.stats.requests == 60 + 500 // 14
    async with serve(respond({}, status=500), respond()) as (_, client):
        await client.get_job(JOB)
        assert (client.stats.retry_tokens, client.stats.retries) == (500, 1)


BODY = json.dumps(job_json()).encode()
HALF = BODY[: BODY.index(b"finished") + 12]  # contains the word
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(BODY)
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

PARTIAL = {
    "nothing": b"",
    "part of the status line": b"HTTP/1.",
    "part of a header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "headers": HEAD + b"\r\n",
    "half a body": HEAD + b"\r\n" + HALF,
    "body minus one byte": HEAD + b"\r\n" + BODY[:-1],
    "chunk without its end": CHUNKS + b"%x\r\n%b" % (len(BODY), BODY),
    "chunks without the last": CHUNKS + b"%x\r\n%b\r\n" % (len(BODY), BODY),
    "error without its body": b"HTTP/1.1 404 Not Found\r\nContent-Length: 20\r\n\r\n{",
    "only interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
}
MALFORMED = {
    "bytes": b"\x00\xff\x16\x03\x01 garbage\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a body alone": BODY,
    "a status of words": b"HTTP/1.1 OK 200\r\nContent-Length: 2\r\n\r\n{}",
    "a bad chunk size": CHUNKS + b"zz\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKS + b"2\r\n" + BODY + b"\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 9\r\n\r\n" + BODY,
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + BODY,
    "a length and chunks": HEAD + CHUNKS[17:] + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "a NUL in a header": HEAD + b"X-A: a\x00b\r\n\r\n" + BODY,
    "a header without a colon": HEAD + b"X-A\r\n\r\n" + BODY,
}


@pytest.mark.parametrize("end", Action)
@pytest.mark.parametrize("sent", PARTIAL.values(), ids=PARTIAL)
async def test_truncated(sent: bytes, end: Action) -> None:
    """A truncated response is retried on new connections; after three attempts it is an error."""
    script = [end, Action.CLOSE] if end is Action.DONT_READ else [sent, end]
    async with serve(script, timeout=Timeout(request=2)) as (server, client):
        error = await error_of(client.get_job(JOB))
        assert isinstance(error, errors.TransportError)
        assert isinstance(error, errors.RequestTimeoutError) is (end is Action.SILENCE)
        assert isinstance(error, errors.ConnectError) or sent or end is Action.SILENCE
        assert error.sent
        assert (error.method, error.path, error.attempts) == ("GET", JOB_PATH, 3)
        assert server.connections == 3
        assert all(gap >= 0.0499 for gap in server.gaps)
        assert end is not Action.SILENCE or 6.1 <= error.elapsed <= 7.6


@pytest.mark.parametrize("end", [Action.CLOSE, Action.SILENCE])
@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
async def test_malformed(sent: bytes, end: Action) -> None:
    """Invalid HTTP is never HTTP 400, and its connection is closed."""
    async with serve([sent, end]) as (server, client):
        error = await error_of(client.get_job(JOB))
        assert isinstance(error, errors.TransportError)
        assert not isinstance(error, errors.APIError)
        assert "400" not in str(error)
        assert (error.attempts, server.connections, len(server.requests)) == (3, 3, 3)


@pytest.mark.parametrize(
    "bad",
    [[HEAD + b"\r\n" + HALF, Action.CLOSE], respond(HALF), [b"HTTP/1.1 2", Action.RESET]],
    ids=["closed", "short", "reset"],
)
async def test_wait_after_half_a_response(bad: Script) -> None:
    """Half a body that contains "finished" does not end a wait, nor do many broken responses."""
    good = respond(job_json(status="error", error="failed"))
    async with serve(*[bad] * 10, good) as (server, client):
        ended = await client.wait_for_job(JOB)
        assert (ended.status, ended.error) == (JobStatus.ERROR, "failed")
        assert len(server.requests) == 11


SLOW: dict[str, Script] = {
    "headers": respond_slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "one header": respond_slowly(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "body": respond_slowly(HEAD + b"\r\n", b" "),
    "chunks": respond_slowly(CHUNKS, b"1\r\n \r\n"),
    "interim responses": respond_slowly(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "error body": respond_slowly(b"HTTP/1.1 500 No\r\nContent-Length: 90\r\n\r\n", b"x"),
}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
async def test_slow_response(slow: Script) -> None:
    """An attempt ends at its timeout, however the bytes arrive."""
    async with serve_once(slow, timeout=Timeout(request=7.3)) as (server, client):
        error = await error_of(client.get_job(JOB))
        assert isinstance(error, errors.RequestTimeoutError)
        assert 7.3 <= error.elapsed <= 7.4
        assert server.connections == 1


async def test_time_in_the_queue() -> None:
    """The timeout of an attempt begins when it has a slot, and allows a slow response."""
    settings = {"limits": Limits(max_connections=2), "timeout": Timeout(request=3)}
    async with serve([2.9, *respond()], **settings) as (server, client):
        jobs = await asyncio.gather(*(client.get_job(JOB) for _ in range(20)))
        assert all(job.succeeded for job in jobs)
        assert (len(server.requests), server.connections) == (20, 2)


GOOD = json.dumps(job_json()).encode()
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


UNUSABLE: dict[str, bytes] = {
    "HTML": b"<html><body>Please log in</body></html>",
    "truncated": GOOD[:-1],
    "depth 100,000": GOOD.replace(b'"done"', b"[" * 100_000 + b"]" * 100_000),
    "array of jobs": b"[%b]" % GOOD,
    "no id": json.dumps(job_json(id=...)).encode(),
    "wrong status": json.dumps(job_json(status=["finished"])).encode(),
}


@pytest.mark.parametrize("body", UNUSABLE.values(), ids=UNUSABLE)
async def test_unusable_body(body: bytes) -> None:
    """A body without an object with id and status is retried by a lookup, and polled by a wait."""
    bad = respond(body)
    async with serve(*[bad] * 7, respond()) as (server, client):
        error = await error_of(client.get_job(JOB))
        assert type(error) is DecodeError
        assert (error.status, error.attempts, len(server.requests)) == (200, 3, 3)
        assert len(error.excerpt) <= 3000
        assert len(str(error)) < 4000
        assert (await client.wait_for_job(JOB)).succeeded
        assert len(server.requests) == 8


async def test_headers_of_the_body_are_ignored() -> None:
    """The body is UTF-8 JSON, with or without a byte order mark, whatever its type is."""
    script = respond(BYTE_ORDER_MARK + GOOD, headers=[("Content-Type", "x; charset=utf-16")])
    async with serve_once(script) as (server, client):
        assert (await client.get_job(JOB)).succeeded
        assert (await client.wait_for_job(JOB, timeout=60)).succeeded
        assert len(server.requests) == 2
    body = BYTE_ORDER_MARK + json.dumps(version_json()).encode()
    async with serve_once(respond(body)) as (_, client):
        assert (await client.wait_until_ready("sieve", "dubbing", timeout=60)).is_ready
