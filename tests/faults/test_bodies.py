"""Fault class G: bodies that are not what they should be."""

import json

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import JOB, Script, job_json, respond, serve, serve_once
from sieve_async import (
    DecodeError,
    JobStatus,
    RetryPolicy,
)

pytestmark = pytest.mark.looptime

GOOD = json.dumps(job_json()).encode()


MEGABYTE = 1024 * 1024


def with_data(data: bytes) -> bytes:
    """A finished job with these bytes as the data of its output."""
    return GOOD.replace(b'"done"', data)


NOT_JSON: dict[str, bytes] = {
    "HTML": b"<html><body>Please log in</body></html>",
    "empty": b"",
    "blank": b" \n\t",
    "text": b"finished",
    "single quotes": b"{'id': 'job-1', 'status': 'finished'}",
    "cut off": GOOD[:-1],
    "two objects": GOOD + GOOD,
    "trailing comma": GOOD[:-1] + b",}",
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 without a BOM": GOOD.decode().encode("utf-16-le"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "latin-1": with_data('"déjà"'.encode("latin-1")),
    "overlong UTF-8": with_data(b'"\xc0\xaf"'),
    "surrogate in UTF-8": with_data(b'"\xed\xa0\x80"'),
    "NaN": with_data(b"NaN"),
    "Infinity": with_data(b"Infinity"),
    "-Infinity": with_data(b"[-Infinity]"),
    "1e999": with_data(b"1e999"),
    "5000 digits": with_data(b"9" * 5000),
    "a control character": with_data(b'"a\x00b"'),
    "depth 100,000": b'{"a":' * 100_000,
    "depth 100,000, closed": with_data(b"[" * 100_000 + b"]" * 100_000),
    "depth 1,000": with_data(b"[" * 1000 + b"]" * 1000),
    "comments": GOOD + b"// done",
}


WRONG_SHAPE: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "number": b"5",
    "string": b'"finished"',
    "array": b"[]",
    "array of jobs": b"[%b]" % GOOD,
    "empty object": b"{}",
    "wrapped": b'{"data": %b}' % GOOD,
    "error in a 200": b'{"detail": "not found"}',
    "two statuses": GOOD[:-1] + b', "status": "error"}',
    "the same status twice": GOOD[:-1] + b', "status": "finished"}',
    "two ids": GOOD[:-1] + b', "id": "job-1"}',
    "two statuses, one escaped": GOOD[:-1] + b', "\\u0073tatus": "error"}',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
async def test_not_json(body: bytes) -> None:
    """A complete answer that is not JSON is a proxy's or half a job: it is asked for again."""
    async with serve(respond(body)) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert type(error) is DecodeError
        assert (error.status, error.attempts, len(wire.requests)) == (200, 3, 3)
        assert (error.payload, error.problems) == (None, ())
        assert len(error.excerpt) <= 300
        assert len(str(error)) < 1000


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
async def test_not_json_ends_no_wait(body: bytes) -> None:
    """A body that is not JSON is one failed poll."""
    async with serve_once(respond(body), respond()) as (wire, client):
        ended = await client.wait_for_job(JOB)

        assert ended.succeeded
        assert len(wire.requests) == 2


@pytest.mark.parametrize("body", WRONG_SHAPE.values(), ids=WRONG_SHAPE)
async def test_wrong_shape(body: bytes) -> None:
    """JSON of another shape would come again: it is not asked for twice, and is kept."""
    async with serve(respond(body)) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert type(error) is DecodeError
        assert (error.attempts, len(wire.requests)) == (1, 1)
        assert error.problems
        assert all(problem.startswith("$") for problem in error.problems)
        assert error.payload == json.loads(body)
        assert error.excerpt[:20] == body.decode()[:20]


@pytest.mark.parametrize("body", WRONG_SHAPE.values(), ids=WRONG_SHAPE)
async def test_wrong_shape_ends_no_wait(body: bytes) -> None:
    """An answer whose id and status cannot be read for sure is one failed poll."""
    async with serve_once(respond(body), respond(job_json(status="error"))) as (_, client):
        ended = await client.wait_for_job(JOB)

        assert ended.status is JobStatus.ERROR


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'"\xef\xbb\xbf"', "\ufeff"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"12345678901234567890123", 12345678901234567890123),
        (b"-0.0", -0.0),
        (b"1e308", 1e308),
        (b'{"status": "error", "id": "x", "a": {"status": 1}}', ...),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[" * 150 + b"]" * 150, ...),
        (b"null", None),
    ],
)
async def test_odd_but_good(data: bytes, value: object) -> None:
    """What JSON allows in the data of an output is kept as it is."""
    async with serve(respond(with_data(data)), headers_of("text/html")) as (wire, client):
        (output,) = (await client.get_job(JOB)).outputs

        assert not isinstance(output, tuple)
        assert output.data == (json.loads(data) if value is ... else value)
        assert len(wire.requests) == 1


def headers_of(content_type: str) -> Script:
    """The script of a good answer that says it is something else."""
    return respond(headers=[("Content-Type", content_type)])


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/json; charset=utf-16", "x", "application/octet"]
)
async def test_content_type_is_not_asked(content_type: str) -> None:
    """The body is UTF-8 JSON or it is not, whatever its headers say."""
    async with serve_once(headers_of(content_type)) as (_, client):
        assert (await client.get_job(JOB)).succeeded


async def test_byte_order_mark() -> None:
    """A byte order mark before a good body does no harm."""
    async with serve_once(respond(b"\xef\xbb\xbf" + GOOD)) as (_, client):
        assert (await client.get_job(JOB)).succeeded


async def test_retries_pay_off() -> None:
    """A body that is bad once is good the next time."""
    retry = RetryPolicy(max_attempts=2, initial_delay=0)
    async with serve(respond(b"<html>"), respond(), retry=retry) as (_, client):
        assert (await client.get_job(JOB)).succeeded
        assert client.stats.retries == 1
