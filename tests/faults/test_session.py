"""A session of the caller's: used, left alone, and whatever it is set to."""

import asyncio
import gzip
import json
from typing import Any

import aiohttp
import pytest

from helpers.leak_checks import KEY, error_of
from helpers.raw_server import (
    JOB,
    Action,
    RawServer,
    Script,
    job_json,
    respond,
    respond_chunked,
    serve,
)
from sieve_async import (
    ClientClosedError,
    NotFoundError,
    RedirectError,
    RetryPolicy,
    SieveError,
)

pytestmark = pytest.mark.looptime


async def test_session_is_used_and_left_alone() -> None:
    """A session passed in is used, not closed, not changed, and keeps no cookies of the API."""
    cookies = {"theirs": "1"}
    jar = aiohttp.CookieJar(unsafe=True)  # it would keep cookies of an address, too
    async with aiohttp.ClientSession(
        headers={"X-Mine": "yes"}, cookies=cookies, cookie_jar=jar
    ) as session:
        before = (dict(session.headers), [str(cookie) for cookie in session.cookie_jar])
        sent = [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d; Path=/")]
        async with serve(respond(headers=sent), session=session) as (wire, client):
            await client.get_job(JOB)
            await client.get_job(JOB)
        await client.close()

        assert not session.closed
        assert (dict(session.headers), [str(cookie) for cookie in session.cookie_jar]) == before
        assert [seen.header("X-Mine") for seen in wire.requests] == ["yes", "yes"]
        assert [seen.header("Cookie") for seen in wire.requests] == [None, None]
        assert [seen.header("X-API-Key") for seen in wire.requests] == [KEY, KEY]
        assert wire.connections == 1


async def test_cookies_are_not_kept() -> None:
    """A session of our own keeps no cookies; of an address aiohttp would keep none anyway."""
    async with serve(respond(headers=[("Set-Cookie", "a=b")])) as (wire, _):
        url = wire.url.replace("127.0.0.1", "localhost")
        async with wire.client(base_url=url) as client:
            await client.get_job(JOB)
            await client.get_job(JOB)

        assert [seen.header("Cookie") for seen in wire.requests] == [None, None]


SESSIONS: dict[str, dict[str, Any]] = {
    "raise_for_status": {"raise_for_status": True},
    "auto_decompress": {"auto_decompress": False},
    "timeout": {"timeout": aiohttp.ClientTimeout(total=0.001)},
    "headers": {"headers": {"X-API-Key": "another", "Accept-Encoding": "br", "Accept": "text/*"}},
    "HTTP/1.0": {"version": aiohttp.HttpVersion10},
    "base_url": {"base_url": "http://127.0.0.1:9/elsewhere/"},
    "no skip": {"skip_auto_headers": ["User-Agent", "Accept"]},
    "small buffer": {"read_bufsize": 16},
    "quiet": {"cookie_jar": aiohttp.DummyCookieJar},
}


@pytest.mark.parametrize("settings", SESSIONS.values(), ids=SESSIONS)
async def test_odd_session(settings: dict[str, Any]) -> None:
    """Whatever a session is set to, answers are read and refusals are ours."""
    settings = {
        key: value() if isinstance(value, type) else value for key, value in settings.items()
    }
    body = json.dumps(job_json()).encode()
    scripts: list[Script] = [
        [0.1, *respond({"detail": "no"}, status=404)],
        [0.1, *respond_chunked(body)],
        respond(gzip.compress(body), headers=[("Content-Encoding", "gzip")]),
        respond({}, status=302, headers=[("Location", "/elsewhere")]),
    ]
    async with (
        aiohttp.ClientSession(**settings) as session,
        serve(*scripts, session=session) as (wire, client),
    ):
        refusal = await error_of(client.get_job(JOB))
        plain, packed = await client.get_job(JOB), await client.get_job(JOB)
        redirect = await error_of(client.get_job(JOB))

        assert isinstance(refusal, NotFoundError)
        assert refusal.detail == "no"
        assert (plain.succeeded, packed.succeeded) == (True, True)
        assert isinstance(redirect, RedirectError)
        assert {seen.header("X-API-Key") for seen in wire.requests} == {KEY}
        assert {seen.header("Accept-Encoding") for seen in wire.requests} == {"gzip, deflate"}
        assert len(wire.requests) == 4


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
async def test_one_request_per_attempt_with_a_session(end: Action) -> None:
    """The silent repetition of aiohttp is stopped in a session of the caller's, too."""
    async with (
        aiohttp.ClientSession() as session,
        serve(respond(), [end], session=session) as (wire, client),
    ):
        await client.get_job(JOB)
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, SieveError)
        assert len(wire.requests) == 4
        assert client.stats.requests == 4


async def test_closed_session() -> None:
    """A session that its owner has closed ends a call with an error that says so."""
    async with aiohttp.ClientSession() as session:
        pass
    async with serve(session=session, retry=RetryPolicy()) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert "session" in str(error)
        assert wire.connections == 0


async def test_session_closed_by_its_owner() -> None:
    """When the session that was passed in is closed meanwhile, the error says so."""
    async with RawServer([Action.SILENCE]) as wire:
        session = aiohttp.ClientSession()
        async with wire.client(session=session) as client:
            asking = asyncio.create_task(client.get_job("job-1"))
            await asyncio.sleep(1)
            await session.close()

            with pytest.raises(ClientClosedError, match="session"):
                await asking
            with pytest.raises(ClientClosedError, match="session"):
                await client.get_job("job-1")
