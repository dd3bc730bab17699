"""Sources of ids are closed on every way out, and nothing that they gave is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self

import pytest

from helpers.leak_checks import KEY
from sieve_async import ClientClosedError, Job, Limits, SieveClient, WaitTimeoutError
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


class Source:
    """An async source of ids without end, whose cleanup takes a second.

    Args:
        job_ids: What it gives at first.
    """

    def __init__(self, *job_ids: str) -> None:
        self.is_closed = False
        self._job_ids = job_ids

    async def ids(self) -> AsyncIterator[str]:
        """The ids; then it waits."""
        try:
            for job_id in self._job_ids:
                yield job_id
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(0.5)
            await asyncio.sleep(0.5)
            self.is_closed = True


async def test_source_without_ids(sieve: FakeSieve, client: SieveClient) -> None:
    """A source that has given nothing yet is closed like any other."""
    source = Source()
    async with client.as_completed(source.ids()):
        await asyncio.sleep(1)
    assert source.is_closed

    source = Source()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await client.wait_for_jobs(source.ids())
    assert source.is_closed
    assert not sieve.requests


@pytest.mark.parametrize("way", ["deadline", "break", "close", "callback"])
async def test_slow_cleanup(sieve: FakeSieve, way: str) -> None:
    """The cleanup of a source is never interrupted, and ends before the watch has."""
    source = Source(sieve.add_job(processing=1), sieve.add_job(processing=100))

    def on_update(job: Job) -> None:
        if way == "callback" and job.is_terminal:
            raise ValueError

    async with SieveClient(KEY, base_url=sieve.url) as client:
        timeout = 5 if way == "deadline" else None
        watch = client.as_completed(source.ids(), timeout=timeout, on_update=on_update)
        with contextlib.suppress(ValueError):
            async with watch:
                async for _ in watch:
                    if way == "break":
                        break
                    if way == "close":
                        await client.close()
                        assert source.is_closed
        assert source.is_closed


async def test_source_of_closed_client(sieve: FakeSieve) -> None:
    """A watch that cannot begin closes its source, too."""

    class Stream:
        is_closed = False

        def __aiter__(self) -> Self:
            return self

        async def __anext__(self) -> str:
            raise AssertionError

        async def aclose(self) -> None:
            self.is_closed = True

    client = SieveClient(KEY, base_url=sieve.url)
    await client.close()
    source = Stream()
    with pytest.raises(ClientClosedError):
        async with client.as_completed(source):
            pass
    assert source.is_closed


async def test_source_that_ignores_cancellation(sieve: FakeSieve, client: SieveClient) -> None:
    """An id that comes after the deadline is not watched, and takes nothing from the others."""
    ids = [sieve.add_job(processing=100) for _ in range(3)]

    async def source() -> AsyncIterator[str]:
        for job_id in ids:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3)
            yield job_id

    outcomes = await client.wait_for_jobs(source(), timeout=5)

    assert [(outcome.job_id, type(outcome.error)) for outcome in outcomes] == [
        (ids[0], WaitTimeoutError)
    ]


async def test_take_more_than_fit(sieve: FakeSieve) -> None:
    """``take`` does not wait for more outcomes than the watch may hold."""
    ids = [sieve.add_job(processing=1) for _ in range(30)]
    async with (
        SieveClient(KEY, base_url=sieve.url, limits=Limits(max_pending_jobs=10)) as client,
        client.as_completed(ids) as watch,
    ):
        taken: list[str] = []
        while not watch.done:
            async with asyncio.timeout(60):
                taken += [outcome.job_id for outcome in await watch.take(within=None)]

        assert sorted(taken) == sorted(ids)


async def test_nudge_during_on_update(sieve: FakeSieve, client: SieveClient) -> None:
    """A job is not polled while the caller's function has its state; a nudge is kept."""
    job_id = sieve.add_job(queued=1, processing=5)
    running = 0
    seen: list[str] = []

    async def on_update(job: Job) -> None:
        nonlocal running
        running += 1
        seen.append(job.status)
        assert running == 1
        await asyncio.sleep(3)
        running -= 1

    async def nudge() -> None:
        for _ in range(8):
            await asyncio.sleep(0.7)
            assert client.nudge(job_id)

    nudging = asyncio.create_task(nudge())
    outcomes = await client.wait_for_jobs([job_id], on_update=on_update)
    await nudging

    assert outcomes[0].ok
    assert seen == ["queued", "processing", "finished"]
