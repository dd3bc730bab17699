"""Connections that cannot be opened, TLS, and base URLs."""

import contextlib
import socket
import ssl

import aiohttp
import pytest
import trustme

from helpers.leak_checks import KEY, check_error, error_of
from helpers.raw_server import JOB, Action, RawServer, Script, respond, serve
from helpers.tls import server_context, trusting_session
from sieve_async import SieveClient, Timeout, errors

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "a" * 300, "1.2.3.4.5"])
async def test_invalid_host(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(name: str, *_: object, **__: object) -> list[object]:
        name.encode("idna")  # as the real one, which then asks a DNS server
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        client = SieveClient(KEY, base_url=f"https://{host}")
    except errors.ConfigError as invalid:
        check_error(invalid)
        return
    async with client:
        assert isinstance(await error_of(client.get_job(JOB)), errors.ConnectError)


async def test_unknown_authority(authority: trustme.CA) -> None:
    """A session of our own trusts the authorities of the system only."""
    tls = server_context(authority)
    async with RawServer(respond(), tls=tls) as server, server.client() as client:
        for call in (client.get_job(JOB), client.wait_for_job(JOB)):
            error = await error_of(call)
            assert isinstance(error, errors.TLSError)
            assert (error.attempts, server.requests) == (1, [])


async def test_trusted_authority(authority: trustme.CA) -> None:
    """A session that trusts the authority works; a reset over TLS is retried."""
    bad: Script = [b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", Action.RESET]
    tls = server_context(authority)
    async with trusting_session(authority) as session, RawServer(bad, respond(), tls=tls) as server:
        async with server.client(session=session) as client:
            assert (await client.get_job(JOB)).succeeded
            assert (await client.get_job(JOB)).succeeded
        assert server.connections == 2


@pytest.mark.parametrize("has_session", [True, False], ids=["session", "own"])
@pytest.mark.parametrize("limit", [Timeout(connect=1), Timeout(request=1)], ids=str)
async def test_stalled_handshake(limit: Timeout, *, has_session: bool) -> None:
    """Nothing was sent, whichever limit ends the handshake: a push has started no job."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(RawServer([Action.DONT_READ, Action.SILENCE]))
        session = None
        if has_session:
            session = await stack.enter_async_context(aiohttp.ClientSession())
        url = server.url.replace("http:", "https:")
        client = server.client(base_url=url, timeout=limit, session=session)
        await stack.enter_async_context(client)
        for call in (client.get_job(JOB), client.push_job("o/f")):
            error = await error_of(call)
            assert isinstance(error, errors.RequestTimeoutError)
            assert (error.sent, error.attempts) == (False, 3)


async def test_server_that_requires_a_client_certificate(authority: trustme.CA) -> None:
    """The error mentions TLS."""
    tls = server_context(authority)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    async with trusting_session(authority) as session, RawServer(tls=tls) as server:
        error = await error_of(server.client(session=session).get_job(JOB))
        assert type(error) is errors.ConnectError
        assert "TLS may want a certificate" in str(error)
        assert server.requests == []


async def test_base_path() -> None:
    """A base URL may have a path and a trailing slash."""
    async with serve() as (server, _), server.client(base_url=f"{server.url}/a/b%20c/") as client:
        await client.get_job(JOB)
        await client.get_job(JOB, offset=3)
        targets = [request.target for request in server.requests]
        assert targets == ["/a/b%20c/v2/jobs/job-1", "/a/b%20c/v2/jobs/job-1?offset=3"]
