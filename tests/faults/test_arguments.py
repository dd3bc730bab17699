"""Invalid arguments: rejected before anything is sent."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import JOB, job_json, respond, serve, version_json
from sieve_async import (
    InvalidArgumentError,
    SieveClient,
)

pytestmark = pytest.mark.looptime

INVALID_IDS: dict[str, Any] = {
    "empty": "",
    "blank": " ",
    "dot": ".",
    "dots": "..",
    "up": "../v2/jobs",
    "encoded dots": "%2e%2e",
    "encoded slash": "a%2fb",
    "slash": "a/b",
    "backslash": "a\\b",
    "query": "a?offset=1",
    "fragment": "a#b",
    "semicolon": "a;b",
    "at": "a@b",
    "colon": "a:b",
    "CR LF": "a\r\nX-Evil: 1",
    "new line at the end": "a\n",
    "NUL": "a\x00",
    "blank at the end": "job-1 ",
    "non-ASCII": "jöb",
    "full width": "\uff4aob",
    "surrogate": "a\ud800",
    "Unicode digits": "\u0661",
    "leading dash": "-a",
    "129 characters": "a" * 129,
    "10 MB": "a" * 10_000_000,
    "None": None,
    "int": 5,
    "bytes": b"job-1",
    "list": ["job-1"],
    "bool": True,
}


CALLS: list[Callable[[SieveClient, Any], Awaitable[object]]] = [
    lambda client, value: client.get_job(value),
    lambda client, value: client.wait_for_job(value, timeout=1),
    lambda client, value: client.get_version(value, "f"),
    lambda client, value: client.get_version("o", value),
    lambda client, value: client.get_version("o", "f", value),
    lambda client, value: client.wait_until_ready(value, "f"),
    lambda client, value: client.wait_until_ready("o", value),
    lambda client, value: client.wait_until_ready("o", "f", value),
]


@pytest.mark.parametrize("value", INVALID_IDS.values(), ids=INVALID_IDS)
async def test_invalid_id(value: Any) -> None:
    """An invalid id is rejected in every call."""
    async with serve() as (server, client):
        for call in CALLS:
            error = await error_of(call(client, value))

            assert isinstance(error, InvalidArgumentError)
            assert isinstance(error, ValueError)
            assert len(str(error)) < 400
        assert (server.connections, client.stats.requests) == (0, 0)


@pytest.mark.parametrize("offset", [-1, 1.5, "3", None, True, 2**63, float("nan")])
async def test_invalid_offset(offset: Any) -> None:
    """An offset is a number of outputs."""
    async with serve() as (server, client):
        error = await error_of(client.get_job(JOB, offset=offset))

        assert isinstance(error, InvalidArgumentError)
        assert server.connections == 0


INVALID_TIMEOUTS: dict[str, Any] = {
    "negative": -1,
    "just negative": -0.001,
    "NaN": float("nan"),
    "minus infinity": float("-inf"),
    "true": True,
    "text": "5",
    "list": [],
    "more than a float can hold": 10**400,
    "negative timedelta": timedelta(seconds=-1),
}


@pytest.mark.parametrize("seconds", INVALID_TIMEOUTS.values(), ids=INVALID_TIMEOUTS)
async def test_invalid_timeout(seconds: Any) -> None:
    """A timeout is a number of seconds."""
    async with serve() as (server, client):
        error = await error_of(client.wait_for_job(JOB, timeout=seconds))
        other = await error_of(client.wait_until_ready("o", "f", timeout=seconds))

        assert isinstance(error, InvalidArgumentError)
        assert isinstance(other, InvalidArgumentError)
        assert server.connections == 0


@pytest.mark.parametrize("valid", ["a", "0", "A-b_c.d~e", "a" * 128, "a..b"])
async def test_valid_id(valid: str) -> None:
    """A valid id is sent unchanged."""
    async with serve(respond(job_json(id=valid)), respond(version_json(id=valid))) as (
        server,
        client,
    ):
        seen = await client.get_job(valid)
        found = await client.get_version("_o", "f", valid)

        assert (seen.id, found.id) == (valid, valid)
        assert server.requests[0].target == f"/v2/jobs/{valid}"
        assert server.requests[1].target == f"/v2/functions/_o/f/versions/{valid}"
