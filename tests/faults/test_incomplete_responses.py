"""Responses that are missing, truncated or malformed."""

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
    respond_chunked,
    serve,
)
from sieve_async import (
    APIError,
    ConnectError,
    JobStatus,
    RequestTimeoutError,
    Timeout,
    TransportError,
)

pytestmark = pytest.mark.looptime

BODY = json.dumps(job_json()).encode()


HALF = BODY[: BODY.index(b"finished") + 12]  # contains the word


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(BODY)


CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


PARTIAL = {
    "nothing": b"",
    "part of the status line": b"HTTP/1.",
    "status line": b"HTTP/1.1 200 OK\r\n",
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
    "no status": b"HTTP/1.1 finished\r\n\r\n",
    "a status of words": b"HTTP/1.1 OK 200\r\nContent-Length: 2\r\n\r\n{}",
    "a bad chunk size": CHUNKS + b"zz\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a negative chunk size": CHUNKS + b"-5\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKS + b"2\r\n" + BODY + b"\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 9\r\n\r\n" + BODY,
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + BODY,
    "a length of words": b"HTTP/1.1 200 OK\r\nContent-Length: all\r\n\r\n" + BODY,
    "a length and chunks": HEAD + CHUNKS[17:] + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "a NUL in a header": HEAD + b"X-A: a\x00b\r\n\r\n" + BODY,
    "a header without a colon": HEAD + b"X-A\r\n\r\n" + BODY,
}


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
@pytest.mark.parametrize("sent", PARTIAL.values(), ids=PARTIAL)
async def test_truncated(sent: bytes, end: Action) -> None:
    """A truncated response is retried on new connections; after three attempts it is an error."""
    async with serve([sent, end]) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, TransportError)
        assert not isinstance(error, RequestTimeoutError)
        assert isinstance(error, ConnectError) or sent
        assert (error.method, error.path, error.attempts) == ("GET", JOB_PATH, 3)
        assert (server.connections, len(server.requests)) == (3, 3)
        assert all(gap >= 0.0499 for gap in server.gaps)


@pytest.mark.parametrize("sent", PARTIAL.values(), ids=PARTIAL)
async def test_silence(sent: bytes) -> None:
    """A response that stops in the middle ends the attempt at its timeout."""
    async with serve([sent, Action.SILENCE], timeout=Timeout(request=2)) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, RequestTimeoutError)
        assert isinstance(error, TimeoutError)
        assert (error.attempts, server.connections, len(server.requests)) == (3, 3, 3)
        assert 6.1 <= error.elapsed <= 7.6


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET, Action.SILENCE])
@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
async def test_malformed(sent: bytes, end: Action) -> None:
    """Invalid HTTP is never HTTP 400, and its connection is closed."""
    async with serve([sent, end]) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, TransportError)
        assert not isinstance(error, APIError)
        assert "400" not in str(error)
        assert (error.attempts, server.connections, len(server.requests)) == (3, 3, 3)


@pytest.mark.parametrize(
    "bad",
    [[HEAD + b"\r\n" + HALF, Action.CLOSE], [HEAD + b"\r\n" + HALF, Action.RESET], respond(HALF)],
)
async def test_wait_after_half_a_body(bad: Script) -> None:
    """Half a body that contains "finished" does not end a wait."""
    good = respond(job_json(status="error", error="failed"))
    async with serve(bad, bad, bad, bad, good) as (server, client):
        ended = await client.wait_for_job(JOB)

        assert (ended.status, ended.error) == (JobStatus.ERROR, "failed")
        assert len(server.requests) == 5


@pytest.mark.parametrize(
    "good", [respond(), respond_chunked(BODY), respond_chunked(BODY, pieces=len(BODY))]
)
async def test_retry_after_a_reset(good: Script) -> None:
    """A retry succeeds."""
    async with serve([b"", Action.RESET], good) as (server, client):
        seen = await client.get_job(JOB)

        assert seen.outputs[0].data == "done"  # type: ignore[union-attr] # the job has one
        assert (client.stats.requests, client.stats.retries, len(server.requests)) == (2, 1, 2)


async def test_body_that_ends_with_its_connection() -> None:
    """A response without a length is complete when its object is."""
    old = b"HTTP/1.0 200 OK\r\n\r\n"
    async with serve([old + BODY[:-1], Action.CLOSE], [old + BODY, Action.CLOSE]) as (
        server,
        client,
    ):
        seen = await client.get_job(JOB)

        assert seen.succeeded
        assert len(server.requests) == 2


async def test_wait_after_broken_connections() -> None:
    """A wait continues after broken connections."""
    running = respond(job_json(status="processing"))
    bad: Script = [b"HTTP/1.1 2", Action.RESET]
    async with serve(running, *([bad] * 10), respond()) as (server, client):
        ended = await client.wait_for_job(JOB)

        assert ended.succeeded
        assert len(server.requests) == 12
