"""Connections that the server has closed while nobody used them, and what is left after a close."""

import asyncio

import pytest

from helpers.raw_server import (
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    finished_job,
    job_document,
    respond,
    running_job,
)
from sieve_async import PollPolicy, WaitTimeoutError
from sieve_async.watching import Strategy

pytestmark = pytest.mark.looptime

EVERY_SECOND = PollPolicy(min_interval=1, max_interval=1, growth=0, jitter=0)


async def test_many_kept_connections_that_break() -> None:
    """One kept connection that breaks is made up for at once, and the others are not tried."""

    def reply(asked: RawRequest) -> Script:
        if asked.job_id != "job":
            return [1.0, *running_job(asked.job_id)]
        is_kept = any(asked.connection == other.connection for other in stage.requests[:-1])
        return [Action.RESET] if is_kept else finished_job("job")

    stage = ScriptedServer(reply)
    async with stage, stage.client() as client:
        await asyncio.gather(*(client.get_job(f"{place}") for place in range(4)))

        (outcome,) = await client.wait_for_jobs(["job"], polling=EVERY_SECOND)

        assert outcome.ok
        times = [asked.at for asked in stage.requests if asked.job_id == "job"]
        assert len(times) == 2
        assert times[1] - times[0] < 0.1


@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_no_timer_is_left(strategy: Strategy) -> None:
    """Closing the client in the middle of a watch leaves no timer in the loop."""
    ids = [f"job{place}" for place in range(5)]
    page = {"data": [job_document(job_id) for job_id in ids], "next_offset": None}
    loop = asyncio.get_running_loop()

    def reply(asked: RawRequest) -> Script:
        return respond(page) if asked.is_list else running_job(asked.job_id)

    async with ScriptedServer(reply) as stage, stage.client() as client:
        async with client.as_completed(ids, strategy=strategy):
            await asyncio.sleep(100)
            await client.close()

        timers = loop._scheduled  # type: ignore[attr-defined] # asyncio's own
        assert [timer for timer in timers if not timer.cancelled()] == []


async def test_closing_while_thousands_end() -> None:
    """When an iterator is closed nothing of it goes on, not even the ending of thousands."""
    ids = [f"{place}" for place in range(3500)]
    async with (
        ScriptedServer(lambda asked: running_job(asked.job_id)) as stage,
        stage.client() as client,
    ):
        before = asyncio.all_tasks()
        outcomes = client.as_completed(ids, timeout=1)
        outcome = await anext(outcomes)
        assert isinstance(outcome.error, WaitTimeoutError)

        await outcomes.aclose()

        assert asyncio.all_tasks() - stage._tasks == before
