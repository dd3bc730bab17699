"""Sweeps that cost more than they tell are made less often, and never given up for good."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from helpers.http_helpers import now
from helpers.list_server import ListServer, row
from helpers.raw_server import (
    Document,
    RawRequest,
    Script,
    ScriptedServer,
    job_document,
    job_until,
    respond,
)
from sieve_async import PollPolicy

EVERY_SECOND = PollPolicy(min_interval=1, max_interval=1, growth=0, jitter=0)


@pytest.mark.looptime
async def test_lists_are_tried_again() -> None:
    """Lists of jobs that nobody watches are read again and again, in case the watched ones come."""
    own = [f"j{n}" for n in range(4)]

    def rows(asked: RawRequest) -> tuple[list[Document], int]:
        if now() < 400:
            return [row(f"other{asked.offset + n}") for n in range(500)], asked.offset + 500
        return village.running(asked), -1

    village = ListServer(rows, ends=dict.fromkeys(own, 600.0))

    found = await village.watch(EVERY_SECOND)

    useless = [asked for asked in village.server.lists if asked.at < 400]
    assert len(useless) <= 4 * 20  # a look at each job costs as much as a sweep, once in a while
    # Once lists tell something, hardly any look is needed.
    assert sum(440 <= asked.at < 590 for asked in village.server.polls) <= 8
    assert max(found.values()) <= 605


@pytest.mark.looptime
@pytest.mark.parametrize("number", [1, 50])
async def test_ids_in_between(number: int) -> None:
    """Few ids that come between two sweeps are looked at; many bring the next sweep forward."""
    early = [f"early{n}" for n in range(50)]
    late = [f"late{n}" for n in range(number)]

    async def source() -> AsyncIterator[str]:
        for job_id in early:
            yield job_id
        await asyncio.sleep(5)
        for job_id in late:
            yield job_id

    def reply(asked: RawRequest) -> Script:
        if not asked.is_list:
            return job_until(28, asked.job_id)
        rows = [job_document(job_id) for job_id in (*early, *late)]
        is_running = asked.query["status"] == "processing" and now() < 28
        return respond({"data": rows if is_running else [], "next_offset": -1})

    policy = PollPolicy(min_interval=10, max_interval=10, growth=0, jitter=0)
    async with ScriptedServer(reply) as stage, stage.client() as client:
        seen = [one async for one in client.as_completed(source(), polling=policy, strategy="list")]

    assert sorted(one.job_id for one in seen if one.ok) == sorted((*early, *late))
    sweeps = [asked.at for asked in stage.lists if asked.query["status"] == "processing"]
    looks = [asked.at for asked in stage.polls if asked.job_id in late and asked.at < 20]
    if number == 1:
        assert sweeps[:3] == pytest.approx([0, 10, 20], abs=0.5)
        assert looks == pytest.approx([5], abs=0.5)
    else:
        assert sweeps[:4] == pytest.approx([0, 5, 15, 25], abs=0.5)
        assert looks == []
