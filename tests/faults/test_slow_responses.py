"""Responses that arrive slowly, and the timeout of one attempt."""

import asyncio
import json

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import (
    JOB,
    Script,
    job_json,
    respond,
    respond_chunked,
    respond_slowly,
    serve,
    serve_once,
)
from sieve_async import Limits, RequestTimeoutError, Timeout

pytestmark = pytest.mark.looptime

BODY = json.dumps(job_json()).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(BODY)
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOW: dict[str, Script] = {
    "headers": respond_slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "one header": respond_slowly(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "body": respond_slowly(HEAD + b"\r\n", b" "),
    "chunks": respond_slowly(CHUNKS, b"1\r\n \r\n"),
    "interim responses": respond_slowly(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "error body": respond_slowly(b"HTTP/1.1 500 No\r\nContent-Length: 90\r\n\r\n", b"x"),
    "nothing": [50.0],
}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
async def test_trickle(slow: Script) -> None:
    """An attempt ends at its timeout, however the bytes arrive."""
    async with serve_once(slow, timeout=Timeout(request=7.3)) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, RequestTimeoutError)
        assert 7.3 <= error.elapsed <= 7.4
        assert server.connections == 1


async def test_slow_response_within_the_timeout() -> None:
    """A response that needs almost the whole timeout is good."""
    async with serve_once([20.0, *respond_chunked(BODY), 5.0]) as (_, client):
        job = await client.get_job(JOB)

        assert job.succeeded


async def test_queueing_is_not_part_of_the_attempt() -> None:
    """The timeout of an attempt begins when it has a slot."""
    settings = {"limits": Limits(max_connections=2), "timeout": Timeout(request=3)}
    async with serve([2.0, *respond()], **settings) as (server, client):
        jobs = await asyncio.gather(*(client.get_job(JOB) for _ in range(20)))

        assert all(job.succeeded for job in jobs)
        assert (len(server.requests), server.connections) == (20, 2)
