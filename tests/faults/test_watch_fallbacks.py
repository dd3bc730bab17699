"""Sweeps where lists are missing, down for hours or slow; and a stream that was closed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from helpers.http_helpers import now
from helpers.raw_server import RawRequest, Script, ScriptedServer, job_document, respond
from sieve_async import SieveClient
from sieve_async.testing import FakeSieve


def look(asked: RawRequest) -> Script:
    """Answer a look at a job that runs for 6 hours, or one for 99 s whose id begins with s."""
    has_ended = now() >= (99 if asked.job_id.startswith("s") else 6 * 3600)
    return respond(job_document(asked.job_id, "finished" if has_ended else "processing"))


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
