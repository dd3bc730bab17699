"""Connections that fail, and TLS."""

import asyncio
import socket
import ssl
from datetime import UTC, datetime

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from helpers.leak_checks import KEY, check_error, error_of
from helpers.raw_server import JOB, Action, RawServer, Script, respond, serve
from helpers.tls import server_context, trusting_session
from sieve_async import (
    ConfigError,
    ConnectError,
    Limits,
    PollPolicy,
    RequestTimeoutError,
    RetryPolicy,
    SieveClient,
    Timeout,
    TLSError,
    TransportError,
)

pytestmark = pytest.mark.looptime


def free_port() -> int:
    """A loopback port without a listener."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
    return port


class NoSuchHost(AbstractResolver):
    """A resolver that counts its queries and finds no host."""

    def __init__(self) -> None:
        self.queries = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raise the resolver's error."""
        del host, port, family
        self.queries += 1
        raise OSError(socket.EAI_NONAME, "Name or service not known")

    async def close(self) -> None:
        """Release nothing."""


async def test_refused() -> None:
    """A refused connection is tried three times, with the delays of the policy."""
    async with SieveClient(KEY, base_url=f"http://127.0.0.1:{free_port()}") as client:
        error = await error_of(client.get_job(JOB))

        assert type(error) is ConnectError
        assert (error.attempts, client.stats.requests, client.stats.retries) == (3, 3, 2)
        assert 0.0999 <= error.elapsed <= 1.51
        assert "127.0.0.1" in str(error)


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
async def test_accept_then_close(end: Action) -> None:
    """A server that accepts and closes sees three connections."""
    async with serve([Action.DONT_READ, end]) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert type(error) is ConnectError
        assert (error.attempts, server.connections) == (3, 3)
        assert 0.0999 <= error.elapsed <= 1.6


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_max_attempts(attempts: int) -> None:
    """The policy limits the attempts."""
    async with serve([Action.RESET], retry=RetryPolicy(max_attempts=attempts)) as (server, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, ConnectError)
        assert (error.attempts, server.connections, len(server.requests)) == (attempts,) * 3


async def test_unknown_host() -> None:
    """An unknown host is resolved three times."""
    resolver = NoSuchHost()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        client = SieveClient(KEY, base_url="https://nowhere.example", session=session)
        error = await error_of(client.get_job(JOB))

        assert type(error) is ConnectError
        assert (error.attempts, resolver.queries) == (3, 3)
        assert "not found" in str(error)


@pytest.mark.parametrize(
    "host",
    ["a" * 64 + ".example", "a..example", ".example", "a" * 300, "1.2.3.4.5", "999.1.1.1"],
    ids=["long label", "two dots", "leading dot", "long name", "five numbers", "large number"],
)
async def test_invalid_host(host: str) -> None:
    """An invalid host name is ConfigError, or ConnectError."""
    try:
        client = SieveClient(KEY, base_url=f"https://{host}")
    except ConfigError as invalid:
        check_error(invalid)
        return
    async with client:
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, ConnectError)


async def test_wait_recovers() -> None:
    """A wait continues while there is no server, and ends when there is one."""
    port = free_port()
    loop = asyncio.get_running_loop()
    polling = PollPolicy(min_interval=1, max_interval=2)
    async with SieveClient(KEY, base_url=f"http://127.0.0.1:{port}", polling=polling) as client:
        wait = asyncio.create_task(client.wait_for_job(JOB))
        await asyncio.sleep(100)
        async with RawServer(respond(), port=port):
            ended = await wait

        assert ended.succeeded
        assert 100 <= loop.time() <= 170


async def test_outage_timeout() -> None:
    """A wait raises the last error when there was no valid response for the outage timeout."""
    polling = PollPolicy(outage_timeout=60)
    url = f"http://127.0.0.1:{free_port()}"
    async with SieveClient(KEY, base_url=url, polling=polling) as client:
        started = asyncio.get_running_loop().time()
        error = await error_of(client.wait_for_job(JOB))

        assert type(error) is ConnectError
        assert 60 <= asyncio.get_running_loop().time() - started <= 62


async def test_stalled_connect() -> None:
    """A stalled handshake ends after ``Timeout.connect``."""
    timeout = Timeout(connect=6.2)
    async with RawServer([Action.DONT_READ, Action.SILENCE]) as server:
        url = server.url.replace("http:", "https:")
        async with server.client(base_url=url, timeout=timeout) as client:
            error = await error_of(client.get_job(JOB))

        assert isinstance(error, (RequestTimeoutError, ConnectError))
        assert (error.attempts, server.connections) == (3, 3)
        assert 18.6 <= error.elapsed <= 20.3


@pytest.mark.parametrize("kind", ["unknown", "host", "expired"])
async def test_invalid_certificate(kind: str, authority: trustme.CA) -> None:
    """An invalid certificate is not retried, and the key is not sent."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    contexts = {
        "unknown": server_context(trustme.CA()),
        "host": server_context(authority, "elsewhere.example"),
        "expired": server_context(authority, not_before=past, not_after=past),
    }
    async with (
        trusting_session(authority) as session,
        RawServer(respond(), tls=contexts[kind]) as server,
    ):
        client = server.client(session=session)
        error = await error_of(client.get_job(JOB))
        waited = await error_of(client.wait_for_job(JOB))

        assert (type(error), type(waited)) == (TLSError, TLSError)
        assert isinstance(error, TLSError)
        assert error.attempts == 1
        assert client.stats.requests == 2
        assert server.requests == []


async def test_unknown_authority_by_default(authority: trustme.CA) -> None:
    """A session of our own trusts the authorities of the system only."""
    async with (
        RawServer(respond(), tls=server_context(authority)) as server,
        server.client() as client,
    ):
        error = await error_of(client.get_job(JOB))

        assert type(error) is TLSError
        assert (error.attempts, server.requests) == (1, [])


async def test_valid_certificate(authority: trustme.CA) -> None:
    """A session that trusts the authority works."""
    async with (
        trusting_session(authority) as session,
        RawServer(tls=server_context(authority)) as server,
    ):
        seen = await server.client(session=session).get_job(JOB)

        assert seen.succeeded
        assert server.connections == 1


async def test_server_that_requires_a_client_certificate(authority: trustme.CA) -> None:
    """The error mentions TLS."""
    tls = server_context(authority)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    async with trusting_session(authority) as session, RawServer(tls=tls) as server:
        error = await error_of(server.client(session=session).get_job(JOB))

        assert type(error) is ConnectError
        assert "TLS may want a certificate" in str(error)
        assert server.requests == []


async def test_reset_within_tls(authority: trustme.CA) -> None:
    """A reset during a response over TLS is retried."""
    bad: Script = [b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", Action.RESET]
    tls = server_context(authority)
    async with trusting_session(authority) as session, RawServer(bad, respond(), tls=tls) as server:
        seen = await server.client(session=session).get_job(JOB)

        assert seen.succeeded
        assert server.connections == 2


async def test_connection_limit() -> None:
    """There are never more connections than slots."""
    async with serve([0.5, *respond()], limits=Limits(max_connections=5)) as (server, client):
        await asyncio.gather(*(client.get_job(JOB) for _ in range(100)))

        assert (len(server.requests), server.connections) == (100, 5)


async def test_only_our_errors() -> None:
    """Every failure is a TransportError."""
    async with serve([Action.RESET]) as (_, client):
        results = await asyncio.gather(
            *(client.get_job(JOB) for _ in range(20)), return_exceptions=True
        )

        assert all(isinstance(result, TransportError) for result in results)
