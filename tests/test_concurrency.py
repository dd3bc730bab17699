"""Many tasks through one client: slots, sockets, cancellation, loops and processes."""

import asyncio
import sys

import pytest

from sieve_async import (
    ClientClosedError,
    Limits,
    SieveClient,
)
from sieve_async.testing import FakeSieve


@pytest.mark.looptime
@pytest.mark.parametrize("max_connections", [1, 8, 64])
async def test_waits_beside_lookups(sieve: FakeSieve, max_connections: int) -> None:
    """100 waits and 100 lookups share one pool of at most ``max_connections`` sockets."""
    jobs = [sieve.add_job(queued=1 + n % 7, processing=5 + n % 11) for n in range(100)]
    sieve.add_version("owner", "name", "v1")
    limits = Limits(max_connections=max_connections)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        waits = asyncio.gather(*map(client.wait_for_job, jobs))
        lookups = asyncio.gather(*map(client.get_job, jobs[:50]))
        versions = asyncio.gather(*(client.get_version("owner", "name") for _ in range(50)))

        ended = await waits

        assert [job.id for job in ended] == jobs
        assert all(job.succeeded for job in ended)
        assert [job.id for job in await lookups] == jobs[:50]
        assert {version.id for version in await versions} == {"v1"}
    assert sieve.connections <= max_connections
    assert sieve.max_in_flight <= max_connections
    assert len(sieve.requests) == client.stats.requests


@pytest.mark.looptime
async def test_cancelled_wait(sieve: FakeSieve) -> None:
    """Cancelling passes at once, frees the slot, and does not touch the remote job."""
    sieve.add_job("job", processing=600)
    limits = Limits(max_connections=1)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        asking = asyncio.create_task(client.wait_for_job("job"))
        queueing = asyncio.create_task(client.get_job("job"))
        await asyncio.sleep(0.001)
        sleeping = asyncio.create_task(client.wait_for_job("job"))
        await asyncio.sleep(0.3)

        for task in (asking, queueing, sleeping):
            task.cancel()
        outcomes = await asyncio.gather(asking, queueing, sleeping, return_exceptions=True)

        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert isinstance(outcomes[2], asyncio.CancelledError)
        assert client.stats.in_flight == client.stats.queued == client.stats.waits == 0
        assert (await client.get_job("job")).status == "processing"


async def test_cancel_at_every_turn(sieve: FakeSieve) -> None:
    """Whichever turn of the loop the cancellation comes in, it passes and frees the slot."""
    sieve.add_job("job", processing=600)
    limits = Limits(max_connections=1)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        for turns in range(40):
            tasks = [asyncio.create_task(client.get_job("job")) for _ in range(2)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                if not task.done():
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

            assert all(task.cancelled() or task.exception() is None for task in tasks)
            assert client.stats.in_flight == client.stats.queued == 0
        assert (await client.get_job("job")).id == "job"


async def test_another_loop(sieve: FakeSieve, client: SieveClient) -> None:
    """A client that was used on one loop says so when it is used on another."""
    sieve.add_job("job")
    await client.get_job("job")

    def on_another_loop() -> None:
        for call in (client.get_job("job"), client.wait_for_job("job"), client.close()):
            with pytest.raises(ClientClosedError, match="another event loop"):
                asyncio.run(call)
        assert not client.closed

    await asyncio.to_thread(on_another_loop)
    assert (await client.get_job("job")).id == "job"


def test_loop_that_is_gone() -> None:
    """A client whose loop has ended says so, and can still be closed."""
    client = SieveClient("some-key", base_url="http://127.0.0.1:1")

    async def enter() -> None:
        await client.__aenter__()

    asyncio.run(enter())

    with pytest.raises(ClientClosedError, match="another event loop"):
        asyncio.run(client.get_job("job"))
    asyncio.run(client.close())
    assert client.closed


FORKING = """
import asyncio, os, sys
from sieve_async import ClientClosedError, SieveClient

async def main():
    client = SieveClient("some-key", base_url="http://127.0.0.1:1")
    async with client:
        if os.fork() == 0:
            try:
                await client.get_job("job")
            except ClientClosedError as error:
                print(error, flush=True)
            os._exit(0)
        os.wait()

asyncio.run(main())
"""


async def test_another_process() -> None:
    """A client that was used before a fork says so in the child."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FORKING, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await program.communicate()

    assert b"another process" in said
