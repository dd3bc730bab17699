"""Pooled connections: stale ones, those with data on them, and requests that want a new one."""

import asyncio
from typing import Any

import aiohttp
import pytest

from faults.transport_ways import (
    CANCEL,
    GET,
    PUSH,
    WAYS,
    Connection,
    sending,
    serving,
)
from helpers.leak_checks import KEY, check_error
from sieve_async import ConnectError, Limits, RequestTimeoutError, Timeout, TransportError
from sieve_async.config import Config
from sieve_async.transport import Transport

pytestmark = [pytest.mark.looptime, pytest.mark.parametrize("way", WAYS)]

FORGED = b'HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n{"id": "job-1", "status":"error"}'


async def failure(transport: Transport, request: Any = GET) -> TransportError:
    """How a request fails."""
    with pytest.raises(TransportError) as caught:
        await transport.send(request, None)
    check_error(caught.value)
    return caught.value


async def fill_pool(transport: Transport, number: int) -> None:
    """Leave so many idle connections."""
    await asyncio.gather(*(transport.send(GET, None) for _ in range(number)))


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_stale_connection(way: str, end: str) -> None:
    """A connection that dies as a request goes out is told as such, and all idle ones are left."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        await asyncio.sleep(0.1)
        connection.respond()
        if server.connections[0].number < len(server.connections) <= 3 and connection.number < 3:
            await connection.request()
            if end == "reset":
                connection.reset()
            return
        await connection.serve()

    async with serving(handle) as server, sending(way, server.url) as transport:
        await fill_pool(transport, 3)
        await asyncio.sleep(1)
        error = await failure(transport)
        answer = await transport.send(GET, None)

        assert isinstance(error, ConnectError)
        assert (error.reused_connection, error.sent, error.is_transient) == (True, True, True)
        assert answer.status == 200
        assert len(server.connections) == 4
        assert len(server.requests) == 5


async def test_new_connection_is_not_stale(way: str) -> None:
    """A server that closes each new connection is broken: nothing is stale."""

    async def handle(connection: Connection) -> None:
        await connection.request()

    async with serving(handle) as server, sending(way, server.url) as transport:
        error = await failure(transport)

        assert isinstance(error, ConnectError)
        assert not error.reused_connection


@pytest.mark.parametrize("start", [b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_answer_that_had_begun_is_not_stale(way: str, start: bytes) -> None:
    """A kept connection on which an answer begins is alive."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        connection.respond()
        await connection.request()
        connection.writer.write(start)

    async with serving(handle) as server, sending(way, server.url) as transport:
        await transport.send(GET, None)
        error = await failure(transport)

        assert not getattr(error, "reused_connection", False)


async def test_connection_that_died_silently(way: str) -> None:
    """After a kept connection has said nothing at all, no other idle one is tried."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        await asyncio.sleep(0.1)
        connection.respond()
        if connection.number < 3:
            await connection.request()
            await connection.reader.read()
        await connection.serve()

    timeout = Timeout(request=5)
    async with serving(handle) as server, sending(way, server.url, timeout=timeout) as transport:
        await fill_pool(transport, 3)
        error = await failure(transport)
        answer = await transport.send(GET, None)

        assert type(error) is RequestTimeoutError
        assert (error.sent, answer.status, len(server.connections)) == (True, 200, 4)


UNREQUESTED: dict[str, bytes] = {
    "an answer": FORGED,
    "two answers": FORGED * 2,
    "headers": FORGED[:-30],
    "an error": b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
    "an interim answer": b"HTTP/1.1 102 Processing\r\n\r\n",
    "rubbish": b"\x00\x01rubbish\r\n",
}


@pytest.mark.parametrize("data", UNREQUESTED.values(), ids=UNREQUESTED)
@pytest.mark.parametrize("delay", [0.05, 0.5])
async def test_unrequested_data(way: str, data: bytes, delay: float) -> None:
    """What the server sends unasked is never taken for an answer: its connection is closed."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        connection.respond()
        if connection.number == 0:
            await asyncio.sleep(delay)
            connection.writer.write(data)
        await connection.serve()

    async with serving(handle) as server, sending(way, server.url) as transport:
        await transport.send(GET, None)
        await asyncio.sleep(1)
        answer = await transport.send(GET, None)

        assert b"finished" in answer.body
        assert [len(each.requests) for each in server.connections] == [1, 1]


async def test_connections_are_kept(way: str) -> None:
    """Good answers share one connection."""
    async with serving(Connection.serve) as server, sending(way, server.url) as transport:
        for _ in range(5):
            await transport.send(GET, None)

        assert len(server.connections) == 1


