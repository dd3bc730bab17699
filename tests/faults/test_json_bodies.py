"""Bodies that are not JSON, or not the JSON of a job."""

import json
import math

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import JOB, job_json, respond, serve, serve_once, version_json
from sieve_async import DecodeError, JobStatus, RetryPolicy

pytestmark = pytest.mark.looptime

GOOD = json.dumps(job_json()).encode()
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def with_data(data: bytes) -> bytes:
    """A finished job with these bytes as the data of its output."""
    return GOOD.replace(b'"done"', data)


UNUSABLE: dict[str, bytes] = {
    "HTML": b"<html><body>Please log in</body></html>",
    "empty": b"",
    "white space": b" \n\t",
    "text": b"finished",
    "single quotes": b"{'id': 'job-1', 'status': 'finished'}",
    "truncated": GOOD[:-1],
    "two objects": GOOD + GOOD,
    "trailing comma": GOOD[:-1] + b",}",
    "latin-1": with_data('"déjà"'.encode("latin-1")),
    "overlong UTF-8": with_data(b'"\xc0\xaf"'),
    "5000 digits": with_data(b"9" * 5000),
    "control character": with_data(b'"a\x00b"'),
    "depth 100,000": b'{"a":' * 100_000,
    "depth 100,000, closed": with_data(b"[" * 100_000 + b"]" * 100_000),
    "comment": GOOD + b"// done",
    "null": b"null",
    "true": b"true",
    "number": b"5",
    "string": b'"finished"',
    "array": b"[]",
    "array of jobs": b"[%b]" % GOOD,
    "empty object": b"{}",
    "nested job": b'{"data": %b}' % GOOD,
    "error with status 200": b'{"detail": "not found"}',
}


@pytest.mark.parametrize("body", UNUSABLE.values(), ids=UNUSABLE)
async def test_unusable_body_of_a_lookup(body: bytes) -> None:
    """A body that is not a JSON object with id and status is retried, then a DecodeError."""
    async with serve(respond(body)) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert type(error) is DecodeError
        assert (error.status, error.attempts, len(server.requests)) == (200, 3, 3)
        assert len(error.excerpt) <= 3000
        assert len(str(error)) < 4000


@pytest.mark.parametrize("body", UNUSABLE.values(), ids=UNUSABLE)
async def test_unusable_body_of_a_poll(body: bytes) -> None:
    """For a wait it is a failed poll, however often it comes."""
    bad = respond(body)
    async with serve_once(bad, bad, bad, bad, respond(job_json(status="error"))) as (_, client):
        job = await client.wait_for_job(JOB)

        assert job.status is JobStatus.ERROR


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'"\xef\xbb\xbf"', "\ufeff"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"1234567890123456789", 1234567890123456789),
        (b"-0.0", -0.0),
        (b"1e308", 1e308),
        (b"[Infinity, -Infinity]", [math.inf, -math.inf]),
        (b'{"status": "error", "id": "x", "a": {"status": 1}}', ...),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[" * 150 + b"]" * 150, ...),
        (b"null", None),
    ],
)
async def test_unusual_data(data: bytes, value: object) -> None:
    """Whatever the JSON parser accepts in the data of an output is kept."""
    async with serve(respond(with_data(data))) as (server, client):
        (output,) = (await client.get_job(JOB)).outputs

        assert not isinstance(output, tuple)
        assert output.data == (json.loads(data) if value is ... else value)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/json; charset=utf-16", "x", "application/octet"]
)
async def test_content_type_is_ignored(content_type: str) -> None:
    """The body is read as UTF-8 JSON, whatever its headers say."""
    headers = [("Content-Type", content_type)]
    async with serve_once(respond(headers=headers)) as (_, client):
        assert (await client.get_job(JOB)).succeeded


async def test_byte_order_mark() -> None:
    """A byte order mark before the body is accepted, in lookups and waits."""
    async with serve_once(respond(BYTE_ORDER_MARK + GOOD)) as (server, client):
        assert (await client.get_job(JOB)).succeeded
        assert (await client.wait_for_job(JOB, timeout=60)).succeeded
        assert len(server.requests) == 2
    body = BYTE_ORDER_MARK + json.dumps(version_json()).encode()
    async with serve_once(respond(body)) as (_, client):
        assert (await client.wait_until_ready("sieve", "dubbing", timeout=60)).is_ready


async def test_partial_content() -> None:
    """A response with status 206 is not a complete body."""
    async with serve_once(respond(job_json(), status=206)) as (_, client):
        error = await error_of(client.get_job(JOB))

    assert type(error) is DecodeError
    assert error.status == 206


async def test_retry_after_an_unusable_body() -> None:
    """The second attempt succeeds."""
    retry = RetryPolicy(max_attempts=2, initial_delay=0)
    async with serve(respond(b"<html>"), respond(), retry=retry) as (_, client):
        assert (await client.get_job(JOB)).succeeded
        assert client.stats.retries == 1
