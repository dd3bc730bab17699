"""Fault class K: a call is cancelled at every point of finding, reaching and trusting a server."""

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
    """A resolver that takes its time, and finds this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Find this machine after a second."""
        await asyncio.sleep(1)
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's side of TLS."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("sieve.test").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@asynccontextmanager
async def far_away(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> AsyncIterator[tuple[RawServer, SieveClient]]:
    """A server behind a slow resolver and TLS, and a client of it."""
    server, trusting = contexts
    connector = aiohttp.TCPConnector(resolver=SlowResolver(), ssl=trusting)
    async with (
        RawServer([1.0, *respond()], tls=server) as wire,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        url = wire.url.replace("127.0.0.1", "sieve.test")
        async with wire.client(base_url=url, session=session) as client:
            yield wire, client


@pytest.mark.parametrize("when", CancelWhen)
async def test_cancelled_while_connecting(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], when: CancelWhen
) -> None:
    """Wherever it is cancelled, it ends at once, no socket is taken, and the next call works."""
    for stepper in each_suspension(when, at_least=4):
        async with far_away(contexts) as (wire, client):
            task = await stepper.run(partial(client.get_job, JOB))
            if not stepper.is_cancelled:
                assert task.result().succeeded
                continue

            assert task.cancelled()
            assert (stepper.cancelling, stepper.turns <= 3) == (1, True), stepper
            assert_idle(client)
            await asyncio.sleep(3)  # the resolver cannot be cancelled
            await yield_to_loop(50)
            connector = client._transport._session.connector  # type: ignore[union-attr] # it has one
            assert not connector._acquired  # type: ignore[union-attr]
            others = asyncio.all_tasks() - wire._tasks - {asyncio.current_task()}
            assert others == set()
            assert (await client.get_job(JOB)).succeeded
