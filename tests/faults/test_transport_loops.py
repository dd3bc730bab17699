"""Loops, sessions and shutdown: where a transport may be used, and how it ends."""

import asyncio
import socket
import threading
import traceback
from collections.abc import Awaitable
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from faults.transport_ways import GET, PUSH, WAYS, Connection, Handler, sending, serving
from helpers.leak_checks import KEY, check_error
from sieve_async import ClientClosedError, Limits, SieveError, Timeout, WrongEventLoopError
from sieve_async.config import Config
from sieve_async.transport import Transport

pytestmark = pytest.mark.looptime
ways = pytest.mark.parametrize("way", WAYS)


async def silent(connection: Connection) -> None:
    """Never answer."""
    await connection.reader.read()


async def answer_once(connection: Connection) -> None:
    """Answer the first request of all, and no other."""
    await connection.request()
    if connection.number == 0:
        connection.respond()
    await connection.reader.read()


async def failure(call: Awaitable[Any]) -> SieveError:
    """The error that a call ends with."""
    with pytest.raises(SieveError) as caught:
        await call
    check_error(caught.value)
    return caught.value


def transport_of(url: str, session: aiohttp.ClientSession | None = None) -> Transport:
    """A transport with the default settings."""
    return Transport(Config(api_key=KEY, base_url=url), Timeout(), Limits(), session)


async def test_session_of_another_loop() -> None:
    """A session that was made on another loop is an error of its own, at the first call."""
    made: list[aiohttp.ClientSession] = []
    used, ended = threading.Event(), threading.Event()

    async def make() -> None:
        async with aiohttp.ClientSession() as session:
            made.append(session)
            used.set()
            await asyncio.to_thread(ended.wait)

    other = asyncio.create_task(asyncio.to_thread(asyncio.run, make()))
    await asyncio.to_thread(used.wait)
    transport = transport_of("http://127.0.0.1:1", made[0])
    try:
        for call in (transport.send(GET, None), transport.send(PUSH, None)):
            error = await failure(call)

            assert type(error) is WrongEventLoopError
            assert "the session of this client belongs to another event loop" in error.reason
        with pytest.raises(WrongEventLoopError):
            transport.bind_loop()
    finally:
        ended.set()
        await other


@ways
async def test_transport_on_another_loop(way: str) -> None:
    """The first call settles the loop; each call elsewhere says so."""
    async with serving(Connection.serve) as server, sending(way, server.url) as transport:
        await transport.send(GET, None)
        for call in (transport.send(GET, None), transport.send(PUSH, None)):
            error = await asyncio.to_thread(asyncio.run, failure(call))

            assert type(error) is WrongEventLoopError
        assert (await transport.send(GET, None)).status == 200


HANDLERS: dict[str, Handler] = {"new connection": silent, "kept connection": answer_once}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
async def test_session_closed_during_the_request(handler: Handler) -> None:
    """Requests in flight end at once when the caller closes the session."""
    async with serving(handler) as server:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2))
        transport = transport_of(server.url, session)
        if handler is answer_once:
            await transport.send(GET, None)
        calls = [asyncio.create_task(failure(transport.send(GET, None))) for _ in range(5)]
        await asyncio.sleep(1)
        started = asyncio.get_running_loop().time()
        await session.close()
        errors = await asyncio.gather(*calls)
        errors.append(await failure(transport.send(GET, None)))

        assert {type(error) for error in errors} == {ClientClosedError}
        assert all("session" in str(error) for error in errors)
        assert asyncio.get_running_loop().time() == started


@ways
async def test_abort(way: str) -> None:
    """Requests in flight end within a few turns, and nothing more is sent."""
    async with serving(silent) as server, sending(way, server.url) as transport:
        calls = [
            asyncio.create_task(failure(transport.send(request, None)))
            for request in (GET, GET, PUSH)
        ]
        await asyncio.sleep(1)
        transport.abort()
        await transport.close()
        errors = [*await asyncio.gather(*calls), await failure(transport.send(GET, None))]

        assert {type(error) for error in errors} == {ClientClosedError}
        await asyncio.sleep(0.1)
        assert len(server.connections) == 3


