"""Bodies that are not JSON, or not the JSON of a job."""

import json
from typing import Any

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import JOB, job_json, respond, serve, serve_once, version_json
from sieve_async import DecodeError

pytestmark = pytest.mark.looptime

GOOD = json.dumps(job_json()).encode()
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def with_data(data: bytes) -> bytes:
    """A finished job with these bytes as the data of its output."""
    return GOOD.replace(b'"done"', data)


UNUSABLE: dict[str, bytes] = {
    "HTML": b"<html><body>Please log in</body></html>",
    "empty": b"",
    "text": b"finished",
    "single quotes": b"{'id': 'job-1', 'status': 'finished'}",
    "truncated": GOOD[:-1],
    "two objects": GOOD + GOOD,
    "latin-1": with_data('"déjà"'.encode("latin-1")),
    "5000 digits": with_data(b"9" * 5000),
    "control character": with_data(b'"a\x00b"'),
    "depth 100,000": b'{"a":' * 100_000,
    "depth 100,000, closed": with_data(b"[" * 100_000 + b"]" * 100_000),
    "null": b"null",
    "string": b'"finished"',
    "array of jobs": b"[%b]" % GOOD,
    "nested job": b'{"data": %b}' % GOOD,
    "error with status 200": b'{"detail": "not found"}',
}
WRONG: list[Any] = [..., None, 5, True, ["finished"], {"finished": 1}]
UNUSABLE |= {
    f"{key}: {value}": json.dumps(job_json(**{key: value})).encode()
    for key in ("id", "status")
    for value in WRONG
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
