"""Invalid arguments in every call, and the base URL in every request."""

import traceback
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from helpers.leak_checks import KEY, error_of
from helpers.raw_server import JOB, serve
from sieve_async import ConfigError, InvalidArgumentError, SieveClient

pytestmark = pytest.mark.looptime

INVALID_IDS: dict[str, Any] = {
    "empty": "",
    "dots": "..",
    "encoded slash": "a%2fb",
    "query": "a?offset=1",
    "line break": "a\r\nX-Evil: 1",
    "not ASCII": "jöb",
    "1 MB": "a" * 1_000_000,
    "None": None,
    "bytes": b"job-1",
}
CALLS: list[Callable[[SieveClient, Any], Awaitable[object]]] = [
    lambda client, bad: client.get_job(bad),
    lambda client, bad: client.wait_for_job(bad, timeout=1),
    lambda client, bad: client.get_version(bad, "f"),
    lambda client, bad: client.get_version("o", bad or cast("str", 5)),
    lambda client, bad: client.get_version("o", "f", bad),
    lambda client, bad: client.wait_until_ready(bad, "f"),
    lambda client, bad: client.wait_until_ready("o", "f", bad),
]


@pytest.mark.parametrize("value", INVALID_IDS.values(), ids=INVALID_IDS)
async def test_invalid_id(value: Any) -> None:
    """An invalid id is rejected in every call, before anything is sent."""
    async with serve() as (server, client):
        for call in CALLS:
            error = await error_of(call(client, value))

            assert isinstance(error, InvalidArgumentError)
            assert isinstance(error, ValueError)
            assert len(str(error)) < 400
        assert (server.connections, client.stats.requests) == (0, 0)


@pytest.mark.parametrize("seconds", [-1, float("nan"), True, "5", 10**400])
async def test_invalid_timeout(seconds: Any) -> None:
    """The same for timeouts and offsets."""
    async with serve() as (server, client):
        for call in (
            client.wait_for_job(JOB, timeout=seconds),
            client.wait_until_ready("o", "f", timeout=seconds),
            client.get_job(JOB, offset=seconds),
        ):
            assert isinstance(await error_of(call), InvalidArgumentError)
        assert server.connections == 0


async def test_base_path() -> None:
    """A base URL may have a path and a trailing slash."""
    async with serve() as (server, _), server.client(base_url=f"{server.url}/a/b%20c/") as client:
        await client.get_job(JOB)
        await client.get_job(JOB, offset=3)

        assert [request.target for request in server.requests] == [
            "/a/b%20c/v2/jobs/job-1",
            "/a/b%20c/v2/jobs/job-1?offset=3",
        ]


def test_traceback_with_locals() -> None:
    """A traceback with locals can be formatted for a client that was not created."""
    with pytest.raises(ConfigError) as caught:
        SieveClient(KEY, base_url="http://example.com")

    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "ConfigError" in "".join(shown.format())