@pytest.mark.parametrize("request_", [PUSH, CANCEL], ids=["push", "cancel"])
async def test_fresh_connection(way: str, request_: Any) -> None:
    """A request that must not be repeated goes out once, on a connection of its own."""
    async with serving(Connection.serve) as server, sending(way, server.url) as transport:
        await fill_pool(transport, 3)
        for _ in range(3):
            await transport.send(request_, None)

        method = request_.method.encode()
        pushes = [each for each in server.connections if each.requests[0].startswith(method)]
        assert len(pushes) == 3
        assert sum(request.startswith(method) for request in server.requests) == 3
        head, _, body = pushes[0].requests[0].partition(b"\r\n\r\n")
        assert body == (request_.body or b"")
        assert (b"content-type: application/json" in head.lower()) is (request_.body is not None)
        assert b"X-API-Key: " + KEY.encode() in head


@pytest.mark.parametrize("request_", [PUSH, CANCEL], ids=["push", "cancel"])
@pytest.mark.parametrize("end", ["close", "reset", "half a head", "half a body", "silence"])
async def test_push_that_breaks_is_sent_once(way: str, request_: Any, end: str) -> None:
    """Whatever happens to it, there is one request on the wire, and it may have arrived."""

    async def handle(connection: Connection) -> None:
        if await connection.request() and connection.requests[0].startswith(b"GET"):
            connection.respond()
            await connection.serve()
        if end == "half a head":
            connection.writer.write(b"HTTP/1.1 2")
        elif end == "half a body":
            connection.writer.write(b"HTTP/1.1 201 OK\r\nContent-Length: 9\r\n\r\n{")
        elif end == "silence":
            await connection.reader.read()
        elif end == "reset":
            connection.reset()

    timeout = Timeout(request=3)
    async with serving(handle) as server, sending(way, server.url, timeout=timeout) as transport:
        await fill_pool(transport, 3)
        error = await failure(transport, request_)
        await asyncio.sleep(5)

        method = request_.method.encode()
        assert error.sent
        assert not getattr(error, "reused_connection", False)
        assert sum(request.startswith(method) for request in server.requests) == 1


async def test_push_that_is_refused_by_the_system_was_not_sent(way: str) -> None:
    """A push that found no server has surely not arrived."""
    async with sending(way, "http://127.0.0.1:1") as transport:
        error = await failure(transport, PUSH)

    assert (type(error), error.sent) == (ConnectError, False)


async def test_large_push(way: str) -> None:
    """Inputs of several megabytes are sent as they are, without a warning."""
    body = b'{"inputs": "%b"}' % (b"x" * 5_000_000)
    request = type(PUSH)("POST", "/v2/push", PUSH.model, body=body, fresh_connection=True)
    async with serving(Connection.serve) as server, sending(way, server.url) as transport:
        await transport.send(request, None)

        assert server.requests[0].endswith(body)


async def test_push_that_is_cancelled_while_it_is_written(way: str) -> None:
    """A push whose server does not read is given up in time; nothing is left behind."""

    async def handle(connection: Connection) -> None:
        await asyncio.sleep(20)
        connection.writer.transport.abort()

    body = b'{"inputs": "%b"}' % (b"x" * 20_000_000)
    request = type(PUSH)("POST", "/v2/push", PUSH.model, body=body, fresh_connection=True)
    timeout = Timeout(request=2)
    async with serving(handle) as server, sending(way, server.url, timeout=timeout) as transport:
        started = asyncio.get_running_loop().time()
        error = await failure(transport, request)

        assert (type(error), error.sent) == (RequestTimeoutError, True)
        assert asyncio.get_running_loop().time() - started <= 2.1


async def test_pool_is_bounded(way: str) -> None:
    """There are never more connections than slots."""
    limits = Limits(max_connections=3)
    async with (
        serving(Connection.serve) as server,
        sending(way, server.url, limits=limits) as transport,
    ):
        await fill_pool(transport, transport.slots)

        assert len(server.connections) <= 3 or way == "caller's session"


async def test_two_clients_on_one_session(way: str) -> None:
    """What one client's connection was used for, the other knows."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        connection.respond()
        if connection.number == 0:
            await connection.request()
            return
        await connection.serve()

    async with serving(handle) as server, aiohttp.ClientSession() as session:
        config = Config(api_key=KEY, base_url=server.url)
        first, second = (Transport(config, Timeout(), Limits(), session) for _ in range(2))
        await first.send(GET, None)
        error = await failure(second)

        assert way
        assert isinstance(error, ConnectError)
        assert error.reused_connection
