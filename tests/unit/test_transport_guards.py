"""Guards of the transport that a server cannot trigger at will."""

import asyncio
import gzip
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol
from multidict import CIMultiDict

from helpers.transports import GET, transport_of
from sieve_async.transport import body
from sieve_async.transport.connection import ConnectionSender
from sieve_async.transport.errors import Exchange
from sieve_async.transport.timers import RequestTimer, RequestTimers


def reader() -> aiohttp.StreamReader:
    """The content of a response."""
    loop = asyncio.get_running_loop()
    return aiohttp.StreamReader(BaseProtocol(loop), 2**16, loop=loop)


async def test_connection_that_ends() -> None:
    """A body ends with its connection, and a connection holds one callback for all its bodies."""
    closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for _ in range(3):
        with body._broken_off(reader(), SimpleNamespace(closed=closed)):
            pass
    assert closed.remove_done_callback(body._retrieve) == 1
    lost = reader()
    with body._broken_off(lost, SimpleNamespace(closed=None)):
        assert isinstance(lost.exception(), aiohttp.ClientPayloadError)


async def test_large_body_lets_the_loop_turn() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    content = reader()
    content.feed_data(gzip.compress(bytes(2_000_000)))
    content.feed_eof()
    counting = asyncio.create_task(count())
    headers = CIMultiDict({"Content-Encoding": "gzip"})
    received = await body.read_body(200, content, headers, 2_000_000, None)
    counting.cancel()
    assert received == bytes(2_000_000)
    assert turns >= 2_000_000 // body._STEP


async def test_no_timer_is_left() -> None:
    """Once all requests are interrupted, the loop holds no timer of theirs."""
    loop = asyncio.get_running_loop()
    timers = RequestTimers()

    async def ask() -> None:
        timers.start(RequestTimer(loop), loop.time() + 5)
        await asyncio.sleep(60)

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    timers.interrupt_all()
    await asyncio.wait([asking])
    assert asking.cancelled()
    assert timers._handle is None


class LostConnection:
    """A connection, its connector and its protocol, when it is lost before a request is written."""

    transport = None
    should_close = False
    protocol = property(lambda self: self)

    async def connect(self, **_: Any) -> "LostConnection":
        """Open it."""
        return self

    async def read(self) -> Any:
        """Say what happened."""
        raise aiohttp.ServerDisconnectedError

    def set_response_params(self, **_: Any) -> None:
        """Prepare for a response."""

    def close(self) -> None:
        """Close it."""


async def test_connection_lost_before_the_request() -> None:
    """The error of the connection is raised, and nothing was sent."""
    transport = transport_of("http://localhost")
    sender = ConnectionSender(LostConnection(), transport._settings)  # type: ignore[arg-type]
    exchange = Exchange("GET", "/v2/jobs/job-1")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await sender.send(GET, "/v2/jobs/job-1", exchange)
    assert not exchange.is_sent
