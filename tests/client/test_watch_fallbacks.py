"""Sweeps where lists are missing, down for hours or slow; and a stream that was closed."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from helpers.http_helpers import now
from helpers.raw_server import RawRequest, Script, ScriptedServer, job_document, respond
from sieve_async import PollPolicy, SieveClient
from sieve_async.testing import FakeSieve


def look(asked: RawRequest) -> Script:
    """Answer a look at a job that runs for 6 hours, or one for 99 s whose id begins with s."""
    has_ended = now() >= (99 if asked.job_id.startswith("s") else 6 * 3600)
    return respond(job_document(asked.job_id, "finished" if has_ended else "processing"))


@pytest.mark.looptime
async def test_ids_that_come_where_there_are_no_lists() -> None:
    """Once lists are known not to be had, ids that come later ask for none."""

    def play(asked: RawRequest) -> Script:
        return respond({"detail": "no"}, status=404) if asked.is_list else look(asked)

    async def source() -> AsyncIterator[str]:
        for number in range(20):
            yield f"s{number}"
            if number % 5 == 4:
                await asyncio.sleep(2)

    async with ScriptedServer(play) as stage, stage.client() as client:
        seen = [outcome async for outcome in client.as_completed(source(), strategy="list")]

    assert [outcome.ok for outcome in seen] == [True] * 20
    assert len(stage.lists) == 1


@pytest.mark.looptime
async def test_lists_that_are_down_for_hours() -> None:
    """Lists that fail for hours are tried again ever more seldom, but each half hour at least."""

    def play(asked: RawRequest) -> Script:
        return respond({}, status=500) if asked.is_list else look(asked)

    policy = PollPolicy(min_interval=60, max_interval=60, jitter=0)
    ids = [f"j{number}" for number in range(4)]
    async with ScriptedServer(play) as stage, stage.client(polling=policy) as client:
        outcomes = await client.wait_for_jobs(ids, strategy="list")

    times = [0.0, *(asked.at for asked in stage.lists), 6 * 3600]
    assert all(outcome.ok for outcome in outcomes)
    assert 1500 <= max(late - early for early, late in itertools.pairwise(times)) <= 1800 + 130
    assert len(times) <= 80


@pytest.mark.looptime
async def test_one_sweep_at_a_time() -> None:
    """Ids that come while a page is slow begin no second sweep beside the first."""
    reading = most = 0

    def begin() -> None:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)

    def end() -> None:
        nonlocal reading
        reading -= 1

    def play(asked: RawRequest) -> Script:
        if not asked.is_list:
            return look(asked)
        return [begin, 7.0, end, *respond({"data": [], "next_offset": -1})]

    async def source() -> AsyncIterator[str]:
        for number in range(40):
            yield f"s{number}"
            await asyncio.sleep(0.3)

    async with ScriptedServer(play) as stage, stage.client() as client:
        seen = [outcome async for outcome in client.as_completed(source(), strategy="list")]

    assert [outcome.ok for outcome in seen] == [True] * 40
    assert most == 1


@pytest.mark.looptime
async def test_closed_stream_hands_out_nothing(sieve: FakeSieve, client: SieveClient) -> None:
    """Outputs that were fetched and not taken are gone once their stream is closed."""
    sieve.add_job("a", outputs=["x", "y", "z"])
    stream = client.stream_outputs("a")
    await anext(stream)

    await stream.aclose()

    assert [output async for output in stream] == []