@ways
@pytest.mark.parametrize("turns", range(1, 6))
async def test_cancelled_close_closes(way: str, turns: int) -> None:
    """Wherever closing is cancelled, again and again, the connections are closed."""
    closed = 0

    async def handle(connection: Connection) -> None:
        nonlocal closed
        try:
            await connection.serve()
        finally:
            closed += 1

    async with serving(handle) as server, sending(way, server.url) as transport:
        await asyncio.gather(*(transport.send(GET, None) for _ in range(3)))
        await transport.send(PUSH, None)
        transport.abort()
        closing = asyncio.create_task(transport.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        for _ in range(3):
            closing.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([closing])
        await asyncio.sleep(0.1)

        assert len(server.connections) >= 3
        assert (closed == len(server.connections)) is (way != "caller's session")


@ways
@pytest.mark.parametrize("request_", [GET, PUSH], ids=["get", "push"])
@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
async def test_cancellation_passes(way: str, request_: Any, handler: Handler) -> None:
    """A cancellation ends a request in the same turn, wherever it is; the next one works."""
    for turns in range(12):
        async with serving(handler) as server, sending(way, server.url) as transport:
            task = asyncio.create_task(transport.send(request_, None))
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.done():
                break
            task.cancel()
            await asyncio.wait([task], timeout=0)
            for _ in range(2):
                await asyncio.sleep(0)

            assert task.cancelled()
            assert not transport._in_flight


@ways
async def test_connection_of_a_cancelled_request_is_closed(way: str) -> None:
    """The answer to a request that was given up is never taken for that to the next one."""

    async def handle(connection: Connection) -> None:
        await connection.request()
        connection.respond()
        await connection.request()
        await asyncio.sleep(1)
        connection.respond(b'{"id": "job-1", "status": "error"}')
        await connection.serve()

    async with serving(handle) as server, sending(way, server.url) as transport:
        await transport.send(GET, None)
        task = asyncio.create_task(transport.send(GET, None))
        await asyncio.sleep(0.9)
        task.cancel()
        await asyncio.wait([task])
        answer = await transport.send(GET, None)

        assert b"finished" in answer.body
        assert len(server.connections) == 2


@ways
@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
async def test_cancellation_holds_no_key(way: str, handler: Handler) -> None:
    """A traceback of a cancellation, with locals, shows no key."""
    async with serving(handler) as server, sending(way, server.url) as transport:
        if handler is answer_once:
            await transport.send(GET, None)
        task = asyncio.create_task(transport.send(GET, None))
        await asyncio.sleep(1)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            told = traceback.TracebackException.from_exception(error, capture_locals=True)

            assert KEY not in "".join(told.format())


class StubbornResolver(AbstractResolver):
    """A resolver that answers a cancellation with an error of its own."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Wait, and fail."""
        del host, port, family
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise KeyError("resolver") from None
        raise AssertionError

    async def close(self) -> None:
        """Nothing is open."""


@ways
async def test_deadline_that_becomes_another_error(way: str) -> None:
    """A hook that turns our cancellation into an error leaves the task not cancelled."""
    task = asyncio.current_task()
    assert task is not None
    limit, url = Timeout(request=1), "https://sieve.test"
    resolver = StubbornResolver()
    async with sending(
        way, url, timeout=limit, resolver=resolver, use_dns_cache=False
    ) as transport:
        error = await failure(transport.send(GET, None))

        assert "KeyError" in str(error)
        assert task.cancelling() == 0


@ways
@pytest.mark.parametrize("early", [1e-3, 1e-6, 0.0, -1e-6], ids=str)
async def test_cancellation_in_the_turn_of_the_deadline(way: str, early: float) -> None:
    """A timeout of the caller's in the turn of ours ends its own block, once."""
    loop = asyncio.get_running_loop()
    async with serving(silent) as server, sending(way, server.url) as transport:
        deadline = loop.time() + 5

        async def limited() -> bool:
            task = asyncio.current_task()
            assert task is not None
            block = asyncio.timeout_at(deadline - early)
            try:
                async with block:
                    await transport.send(GET, deadline)
            except TimeoutError:
                pass
            assert task.cancelling() == 0
            await asyncio.sleep(0.05)
            return block.expired()

        expired = await asyncio.gather(*(limited() for _ in range(50)))

        assert early <= 0 or all(expired)
        assert deadline - 0.01 <= loop.time() <= deadline + 0.2


@ways
async def test_deadline(way: str) -> None:
    """The earlier of the two limits ends a request, within 0.1 s."""
    loop = asyncio.get_running_loop()
    async with (
        serving(silent) as server,
        sending(way, server.url, timeout=Timeout(request=7.3)) as transport,
    ):
        for limit, expected in ((None, 7.3), (5.2, 5.2), (9.0, 7.3), (0.3, 0.3)):
            started = loop.time()
            await failure(transport.send(GET, None if limit is None else started + limit))

            assert expected <= loop.time() - started <= expected + 0.1


@ways
async def test_context_manager_of_nothing(way: str) -> None:
    """A transport that was never used is closed without a session."""
    async with sending(way, "http://127.0.0.1:1") as transport:
        transport.abort()
        await transport.close()
        await transport.close()

        assert isinstance(await failure(transport.send(GET, None)), ClientClosedError)
