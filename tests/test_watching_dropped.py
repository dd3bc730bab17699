"""Connections that the server has closed while nobody used them, and what is left after a close."""

import asyncio

import pytest
from faults.wire import Do, Script, answer
from stage import Asked, Stage, document, ended, running

from sieve_async import PollPolicy, WaitTimeoutError
from sieve_async.watching import Strategy

pytestmark = pytest.mark.looptime

EVERY_SECOND = PollPolicy(min_interval=1, max_interval=1, growth=0, jitter=0)


async def test_many_kept_connections_that_break() -> None:
    """One kept connection that breaks is made up for at once, and the others are not tried."""

    def reply(asked: Asked) -> Script:
        if asked.job_id != "job":
            return [1.0, *running(asked.job_id)]
        is_kept = any(asked.connection == other.connection for other in stage.asked[:-1])
        return [Do.RST] if is_kept else ended("job")

    stage = Stage(reply)
    async with stage, stage.client() as client:
        await asyncio.gather(*(client.get_job(f"{place}") for place in range(4)))

        (outcome,) = await client.wait_for_jobs(["job"], polling=EVERY_SECOND)

        assert outcome.ok
        times = [asked.at for asked in stage.asked if asked.job_id == "job"]
        assert len(times) == 2
        assert times[1] - times[0] < 0.1


@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_no_timer_is_left(strategy: Strategy) -> None:
    """Closing the client in the middle of a watch leaves no timer in the loop."""
    ids = [f"job{place}" for place in range(5)]
    page = {"data": [document(job_id) for job_id in ids], "next_offset": None}
    loop = asyncio.get_running_loop()

    def reply(asked: Asked) -> Script:
        return answer(page) if asked.is_list else running(asked.job_id)

    async with Stage(reply) as stage, stage.client() as client:
        async with client.as_completed(ids, strategy=strategy):
            await asyncio.sleep(100)
            await client.close()

        timers = loop._scheduled  # type: ignore[attr-defined] # asyncio's own
        assert [timer for timer in timers if not timer.cancelled()] == []


async def test_closing_while_thousands_end() -> None:
    """When an iterator is closed nothing of it goes on, not even the ending of thousands."""
    ids = [f"{place}" for place in range(3500)]
    async with Stage(lambda asked: running(asked.job_id)) as stage, stage.client() as client:
        before = asyncio.all_tasks()
        outcomes = client.as_completed(ids, timeout=1)
        outcome = await anext(outcomes)
        assert isinstance(outcome.error, WaitTimeoutError)

        await outcomes.aclose()

        assert asyncio.all_tasks() - stage._tasks == before
