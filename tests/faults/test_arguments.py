"""Fault class I: arguments that cannot be right."""

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

BAD_IDS: dict[str, Any] = {
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
    lambda client, bad: client.get_job(bad),
    lambda client, bad: client.wait_for_job(bad, timeout=1),
    lambda client, bad: client.get_version(bad, "f"),
    lambda client, bad: client.get_version("o", bad),
    lambda client, bad: client.get_version("o", "f", bad),
    lambda client, bad: client.wait_until_ready(bad, "f"),
    lambda client, bad: client.wait_until_ready("o", bad),
    lambda client, bad: client.wait_until_ready("o", "f", bad),
]


@pytest.mark.parametrize("bad", BAD_IDS.values(), ids=BAD_IDS)
async def test_bad_id(bad: Any) -> None:
    """What cannot be an id is refused before any socket, in whatever call it stands."""
    async with serve() as (wire, client):
        for call in CALLS:
            error = await error_of(call(client, bad))

            assert isinstance(error, InvalidArgumentError)
            assert isinstance(error, ValueError)
            assert len(str(error)) < 400
        assert (wire.connections, client.stats.requests) == (0, 0)


@pytest.mark.parametrize("offset", [-1, 1.5, "3", None, True, 2**63, float("nan")])
async def test_bad_offset(offset: Any) -> None:
    """An offset is a number of outputs."""
    async with serve() as (wire, client):
        error = await error_of(client.get_job(JOB, offset=offset))

        assert isinstance(error, InvalidArgumentError)
        assert wire.connections == 0


BAD_TIMEOUTS: dict[str, Any] = {
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


@pytest.mark.parametrize("seconds", BAD_TIMEOUTS.values(), ids=BAD_TIMEOUTS)
async def test_bad_timeout(seconds: Any) -> None:
    """A timeout is a number of seconds."""
    async with serve() as (wire, client):
        error = await error_of(client.wait_for_job(JOB, timeout=seconds))
        other = await error_of(client.wait_until_ready("o", "f", timeout=seconds))

        assert isinstance(error, InvalidArgumentError)
        assert isinstance(other, InvalidArgumentError)
        assert wire.connections == 0


@pytest.mark.parametrize("good", ["a", "0", "A-b_c.d~e", "a" * 128, "a..b"])
async def test_good_id(good: str) -> None:
    """What may be an id is sent as it is."""
    async with serve(respond(job_json(id=good)), respond(version_json(id=good))) as (wire, client):
        seen = await client.get_job(good)
        found = await client.get_version("_o", "f", good)

        assert (seen.id, found.id) == (good, good)
        assert wire.requests[0].target == f"/v2/jobs/{good}"
        assert wire.requests[1].target == f"/v2/functions/_o/f/versions/{good}"
