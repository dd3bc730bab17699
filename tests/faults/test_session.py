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
from helpers.raw_server import JOB, Action, Script, job_json, respond, respond_chunked, serve
from sieve_async import Limits, NotFoundError, RedirectError, SieveError, Timeout

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


async def test_cookies_are_not_kept() -> None:
    """A session of our own keeps no cookies."""
    async with serve(respond(headers=[("Set-Cookie", "a=b")])) as (server, _):
        url = server.url.replace("127.0.0.1", "localhost")
        async with server.client(base_url=url) as client:
            await client.get_job(JOB)
            await client.get_job(JOB)
        assert [seen.header("Cookie") for seen in server.requests] == [None, None]


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
