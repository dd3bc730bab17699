"""A caller's session: used, not changed, and with any settings."""

import asyncio
import gc
import gzip
import json
import weakref
from typing import Any

import aiohttp
import pytest

from helpers.leak_checks import KEY, error_of
from helpers.raw_server import (
    JOB,
    Action,
    Script,
    job_json,
    respond,
    respond_chunked,
    serve,
    serve_once,
)
from helpers.resolvers import FakeResolver
from sieve_async import (
    Limits,
    NotFoundError,
    RedirectError,
    RetryPolicy,
    SieveClient,
    SieveError,
    Timeout,
    TransportError,
)

pytestmark = pytest.mark.looptime


async def test_session_is_not_changed() -> None:
    """The session is used, not closed and not changed, and it keeps no cookies."""
    jar = aiohttp.CookieJar(unsafe=True)  # accepts cookies of IP addresses
    async with aiohttp.ClientSession(
        headers={"X-Mine": "yes"}, cookies={"theirs": "1"}, cookie_jar=jar
    ) as session:
        before = (dict(session.headers), [str(cookie) for cookie in session.cookie_jar])
        sent = [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d; Path=/")]
        async with serve(respond(headers=sent), session=session) as (server, client):
            await client.get_job(JOB)
            await client.get_job(JOB)
        await client.close()
        assert not session.closed
        assert (dict(session.headers), [str(cookie) for cookie in session.cookie_jar]) == before
        assert [seen.header("X-Mine") for seen in server.requests] == ["yes", "yes"]
        assert [seen.header("Cookie") for seen in server.requests] == [None, None]
        assert [seen.header("X-API-Key") for seen in server.requests] == [KEY, KEY]
        assert server.connections == 1


async def test_requests_are_freed() -> None:
    """A request with its headers is freed when it is over, not by the garbage collector."""
    made: list[weakref.ref[aiohttp.ClientRequest]] = []

    class Recorded(aiohttp.ClientRequest):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(weakref.ref(self))

    async with (
        aiohttp.ClientSession(request_class=Recorded) as session,
        serve(respond(), session=session) as (_, client),
    ):
        gc.disable()
        try:
            await client.get_job(JOB)
            assert [request() for request in made] == [None]
        finally:
            gc.enable()


SESSIONS: dict[str, dict[str, Any]] = {
    "raise_for_status": {"raise_for_status": True},
    "auto_decompress": {"auto_decompress": False},
    "timeout": {"timeout": aiohttp.ClientTimeout(total=0.001)},
    "headers": {"headers": {"X-API-Key": "another", "Accept-Encoding": "br", "Accept": "text/*"}},
    "HTTP/1.0": {"version": aiohttp.HttpVersion10},
    "base_url": {"base_url": "http://127.0.0.1:9/elsewhere/"},
    "no skip": {"skip_auto_headers": ["User-Agent", "Accept"]},
    "small buffer": {"read_bufsize": 16},
}


@pytest.mark.parametrize("settings", SESSIONS.values(), ids=SESSIONS)
async def test_session_settings(settings: dict[str, Any]) -> None:
    """Responses are read and errors raised, whatever the session's settings are."""
    body = json.dumps(job_json()).encode()
    scripts: list[Script] = [
        [0.1, *respond({"detail": "no"}, status=404)],
        [0.1, *respond_chunked(body)],
        respond(gzip.compress(body), headers=[("Content-Encoding", "gzip")]),
        respond({}, status=302, headers=[("Location", "/elsewhere")]),
    ]
    async with (
        aiohttp.ClientSession(**settings) as session,
        serve(*scripts, session=session) as (server, client),
    ):
        missing = await error_of(client.get_job(JOB))
        plain, packed = await client.get_job(JOB), await client.get_job(JOB)
        redirect = await error_of(client.get_job(JOB))
        assert isinstance(missing, NotFoundError)
        assert missing.detail == "no"
        assert (plain.succeeded, packed.succeeded) == (True, True)
        assert isinstance(redirect, RedirectError)
        assert {seen.header("X-API-Key") for seen in server.requests} == {KEY}
        assert {seen.header("Accept-Encoding") for seen in server.requests} == {"gzip, deflate"}
        assert len(server.requests) == 4


async def test_two_clients_on_one_session() -> None:
    """A dead connection that another client has used is known as reused: it costs no attempt."""
    async with (
        aiohttp.ClientSession() as session,
        serve_once(respond(), [Action.CLOSE], respond(), session=session) as (server, first),
        server.client(session=session, retry=RetryPolicy(max_attempts=1)) as second,
    ):
        await first.get_job(JOB)
        assert (await second.get_job(JOB)).succeeded


@pytest.mark.parametrize(
    ("hook", "is_sent"),
    [("on_request_start", False), ("on_connection_create_end", False), ("on_request_end", True)],
)
async def test_error_of_a_trace_hook(hook: str, *, is_sent: bool) -> None:
    """What a hook of the session raises is not retried; a late hook may follow the request."""

    async def fail(*_: object) -> None:
        raise KeyError("span")

    trace = aiohttp.TraceConfig()
    getattr(trace, hook).append(fail)
    async with (
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        serve(session=session) as (server, client),
    ):
        raised = await error_of(client.get_job(JOB))
        assert isinstance(raised, TransportError)
        assert raised.reason == "KeyError: 'span'"
        assert (raised.sent, raised.is_transient, raised.attempts) == (is_sent, False, 1)
        assert len(server.requests) == is_sent


async def test_cancellation_while_the_session_is_closed() -> None:
    async with (
        aiohttp.ClientSession() as session,
        serve([Action.SILENCE], session=session) as (_, client),
    ):
        asking = asyncio.create_task(client.get_job(JOB))
        await asyncio.sleep(1)
        asking.cancel()
        await session.close()
        await asyncio.wait([asking])
        assert asking.cancelled()


async def test_timeout_that_a_resolver_turns_into_another_error() -> None:
    """A resolver that replaces our cancellation leaves the task of the caller not cancelled."""
    task = asyncio.current_task()
    assert task is not None

    async def act() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise KeyError("resolver") from None

    connector = aiohttp.TCPConnector(resolver=FakeResolver(act), use_dns_cache=False)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        SieveClient(KEY, base_url="https://sieve.test", session=session, timeout=1) as client,
    ):
        assert "KeyError" in str(await error_of(client.get_job(JOB)))
        assert task.cancelling() == 0


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
async def test_one_request_per_attempt(end: Action) -> None:
    """The silent retry of aiohttp is off in a caller's session too."""
    async with (
        aiohttp.ClientSession() as session,
        serve(respond(), [end], session=session) as (server, client),
    ):
        await client.get_job(JOB)
        error = await error_of(client.get_job(JOB))
        assert isinstance(error, SieveError)
        # A stale connection is replaced at once, without counting as an attempt.
        assert getattr(error, "attempts", None) == 3
        assert len(server.requests) == client.stats.requests == 1 + 1 + 3


POOLS: dict[str, tuple[dict[str, int], int]] = {
    "limit": ({"limit": 2}, 2),
    "limit per host": ({"limit": 50, "limit_per_host": 2}, 2),
    "only a limit per host": ({"limit": 0, "limit_per_host": 2}, 2),
    "no limit": ({"limit": 0}, 5),
}


@pytest.mark.parametrize(("pool", "connections"), POOLS.values(), ids=POOLS)
async def test_small_pool(pool: dict[str, Any], connections: int) -> None:
    """Calls that queue for a small pool of the session do not time out."""
    timeout, limits = Timeout(request=2), Limits(max_connections=5)
    settings: dict[str, Any] = {"timeout": timeout, "limits": limits}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(**pool)) as session,
        serve([1.0, *respond()], session=session, **settings) as (server, client),
    ):
        jobs = await asyncio.gather(*(client.get_job(JOB) for _ in range(20)))
        assert [job.succeeded for job in jobs] == [True] * 20
        assert (client.stats.requests, client.stats.retries) == (20, 0)
        assert (len(server.requests), server.connections) == (20, connections)
