"""Fault class G: codings of bodies and of their text, in a wait as in a lookup."""

import gzip
import json

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import JOB, job_json, respond, serve_once, version_json
from sieve_async import DecodeError

pytestmark = pytest.mark.looptime

MARK = b"\xef\xbb\xbf"


async def test_byte_order_mark_in_a_wait() -> None:
    """A byte order mark before a good body keeps no wait from its end."""
    async with serve_once(respond(MARK + json.dumps(job_json()).encode())) as (wire, client):
        ended = await client.wait_for_job(JOB, timeout=60)

        assert ended.succeeded
        assert len(wire.requests) == 1
    async with serve_once(respond(MARK + json.dumps(version_json()).encode())) as (wire, client):
        ready = await client.wait_until_ready("sieve", "dubbing", timeout=60)

        assert ready.is_ready
        assert len(wire.requests) == 1


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "x-deflate"])
async def test_name_of_the_coding_counts(coding: str) -> None:
    """A body is read by the name of its coding, and not by what it looks like."""
    body = gzip.compress(json.dumps(job_json()).encode())
    async with serve_once(respond(body, headers=[("Content-Encoding", coding)])) as (_, client):
        error = await error_of(client.get_job(JOB))

    assert type(error) is DecodeError
    assert "coded in a way that was not asked for" in str(error)


async def test_part_of_a_body() -> None:
    """A body that calls itself a part of one is not taken for the whole, whatever it looks like."""
    async with serve_once(respond(job_json(), status=206)) as (_, client):
        error = await error_of(client.get_job(JOB))

    assert type(error) is DecodeError
    assert error.status == 206
