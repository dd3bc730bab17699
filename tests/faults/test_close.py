"""``close()`` at unusual times, and loops and sessions that are closed under a client."""

import asyncio
import gc
import traceback
import warnings

import aiohttp
import pytest

from helpers.leak_checks import KEY
from helpers.raw_server import JOB, Action, RawServer, job_json, respond
from sieve_async import ClientClosedError, RequestTimeoutError, SieveClient, Timeout


@pytest.mark.looptime
async def test_close_twice_as_a_request_times_out() -> None:
    """Two tasks may close a client in the loop iteration in which a request times out."""
    loop = asyncio.get_running_loop()
    async with RawServer([Action.SILENCE]) as server:
        client = server.client(timeout=Timeout(request=5))
        call = asyncio.create_task(client.get_job(JOB))
        closing: list[asyncio.Task[None]] = []

        def close_twice() -> None:
            closing.extend(asyncio.create_task(client.close()) for _ in range(2))

        loop.call_at(loop.time() + 5, close_twice)
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.gather(*closing)

        assert isinstance(call.exception(), (ClientClosedError, RequestTimeoutError))
        assert client.closed


async def test_timeout_of_the_caller_shows_no_key() -> None:
    """A traceback with locals of a cancelled call does not contain the key."""
    async with RawServer([Action.SILENCE]) as server, server.client() as client:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.05):
                await client.get_job(JOB)

    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert KEY not in "".join(shown.format())


# A loop that is closed with pending tasks leaves them to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_close_after_the_loop_was_closed() -> None:
    """A client whose loop was closed during a wait can be closed."""

    def abandon(url: str) -> None:
        client = SieveClient("key", base_url=url)
        loop = asyncio.new_event_loop()
        task = loop.create_task(client.wait_for_job(JOB))
        loop.run_until_complete(asyncio.sleep(0.05))
        task.cancel()
        loop.close()
        asyncio.run(client.close())
        assert client.closed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sockets of a closed loop
        async with RawServer([Action.SILENCE]) as server:
            await asyncio.to_thread(abandon, server.url)
        async with RawServer(respond(job_json(status="processing"))) as server:
            await asyncio.to_thread(abandon, server.url)
        gc.collect()


@pytest.mark.looptime
async def test_session_closed_while_its_pool_is_full() -> None:
    """A call that waits in the pool of the caller's session raises ClientClosedError."""
    async with RawServer([Action.SILENCE]) as server:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))
        async with server.client(session=session) as one, server.client(session=session) as other:
            calls = [asyncio.create_task(client.get_job(JOB)) for client in (one, other)]
            await asyncio.sleep(1)
            await session.close()
            results = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(result) for result in results] == [ClientClosedError, ClientClosedError]
