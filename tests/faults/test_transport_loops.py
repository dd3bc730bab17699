"""Loops, sessions and shutdown: where a transport may be used, and how it ends."""

import asyncio
import traceback
from typing import Any

import aiohttp
import pytest

from faults.transport_ways import (
    GET,
    PUSH,
    all_ways,
    failure,
    get_and_push,
    send,
    sending,
    transport_of,
)
from helpers.http_helpers import now
from helpers.leak_checks import KEY, error_of
from helpers.raw_server import Action, RawServer, Script, respond
from helpers.resolvers import FakeResolver
from sieve_async import ClientClosedError, Timeout, WrongEventLoopError

pytestmark = pytest.mark.looptime

SILENT: tuple[Script, ...] = ([Action.SILENCE],)
# The number of requests that are answered before the silence.
places = pytest.mark.parametrize("answered", [0, 1], ids=["new connection", "kept connection"])


def silent_after(answered: int) -> RawServer:
    """A server that answers so many requests, and no other."""
    return RawServer(*[respond()] * answered, [Action.SILENCE])


@all_ways
async def test_transport_on_another_loop(way: str) -> None:
    """The first call binds the loop; each call on another one raises."""
    async with RawServer() as server, sending(way, server.url) as transport:
        await send(transport)
        for request in (GET, PUSH):
            call = error_of(send(transport, request))
            error = await asyncio.to_thread(asyncio.run, call)
            assert type(error) is WrongEventLoopError
        assert (await send(transport)).status == 200


@places
async def test_session_closed_during_the_request(answered: int) -> None:
    """Requests in flight or in the pool's queue end at once when the caller closes the session."""
    async with silent_after(answered) as server:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2))
        transport = transport_of(server.url, session)
        if answered:
            await send(transport)
        calls = [asyncio.create_task(error_of(send(transport))) for _ in range(5)]
        await asyncio.sleep(1)
        await session.close()
        errors = [*await asyncio.gather(*calls), await error_of(send(transport))]
        assert {type(error) for error in errors} == {ClientClosedError}
        assert all("session" in str(error) for error in errors)
        assert now() == pytest.approx(1, abs=0.01)


async def test_cancellation_while_the_session_is_closed() -> None:
    """A cancellation of the caller passes, although the session is closed by then."""
    async with silent_after(0) as server, aiohttp.ClientSession() as session:
        asking = asyncio.ensure_future(send(transport_of(server.url, session)))
        await asyncio.sleep(1)
        asking.cancel()
        await session.close()
        await asyncio.wait([asking])
        assert asking.cancelled()


@all_ways
async def test_abort(way: str) -> None:
    """Requests in flight end at once, and nothing more is sent."""
    async with RawServer(*SILENT) as server, sending(way, server.url) as transport:
        requests = (GET, GET, PUSH)
        calls = [asyncio.create_task(error_of(send(transport, each))) for each in requests]
        await asyncio.sleep(1)
        transport.abort()
        await transport.close()
        errors = [*await asyncio.gather(*calls), await error_of(send(transport))]
        assert {type(error) for error in errors} == {ClientClosedError}
        await asyncio.sleep(0.1)
        assert server.connections == 3


@all_ways
@pytest.mark.parametrize("turns", [1, 2, 4])
async def test_cancelled_close_closes(way: str, turns: int) -> None:
    """Wherever closing is cancelled, the connections are closed."""
    async with RawServer([0.1, *respond()]) as server, sending(way, server.url) as transport:
        await asyncio.gather(*(send(transport) for _ in range(3)), send(transport, PUSH))
        transport.abort()
        closing = asyncio.create_task(transport.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        for _ in range(3):
            closing.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([closing])
        await asyncio.sleep(0.1)
        assert server.connections >= 3
        assert (server.closed == server.connections) is (way != "caller's session")


@all_ways
@get_and_push
@places
async def test_cancellation_passes(way: str, request_: Any, answered: int) -> None:
    """A cancellation ends a request in the same turn, wherever it is, and shows no key."""
    for turns in (*range(8), None):
        async with silent_after(answered) as server, sending(way, server.url) as transport:
            task = asyncio.ensure_future(send(transport, request_))
            for _ in range(turns or 0):
                await asyncio.sleep(0)
            if turns is None:
                await asyncio.sleep(1)
            if task.done():
                continue
            task.cancel()
            await asyncio.wait([task], timeout=0)
            for _ in range(2):
                await asyncio.sleep(0)
            assert task.cancelled()
            assert not transport._timers
            try:
                await task
            except asyncio.CancelledError as error:
                shown = traceback.TracebackException.from_exception(error, capture_locals=True)
                assert KEY not in "".join(shown.format())


@all_ways
async def test_deadline_that_becomes_another_error(way: str) -> None:
    """A resolver that replaces our cancellation leaves the task not cancelled."""
    task = asyncio.current_task()
    assert task is not None

    async def act() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise KeyError("resolver") from None

    how: dict[str, Any] = {"resolver": FakeResolver(act), "use_dns_cache": False}
    async with sending(way, "https://sieve.test", timeout=Timeout(request=1), **how) as transport:
        error = await failure(transport)
        assert "KeyError" in str(error)
        assert task.cancelling() == 0


@all_ways
async def test_deadline(way: str) -> None:
    """The earlier of the two limits ends a request, within 0.1 s."""
    timeout = Timeout(request=7.3)
    async with RawServer(*SILENT) as server, sending(way, server.url, timeout=timeout) as transport:
        for limit, expected in ((None, 7.3), (5.2, 5.2), (9.0, 7.3), (0.3, 0.3)):
            started = now()
            await error_of(transport.send(GET, None if limit is None else started + limit))
            assert expected <= now() - started <= expected + 0.1
