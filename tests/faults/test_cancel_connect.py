"""Calls cancelled at every suspension point of DNS resolution, connecting and the TLS handshake."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from helpers.asserts import assert_idle, yield_to_loop
from helpers.cancellation import CancelWhen, each_suspension
from helpers.raw_server import JOB, RawServer, respond
from sieve_async import SieveClient

pytestmark = pytest.mark.looptime


class SlowResolver(AbstractResolver):
    """A resolver that needs a second for each name."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return loopback after a second."""
        await asyncio.sleep(1)
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Release nothing."""


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of the server and the client."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("sieve.test").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@asynccontextmanager
async def slow_connection(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> AsyncIterator[tuple[RawServer, SieveClient]]:
    """A server behind a slow resolver and TLS, and its client."""
    server, trusting = contexts
    connector = aiohttp.TCPConnector(resolver=SlowResolver(), ssl=trusting)
    async with (
        RawServer([1.0, *respond()], tls=server) as raw,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        url = raw.url.replace("127.0.0.1", "sieve.test")
        async with raw.client(base_url=url, session=session) as client:
            yield raw, client


@pytest.mark.parametrize("when", CancelWhen)
async def test_cancelled_while_connecting(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], when: CancelWhen
) -> None:
    """The call ends at once, no task is left, and the next call works."""
    for driver in each_suspension(when, at_least=4):
        async with slow_connection(contexts) as (raw, client):
            task = await driver.run(partial(client.get_job, JOB))
            if not driver.is_cancelled:
                assert task.result().succeeded
                continue

            assert task.cancelled()
            assert (driver.cancelling, driver.turns <= 3) == (1, True), driver
            assert_idle(client)
            await asyncio.sleep(3)  # the resolver cannot be cancelled
            await yield_to_loop(50)
            others = asyncio.all_tasks() - raw._tasks - {asyncio.current_task()}
            assert others == set()
            assert (await client.get_job(JOB)).succeeded
