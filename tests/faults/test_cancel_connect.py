"""Calls cancelled at every suspension point of DNS resolution, connecting and the TLS handshake."""

import asyncio
import socket
import ssl
from functools import partial

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from helpers.asserts import assert_idle, yield_to_loop
from helpers.cancellation import CancelWhen, each_suspension
from helpers.raw_server import JOB, RawServer, respond
from helpers.tls import server_context

pytestmark = pytest.mark.looptime


class SlowResolver(AbstractResolver):
    """A resolver that needs a second for each name."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return loopback after a second."""
        await asyncio.sleep(1)
        found = {"hostname": host, "host": "127.0.0.1", "port": port, "family": family}
        return [ResolveResult(**found, proto=0, flags=0)]  # type: ignore[typeddict-item]

    async def close(self) -> None:
        """Release nothing."""


@pytest.mark.parametrize("when", CancelWhen)
async def test_cancelled_while_connecting(authority: trustme.CA, when: CancelWhen) -> None:
    """The call ends at once, no task is left, and the next call works."""
    tls, trusting = server_context(authority, "sieve.test"), ssl.create_default_context()
    authority.configure_trust(trusting)
    for driver in each_suspension(when, at_least=4):
        connector = aiohttp.TCPConnector(resolver=SlowResolver(), ssl=trusting)
        async with (
            RawServer([1.0, *respond()], tls=tls) as server,
            aiohttp.ClientSession(connector=connector) as session,
            server.client(
                base_url=server.url.replace("127.0.0.1", "sieve.test"), session=session
            ) as client,
        ):
            task = await driver.run(partial(client.get_job, JOB))
            if not driver.is_cancelled:
                assert task.result().succeeded
                continue

            assert task.cancelled()
            assert (driver.cancelling, driver.turns <= 3) == (1, True), driver
            assert_idle(client)
            await asyncio.sleep(3)  # the resolver cannot be cancelled
            await yield_to_loop(50)
            assert server.foreign_tasks() == set()
            assert (await client.get_job(JOB)).succeeded
