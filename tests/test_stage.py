"""The helpers beside the tests: servers that answer by what is asked, and what counts seconds."""

import asyncio
import itertools

from checks import most_in_a_second
from faults.wire import JOB, Script
from moments import data_of, finished, running, telling
from stage import Asked, Stage, ended


async def test_answers_follow_the_path() -> None:
    """Each request gets the answer of its own path, in whatever order they come."""

    def reply(asked: Asked) -> Script:
        return ended(asked.job_id)

    async with Stage(reply) as stage, stage.client() as client:
        jobs = await asyncio.gather(*(client.get_job(f"j{n}") for n in range(20)))

    assert [job.outputs for job in jobs] == [jobs[n].outputs for n in range(20)]
    assert [job.id for job in jobs] == [f"j{n}" for n in range(20)]
    assert len(stage.looks) == 20
    assert all(early.at <= late.at for early, late in itertools.pairwise(stage.asked))


async def test_answers_leave_out_what_is_asked_for() -> None:
    """Each moment is shown once, without the outputs that the request leaves out."""
    async with (
        telling(running("r", 1, 2), 503, finished("r", 1, [{"data": 2}], 3)) as server,
        server.client() as client,
    ):
        first = await client.get_job(JOB, offset=1)
        last = await client.get_job(JOB, offset=1)

    assert [data_of(output) for output in first.outputs] == [2]
    assert [data_of(output) for output in last.outputs] == [[2], 3]
    assert server.offsets == ["1", "1", "1"]


async def test_seconds() -> None:
    """The busiest second is found wherever it begins."""
    assert most_in_a_second([]) == 0
    assert most_in_a_second([0, 0.6, 0.9, 1.2, 1.5, 3]) == 4
