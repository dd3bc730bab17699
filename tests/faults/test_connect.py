"""Fault classes A and B: no connection, and no trust."""

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
    """A port of loopback where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


class NoSuchHost(AbstractResolver):
    """A resolver that counts, and finds nothing."""

    def __init__(self) -> None:
        self.queries = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Find nothing."""
        del host, port, family
        self.queries += 1
        raise OSError(socket.EAI_NONAME, "Name or service not known")

    async def close(self) -> None:
        """Nothing to close."""


async def test_refused() -> None:
    """A port where nobody listens is tried three times, with pauses within the rules."""
    async with SieveClient(KEY, base_url=f"http://127.0.0.1:{free_port()}") as client:
        error = await error_of(client.get_job(JOB))

        assert type(error) is ConnectError
        assert (error.attempts, client.stats.requests, client.stats.retries) == (3, 3, 2)
        assert 0.0999 <= error.elapsed <= 1.51
        assert "127.0.0.1" in str(error)


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
async def test_accept_then_close(end: Action) -> None:
    """A server that accepts and closes sees three connections, not six."""
    async with serve([Action.DONT_READ, end]) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert type(error) is ConnectError
        assert (error.attempts, wire.connections) == (3, 3)
        assert 0.0999 <= error.elapsed <= 1.6


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_as_many_attempts_as_allowed(attempts: int) -> None:
    """The policy says how often a request is tried."""
    async with serve([Action.RESET], retry=RetryPolicy(max_attempts=attempts)) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, ConnectError)
        assert (error.attempts, wire.connections, len(wire.requests)) == (attempts,) * 3


async def test_unknown_host() -> None:
    """A host that is not found is looked up three times."""
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
async def test_host_that_cannot_be(host: str) -> None:
    """A name that no host can have is a setting that cannot work, or a host that is not found."""
    try:
        client = SieveClient(KEY, base_url=f"https://{host}")
    except ConfigError as refusal:
        check_error(refusal)
        return
    async with client:
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, ConnectError)


async def test_recovers() -> None:
    """A wait goes on while nobody listens, and sees the end when somebody does again."""
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


async def test_unreachable_for_too_long() -> None:
    """A wait gives up with the last error when nothing valid came for too long."""
    polling = PollPolicy(outage_timeout=60)
    url = f"http://127.0.0.1:{free_port()}"
    async with SieveClient(KEY, base_url=url, polling=polling) as client:
        started = asyncio.get_running_loop().time()
        error = await error_of(client.wait_for_job(JOB))

        assert type(error) is ConnectError
        assert 60 <= asyncio.get_running_loop().time() - started <= 62


async def test_stalled_connect() -> None:
    """A handshake that stalls is given up after ``Timeout.connect``."""
    timeout = Timeout(connect=6.2)
    async with RawServer([Action.DONT_READ, Action.SILENCE]) as wire:
        url = wire.url.replace("http:", "https:")
        async with wire.client(base_url=url, timeout=timeout) as client:
            error = await error_of(client.get_job(JOB))

        assert isinstance(error, (RequestTimeoutError, ConnectError))
        assert (error.attempts, wire.connections) == (3, 3)
        assert 18.6 <= error.elapsed <= 20.3


@pytest.mark.parametrize("kind", ["unknown", "host", "expired", "plain", "garbage"])
async def test_no_trust(kind: str, authority: trustme.CA) -> None:
    """TLS that fails, fails at the first attempt: the key is sent to nobody."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    contexts = {
        "unknown": server_context(trustme.CA()),
        "host": server_context(authority, "elsewhere.example"),
        "expired": server_context(authority, not_before=past, not_after=past),
        "plain": None,
        "garbage": None,
    }
    said = b"\x16\x03\x03garbage" if kind == "garbage" else b"HTTP/1.1 400 Plain\r\n\r\n"
    script: Script = respond() if contexts[kind] else [Action.DONT_READ, 0.01, said, Action.CLOSE]
    async with (
        trusting_session(authority) as session,
        RawServer(script, tls=contexts[kind]) as wire,
    ):
        url = wire.url.replace("http:", "https:")
        client = wire.client(base_url=url, session=session)
        error = await error_of(client.get_job(JOB))
        ended = await error_of(client.wait_for_job(JOB))

        assert (type(error), type(ended)) == (TLSError, TLSError)
        assert isinstance(error, TLSError)
        assert error.attempts == 1
        assert client.stats.requests == 2
        assert wire.requests == []


async def test_unknown_authority_by_default(authority: trustme.CA) -> None:
    """A session of our own trusts only whom the system trusts."""
    async with RawServer(respond(), tls=server_context(authority)) as wire, wire.client() as client:
        error = await error_of(client.get_job(JOB))

        assert type(error) is TLSError
        assert (error.attempts, wire.requests) == (1, [])


async def test_trust(authority: trustme.CA) -> None:
    """A session with the right trust makes it work, by name and by address."""
    async with (
        trusting_session(authority) as session,
        RawServer(tls=server_context(authority)) as wire,
    ):
        seen = await wire.client(session=session).get_job(JOB)

        assert seen.succeeded
        assert wire.connections == 1


async def test_server_that_wants_a_certificate(authority: trustme.CA) -> None:
    """A server that refuses us for want of a certificate only hangs up; the error names TLS."""
    tls = server_context(authority)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    async with trusting_session(authority) as session, RawServer(tls=tls) as wire:
        error = await error_of(wire.client(session=session).get_job(JOB))

        assert type(error) is ConnectError
        assert "TLS may want a certificate" in str(error)
        assert wire.requests == []


async def test_tls_that_breaks_in_the_answer(authority: trustme.CA) -> None:
    """A broken connection is not a failure of TLS, and is tried again."""
    bad: Script = [b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", Action.RESET]
    tls = server_context(authority)
    async with trusting_session(authority) as session, RawServer(bad, respond(), tls=tls) as wire:
        seen = await wire.client(session=session).get_job(JOB)

        assert seen.succeeded
        assert wire.connections == 2


async def test_hundred_calls_share_few_sockets() -> None:
    """There are never more connections than slots."""
    async with serve([0.5, *respond()], limits=Limits(max_connections=5)) as (wire, client):
        await asyncio.gather(*(client.get_job(JOB) for _ in range(100)))

        assert (len(wire.requests), wire.connections) == (100, 5)


async def test_only_our_errors() -> None:
    """All that goes wrong below is a TransportError above."""
    async with serve([Action.RESET]) as (_, client):
        results = await asyncio.gather(
            *(client.get_job(JOB) for _ in range(20)), return_exceptions=True
        )

        assert all(isinstance(result, TransportError) for result in results)
