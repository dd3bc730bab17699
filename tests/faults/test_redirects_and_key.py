"""Redirects, and the API key in what a server sends back."""

import asyncio
import html
import json
import logging
from collections.abc import Callable

import pytest

from helpers.leak_checks import KEY, check_error, error_of
from helpers.raw_server import JOB, Action, RawServer, Script, job_json, respond, serve, serve_once
from sieve_async import RetryPolicy, Timeout, errors

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("status", [301, 303, 307])
async def test_redirect_to_another_origin(status: int, other_origin: RawServer) -> None:
    there = [("Location", f"{other_origin.url}/v2/jobs/{JOB}?token=secret")]
    async with serve(respond({}, status=status, headers=there)) as (server, client):
        error = await error_of(client.get_job(JOB))
        waited = await error_of(client.wait_for_job(JOB))
        built = await error_of(client.wait_until_ready("o", "f"))
        for one in (error, waited, built):
            assert isinstance(one, errors.RedirectError)
            assert (one.status, one.attempts) == (status, 1)
            assert "secret" not in str(one)
        assert len(server.requests) == 3


SPELLINGS = {
    "plain": json.dumps(KEY),
    "escaped": json.dumps(KEY).replace("c", "\\u0063"),
    "slashes": json.dumps(f"https://files.example/{KEY}?key={KEY}"),
}
BODIES: dict[str, Callable[[str], bytes]] = {
    "no JSON": lambda key: f"<pre>{key}</pre>".encode(),
    "wrong shape": lambda key: f'{{"headers": {{"X-API-Key": {key}}}}}'.encode(),
    "as a key": lambda key: f'{{"id": 5, {key}: 1}}'.encode(),
    "as the id": lambda key: f'{{"id": {key}, "status": "finished"}}'.encode(),
    "as a status": lambda key: f'{{"id": "job-1", "status": [{key}]}}'.encode(),
    "as an array": lambda key: f"[{key}, [{key}]]".encode(),
    "alone": str.encode,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_key_in_a_response(body: Callable[[str], bytes]) -> None:
    """An unusable response that repeats the key does not reveal it, in any spelling."""
    async with serve_once(*(respond(body(each)) for each in SPELLINGS.values())) as (_, client):
        for _ in SPELLINGS:
            error = await error_of(client.get_job(JOB))  # checks that the key is nowhere
            assert isinstance(error, errors.DecodeError)
            assert KEY not in error.excerpt


@pytest.mark.parametrize("key", ["20241215", "null", "true", "{", "id", '"', "\\"])
async def test_key_that_looks_like_json(key: str) -> None:
    """Redaction never breaks the text."""
    body = b'{"id": 5, "a": [20241215, null, 1.5, true, {}], "b": "\\"\\\\"}'
    async with serve_once(respond(body)) as (server, _), server.client(api_key=key) as client:
        assert isinstance(await error_of(client.get_job(JOB)), errors.DecodeError)


@pytest.mark.parametrize(
    "script",
    [
        [Action.RESET],
        [b"HTTP/1.1 200 OK\r\nX-Echo: " + KEY.encode() + b"\r\n", Action.CLOSE],
        [KEY.encode() + b"\r\n\r\n", Action.CLOSE],
        [b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n\r\n", Action.CLOSE],
        [b"HTTP/1.1 400 " + KEY.encode() + b"\r\nContent-Length: 0\r\n\r\n"],
        respond(b"<html>", headers=[("X-API-Key", KEY), ("Set-Cookie", f"a={KEY}")]),
        respond(b"", headers=[("Content-Encoding", KEY)]),
        respond({}, status=503, headers=[("Retry-After", KEY), ("Date", KEY)]),
    ],
)
async def test_key_in_logs(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """The key is in no error and no log line, with debug logging of all libraries."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    async with serve(script, timeout=Timeout(request=1)) as (_, client):
        await error_of(client.get_job(JOB))
        await error_of(client.wait_for_job(JOB, timeout=3))
        shown = f"{client!r} {client.stats!r}"
    loop.set_debug(False)
    assert caplog.handler.level <= logging.DEBUG
    assert KEY not in caplog.text
    assert KEY not in shown


async def test_key_in_a_timeout_error() -> None:
    """WaitTimeoutError pickles with the last job and the last error, without the key."""
    running = respond(job_json(status="processing"))
    async with serve_once(running, respond({"detail": KEY}, status=500)) as (_, client):
        error = await error_of(client.wait_for_job(JOB, timeout=5))
        assert isinstance(error, errors.WaitTimeoutError)
        assert error.last is not None
        assert isinstance(error.last_error, errors.ServerError)
        check_error(error.last_error)


@pytest.mark.parametrize(
    ("key", "echoed"),
    [
        ("ab/cd==efgh", r"ab\/cd\u003d\u003defgh"),
        ('ab"cd\\efgh', r"ab\"cd\\efgh"),
        ("ab&cd<ef>'gh", "ab&amp;cd&lt;ef&gt;&#x27;gh"),
        ("ab&cd<ef>'gh", "ab&#38;cd&#060;ef&#x3E;&apos;gh"),
    ],
)
async def test_key_in_another_spelling(key: str, echoed: str) -> None:
    """The key is redacted in any spelling of JSON and HTML."""
    body = f'{{"detail": "key: {echoed}"}}'.encode()
    retry = RetryPolicy(max_attempts=1)
    async with RawServer(respond(body, status=400)) as server:
        async with server.client(api_key=key, retry=retry) as client:
            error = await error_of(client.get_job(JOB))
        assert isinstance(error, errors.BadRequestError)
        assert key not in html.unescape(error.detail)
        assert key not in html.unescape(str(error))
        assert "key:" in error.detail


async def test_text_that_begins_as_the_key_does() -> None:
    """Another token with the same beginning is left as it is, and costs nothing."""
    key = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcdefghijklmnopqrstuvwxyz"
    answer = respond({"detail": f"not {key[:-1]}g"}, status=400)
    async with RawServer(answer) as server, server.client(api_key=key) as client:
        error = await error_of(client.get_job(JOB))
    assert isinstance(error, errors.BadRequestError)
    assert error.detail == f"not {key[:-1]}g"
