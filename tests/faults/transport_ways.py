"""The ways in which a transport sends: each must keep the same promises."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any

import aiohttp
import pytest

from helpers.leak_checks import KEY, error_of
from sieve_async import Job, Limits, Timeout, TransportError
from sieve_async.config import Config
from sieve_async.messages import Request, Response
from sieve_async.transport import Transport

WAYS = ("own connection", "own session", "caller's session")
GET = Request("GET", "/v2/jobs/job-1", Job)
PUSH = Request("POST", "/v2/push", Job, body=b'{"function": "o/f"}', fresh_connection=True)
CANCEL = Request("DELETE", "/v2/jobs/job-1", Job, fresh_connection=True)

all_ways = pytest.mark.parametrize("way", WAYS)
get_and_push = pytest.mark.parametrize("request_", [GET, PUSH], ids=["get", "push"])


class OwnTransport(Transport):
    """A transport whose connectors are made with certain settings."""

    connector_settings: Mapping[str, Any] = {}

    def _open_connector(self) -> aiohttp.TCPConnector:
        if not self.connector_settings:
            return super()._open_connector()
        return aiohttp.TCPConnector(**self.connector_settings)


def transport_of(url: str, session: aiohttp.ClientSession | None = None) -> Transport:
    """A transport with the default settings."""
    return Transport(Config(api_key=KEY, base_url=url), Timeout(), Limits(), session)


@contextlib.asynccontextmanager
async def sending(
    way: str,
    base_url: str,
    *,
    timeout: Timeout | None = None,  # noqa: ASYNC109 - a setting
    limits: Limits | None = None,
    **connector_settings: Any,
) -> AsyncIterator[Transport]:
    """A transport of this way, its connectors made with these settings."""
    settings = (Config(api_key=KEY, base_url=base_url), timeout or Timeout(), limits or Limits())
    async with contextlib.AsyncExitStack() as stack:
        if way == "caller's session":
            connector = aiohttp.TCPConnector(**connector_settings)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            transport = Transport(*settings, session)
        else:
            transport = OwnTransport(*settings, trust_env=way == "own session")
            transport.connector_settings = connector_settings
        try:
            yield transport
        finally:
            transport.abort()
            await transport.close()


def send(transport: Transport, request: Request[Any] = GET) -> Awaitable[Response]:
    """Send a request without a deadline of its own."""
    return transport.send(request, None)


async def failure(transport: Transport, request: Request[Any] = GET) -> TransportError:
    """The error of a request, checked."""
    error = await error_of(send(transport, request))
    assert isinstance(error, TransportError)
    return error
