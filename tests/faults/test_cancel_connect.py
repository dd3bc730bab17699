"""Calls cancelled at every suspension point of DNS resolution, connecting and the TLS handshake."""

import asyncio
import ssl
from functools import partial

import aiohttp
import pytest
import trustme

from helpers.asserts import assert_idle, yield_to_loop
from helpers.cancellation import CancelWhen, each_suspension
from helpers.raw_server import JOB, RawServer, respond
from helpers.resolvers import FakeResolver
from helpers.tls import server_context

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("when", CancelWhen)
async def test_cancelled_while_connecting(authority: trustme.CA, when: CancelWhen) -> None:
    """The call ends at once, no task is left, and the next call works."""
    tls, trusting = server_context(authority, "sieve.test"), ssl.create_default_context()
    authority.configure_trust(trusting)
    for driver in each_suspension(when, at_least=4):
        connector = aiohttp.TCPConnector(
            resolver=FakeResolver(partial(asyncio.sleep, 1)), ssl=trusting
        )
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
