"""Times: ISO 8601 in all spellings that were seen, always aware and in UTC."""

import json
from datetime import UTC, datetime
from typing import Any

from sieve_async import Job, Restart
from sieve_async.decode import parse_model
from sieve_async.messages import Request, Response


def job_of(fields: dict[str, Any]) -> Job:
    """Decode a job that has these fields and those it must have."""
    body = json.dumps({"id": "j", "status": "queued"} | fields).encode()
    return parse_model(Request("GET", "/v2/jobs/j", Job), Response(200, (), body, str))


def test_times() -> None:
    """Both spellings of a time, with or without a fraction or an offset, become aware UTC."""
    times = {
        "2024-12-15T01:41:59.195000": "2024-12-15T01:41:59.195+00:00",
        "2024-12-15T01:41:59": "2024-12-15T01:41:59+00:00",
        "2023-11-07T05:31:56.5Z": "2023-11-07T05:31:56.5+00:00",
        "2023-11-07T05:31:56.123456789Z": "2023-11-07T05:31:56.123456+00:00",
        "2023-11-07T05:31:56+05:30": "2023-11-07T00:01:56+00:00",
        "2024-02-29T00:00:00-00:00": "2024-02-29T00:00:00+00:00",
        "2024-03-05 01:41:59+02:00": "2024-03-04T23:41:59+00:00",
        "2024-03-05T01:41": "2024-03-05T01:41:00+00:00",
        "2024-03-05T01:41:59+0100": "2024-03-05T00:41:59+00:00",
        "2024-03-05t01:41:59z": "2024-03-05T01:41:59+00:00",
    }
    for written, read in times.items():
        job = job_of({"created_at": written})
        assert job.created_at == datetime.fromisoformat(read)
        assert job.extra == {}
        assert job.created_at.tzinfo is UTC


BAD_TIMES = [
    *("", "now", "1702604519", "2024-03-05", "20240305T014159", "2024-03-05T01:41:59."),
    *("2024-02-30T00:00:00", "2024-13-01T00:00:00", "2024-03-05T24:00:00", "2024-03-05T23:60:00"),
    *("2024-03-05T23:59:60", "0000-01-01T00:00:00", "2024-03-05T01:41:59+24:00"),
    *("2024-03-05T01:41:59+00:60", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
    *("\uff12024-03-05T01:41:59", "2024-03-05T01:41:59ZZ", "-2024-03-05T01:41:59"),
    *(" 2024-03-05T01:41:59", "2024-03-05T01:41:59\n", "2024-03-05T01:Z\u0000:59.195000"),
]


def test_times_that_cannot_be_read() -> None:
    """A time that cannot be read, or does not exist, is kept in ``extra`` as it came."""
    for written in BAD_TIMES:
        job = job_of({"restarts": [{"timestamp": written}]})
        assert job.restarts == (Restart(extra={"timestamp": written}),)
