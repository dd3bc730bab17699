"""Outputs in bad weather: failed looks, cut answers, outputs that do not decode, vanished jobs."""

import asyncio
from typing import Any

import pytest

from helpers.job_snapshots import (
    EVERY_SECOND,
    Snapshot,
    collect_outputs,
    finished,
    output_value,
    output_values,
    running,
    serve_snapshots,
    snapshot,
    stream_job,
    stream_through,
    wait_through,
)
from helpers.leak_checks import check_error, error_of
from helpers.raw_server import JOB
from sieve_async import (
    Job,
    JobFailedError,
    PollPolicy,
    ServerError,
    WaitTimeoutError,
)


@pytest.mark.looptime
@pytest.mark.parametrize("fault", [500, 503, 429, 408, None], ids=str)
@pytest.mark.parametrize("times", [1, 2, 7])
async def test_failed_looks_lose_and_repeat_nothing(fault: Snapshot, times: int) -> None:
    """Errors and cut answers between the outputs, also at the first look, change none of them."""
    faults = [fault] * times
    moments = [
        *faults,
        running("r", 1, 2),
        *faults,
        running("r", 1, 2, 3),
        *faults,
        finished("r", 1, 2, 3, 4),
    ]

    found, streaming = await stream_through(*moments)
    job, waiting = await wait_through(*moments)

    assert found == output_values(job) == [1, 2, 3, 4]
    assert streaming.offsets == waiting.offsets
    assert streaming.offsets == [None] * (times + 1) + ["2"] * (times + 1) + ["3"] * (times + 1)


@pytest.mark.looptime
async def test_outage_ends_the_stream() -> None:
    """When nothing valid comes for ``outage_timeout``, the stream raises the last error."""
    found: list[Any] = []
    async with serve_snapshots(running("r", 1), 500) as server, server.client() as client:
        with pytest.raises(ServerError) as caught:
            await collect_outputs(stream_job(client, polling=PollPolicy(outage_timeout=60)), found)
        assert client.stats.waits == 0

    assert found == [1]
    check_error(caught.value)


@pytest.mark.looptime
async def test_refusal_in_between() -> None:
    """A job that one replica does not find goes on being streamed."""
    moments = running("r", 1), 404, 404, running("r", 1, 2), 401, finished("r", 1, 2, 3)

    found, _ = await stream_through(*moments)

    assert found == [1, 2, 3]


@pytest.mark.looptime
async def test_last_state_has_all_outputs() -> None:
    """The deadline of a wait holds the job with all outputs so far, as fetched in several looks."""
    moments = running("r", 1), 503, running("r", 1, 2), running("r", 1, 2, [{"data": 3}])
    async with serve_snapshots(*moments) as server, server.client() as client:
        error = await error_of(client.wait_for_job(JOB, polling=EVERY_SECOND, timeout=30))

    assert isinstance(error, WaitTimeoutError)
    assert isinstance(error.last, Job)
    assert output_values(error.last) == [1, 2, [3]]
    assert error.last.run_id == "r"


@pytest.mark.looptime
async def test_failure_has_the_whole_job() -> None:
    """With ``check`` the error of a failed job holds it with all outputs, also the earlier ones."""
    moments = running("r", 1), running("r", 1, 2), snapshot("error", "r", 1, 2, 3, error="boom")
    async with serve_snapshots(*moments) as server, server.client() as client:
        error = await error_of(client.wait_for_job(JOB, polling=EVERY_SECOND, check=True))

    assert isinstance(error, JobFailedError)
    assert output_values(error.job) == [1, 2, 3]
    assert error.job.error == "boom"


@pytest.mark.looptime
async def test_step_that_was_cut_off() -> None:
    """After a step that its caller cut off, the next one does not claim that the job has ended."""
    moments = running("r", 1), finished("r", 1, 2)
    async with serve_snapshots(*moments) as server, server.client() as client:
        outputs = stream_job(client)
        found = [output_value(await anext(outputs))]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(outputs), 0.5)
        await collect_outputs(outputs, found)

    assert found == [1, 2]
