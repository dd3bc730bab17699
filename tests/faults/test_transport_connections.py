"""Pooled connections: stale ones, those with data on them, and requests that want a new one."""

import asyncio
from typing import Any

import aiohttp
import attrs
import pytest

from faults.transport_ways import CANCEL, PUSH, all_ways, failure, send, sending, transport_of
from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.raw_server import Action, RawRequest, RawServer, Script, ScriptedServer, respond
from sieve_async import ConnectError, Limits, RequestTimeoutError, Timeout
from sieve_async.transport import Transport

pytestmark = [pytest.mark.looptime, all_ways]

FORGED = b'HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n{"id": "job-1", "status":"error"}'
ENDS: dict[str, Script] = {
    "close": [Action.CLOSE],
    "reset": [Action.RESET],
    "half a head": [b"HTTP/1.1 2", Action.CLOSE],
    "half a body": [b"HTTP/1.1 201 OK\r\nContent-Length: 9\r\n\r\n{", Action.CLOSE],
    "silence": [Action.SILENCE],
}
fresh = pytest.mark.parametrize("request_", [PUSH, CANCEL], ids=["push", "cancel"])


async def fill_pool(transport: Transport, number: int) -> None:
    """Leave so many idle connections."""
    await asyncio.gather(*(send(transport) for _ in range(number)))


def dying(end: Script) -> ScriptedServer:
    """A server whose first three connections end with their second request."""
    return ScriptedServer(
        lambda request: (
            end if request.connection <= 3 and request.number == 2 else [0.1, *respond()]
        )
    )


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET, Action.SILENCE])
async def test_stale_connection(way: str, end: Action) -> None:
    """A pooled connection that dies is stale, and no other idle one is used after it."""
    timeout = Timeout(request=5)
    async with dying([end]) as server, sending(way, server.url, timeout=timeout) as transport:
        await fill_pool(transport, 3)
        await asyncio.sleep(1)
        error = await failure(transport)
        assert (await send(transport)).status == 200
        assert error.sent
        if end is Action.SILENCE:
            assert type(error) is RequestTimeoutError
        else:
            assert isinstance(error, ConnectError)
            assert (error.reused_connection, error.is_transient) == (True, True)
        assert (server.connections, len(server.requests)) == (4, 5)


async def test_alive_connections_are_not_stale(way: str) -> None:
    """A new connection is not stale, nor is one on which a response has begun."""
    scripts: list[Script] = [
        [Action.CLOSE],
        respond(),
        [b"HTTP/1.1 200 OK\r\nContent-Le", Action.CLOSE],
    ]
    async with RawServer(*scripts) as server, sending(way, server.url) as transport:
        errors = [await failure(transport)]
        await send(transport)
        errors.append(await failure(transport))
        assert not any(getattr(error, "reused_connection", False) for error in errors)


UNREQUESTED: dict[str, bytes] = {
    "a response": FORGED,
    "two responses": FORGED * 2,
    "headers": FORGED[:-30],
    "an error": b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
    "an interim response": b"HTTP/1.1 102 Processing\r\n\r\n",
    "garbage": b"\x00\x01garbage\r\n",
}


@pytest.mark.parametrize("data", UNREQUESTED.values(), ids=UNREQUESTED)
@pytest.mark.parametrize("delay", [0.05, 0.5])
async def test_unrequested_data(way: str, data: bytes, delay: float) -> None:
    """Unrequested data is never taken for a response: its connection is closed."""
    scripts = [[*respond(), delay, data], respond()]
    async with RawServer(*scripts) as server, sending(way, server.url) as transport:
        await send(transport)
        await asyncio.sleep(1)
        assert b"finished" in (await send(transport)).body
        assert [request.connection for request in server.requests] == [1, 2]


@fresh
async def test_fresh_connection(way: str, request_: Any) -> None:
    """A request that must not be repeated is sent once, on a connection of its own."""
    async with RawServer() as server, sending(way, server.url) as transport:
        for _ in range(5):
            await send(transport)
        assert server.connections == 1
        for _ in range(3):
            await send(transport, request_)
        pushes = server.requests[5:]
        assert [request.number for request in pushes] == [1, 1, 1]
        assert pushes[0].body == (request_.body or b"")
        expected = "application/json" if request_.body else None
        assert pushes[0].header("content-type") == expected
        assert pushes[0].header("X-API-Key") == KEY


@fresh
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_push_that_breaks_is_sent_once(way: str, request_: Any, end: Script) -> None:
    """However it breaks, there is one request on the wire, and it may have arrived."""
    timeout = Timeout(request=3)
    async with (
        ScriptedServer(lambda request: respond() if request.method == "GET" else end) as server,
        sending(way, server.url, timeout=timeout) as transport,
    ):
        await fill_pool(transport, 3)
        error = await failure(transport, request_)
        await asyncio.sleep(5)
        assert error.sent
        assert not getattr(error, "reused_connection", False)
        assert len(server.requests) == 4


async def test_large_push(way: str) -> None:
    """Inputs of several megabytes are sent unchanged; a server that does not read times out."""
    request = attrs.evolve(PUSH, body=b'{"inputs": "%b"}' % (b"x" * 5_000_000))
    async with RawServer() as server, sending(way, server.url) as transport:
        await send(transport, request)
        assert server.requests[0].body == request.body
    unread: Script = [Action.DONT_READ, 20.0, Action.RESET]
    timeout = Timeout(request=2)
    async with RawServer(unread) as server, sending(way, server.url, timeout=timeout) as transport:
        started = now()
        error = await failure(transport, attrs.evolve(request, body=request.body * 4))
        assert (type(error), error.sent) == (RequestTimeoutError, True)
        assert now() - started <= 2.1


async def test_pool_is_bounded(way: str) -> None:
    """There are never more connections than slots."""
    limits = Limits(max_connections=3)
    async with RawServer() as server, sending(way, server.url, limits=limits) as transport:
        await fill_pool(transport, transport.slots)
        assert server.connections <= 3 or way == "caller's session"


async def test_connection_of_a_cancelled_request_is_closed(way: str) -> None:
    """The response to a cancelled request is never taken for that to the next one."""

    def reply(request: RawRequest) -> Script:
        return [1.0, FORGED] if (request.connection, request.number) == (1, 2) else respond()

    async with ScriptedServer(reply) as server, sending(way, server.url) as transport:
        await send(transport)
        task = asyncio.ensure_future(send(transport))
        await asyncio.sleep(0.9)
        task.cancel()
        await asyncio.wait([task])
        assert b"finished" in (await send(transport)).body
        assert server.connections == 2


async def test_two_clients_on_one_session(way: str) -> None:
    """A connection that another client has used is known as reused."""
    assert way
    async with dying([Action.CLOSE]) as server, aiohttp.ClientSession() as session:
        first, second = (transport_of(server.url, session) for _ in range(2))
        await send(first)
        error = await failure(second)
        assert isinstance(error, ConnectError)
        assert error.reused_connection
