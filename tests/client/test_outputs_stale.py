"""Answers about runs that do not fit together: absent ids, lagging replicas, flapping ids."""

import itertools
from typing import Any

import pytest

from helpers.job_snapshots import (
    EVERY_SECOND,
    collect_outputs,
    finished,
    output_values,
    running,
    serve_snapshots,
    snapshot,
    stream_job,
    stream_through,
    wait_through,
)
from helpers.leak_checks import error_of
from helpers.raw_server import JOB
from sieve_async import Job, JobRestartedError, PollPolicy, ResponseError, WaitTimeoutError

OLD, NEW = f"{JOB}-a", f"{JOB}-b"
RESTARTED = {"restarts": [{"timestamp": "2024-12-15T01:41:59", "reason": "x", "type": "OOM"}]}


@pytest.mark.looptime
@pytest.mark.parametrize("fields", [{}, {"run_id": ...}])
async def test_no_run_id_throughout(fields: dict[str, Any]) -> None:
    """Where no answer says which run it is of, all are of one."""
    moments = [
        snapshot("queued", None, **fields),
        running(None, 1, **fields),
        running(None, 1, 2, **fields),
        finished(None, 1, 2, 3, **fields),
    ]

    job, server = await wait_through(*moments)
    found, _ = await stream_through(*moments)

    assert output_values(job) == found == [1, 2, 3]
    assert server.offsets == [None, None, "1", "2"]


@pytest.mark.looptime
@pytest.mark.parametrize("offset", [0, 1])
async def test_run_id_that_appears_late(offset: int) -> None:
    """A run that is named only later is no restart."""
    moments = snapshot("queued", None), running(None, 1), running(OLD, 1, 2), finished(OLD, 1, 2, 3)

    job, _ = await wait_through(*moments)
    found, _ = await stream_through(*moments, offset=offset)

    assert output_values(job) == [1, 2, 3]
    assert found == [1, 2, 3][offset:]


@pytest.mark.looptime
async def test_run_id_that_is_absent_in_between() -> None:
    """An answer that does not name its run is of the present one."""
    moments = running(OLD, 1), running(None, 1, 2), running(OLD, 1, 2), finished(None, 1, 2, 3)

    job, server = await wait_through(*moments)
    found, _ = await stream_through(*moments)

    assert output_values(job) == found == [1, 2, 3]
    assert server.offsets == [None, "1", "2", "2"]


@pytest.mark.looptime
@pytest.mark.parametrize(
    "stale",
    [
        running(OLD, "a", "b", "c"),
        finished(OLD, "a", "b", "c", "d"),
        snapshot("error", OLD, "a", "b", "c", error="of the old run"),
        snapshot("cancelled", OLD),
        snapshot("queued", OLD, outputs=None),
    ],
)
async def test_earlier_run_after_the_new_one(stale: dict[str, Any]) -> None:
    """An answer of an earlier run, once the new one was seen, is no result and yields nothing."""
    moments = [
        running(OLD, "a"),
        running(NEW, "x"),
        stale,  # in the place of the look that fetches from the first output on
        running(NEW, "x"),
        stale,
        stale,
        finished(NEW, "x", "y", "z"),
    ]

    job, server = await wait_through(*moments)
    found, _ = await stream_through(*moments, on_restart="continue")

    assert job.run_id == NEW
    assert output_values(job) == ["x", "y", "z"]
    assert found == ["a", "x", "y", "z"]
    assert server.offsets == [None, "1", None, None, "1", "1", "1"]


@pytest.mark.looptime
@pytest.mark.parametrize("held", [[], ["x"]])
@pytest.mark.parametrize(
    "stale",
    [
        running(OLD, "a"),
        finished(OLD, "a", "b", "c", "d"),
        snapshot("error", OLD, error="of the old run"),
    ],
)
async def test_earlier_run_that_this_wait_has_not_seen(
    held: list[Any], stale: dict[str, Any]
) -> None:
    """A wait that begins after a restart takes no answer from before it for a newer run.

    The restarts that an answer lists only grow, so they tell which of two runs is the earlier one.
    """
    moments = [
        running(NEW, *held, **RESTARTED),
        stale,
        running(NEW, "x", **RESTARTED),
        finished(NEW, "x", "y", **RESTARTED),
    ]

    job, _ = await wait_through(*moments)
    found, _ = await stream_through(*moments)

    assert job.run_id == NEW
    assert output_values(job) == found == ["x", "y"]


@pytest.mark.looptime
async def test_nothing_but_earlier_runs() -> None:
    """When only answers of an earlier run come any more, the wait ends, and says why."""
    moments = running(OLD, "a"), running(NEW, "x"), running(NEW, "x"), finished(OLD, "a", "b")
    async with serve_snapshots(*moments) as server, server.client() as client:
        gone = PollPolicy(outage_timeout=60)
        given_up = await error_of(client.wait_for_job(JOB, polling=gone))
    async with serve_snapshots(*moments) as server, server.client() as client:
        timed_out = await error_of(client.wait_for_job(JOB, timeout=10))

    assert isinstance(given_up, ResponseError)
    assert isinstance(timed_out, WaitTimeoutError)
    assert isinstance(timed_out.last, Job)
    assert timed_out.last.run_id == NEW
    assert output_values(timed_out.last) == ["x"]
    assert isinstance(timed_out.last_error, ResponseError)


@pytest.mark.looptime
@pytest.mark.parametrize("runs", ["ab", "abc", "abcdefghijklmnopqrstuvwxyz"])
async def test_flapping_runs_are_no_hot_loop(runs: str) -> None:
    """However often the run changes, there are at most two looks for each pause."""
    ids = itertools.islice(itertools.cycle(runs), 1000)
    moments = [running(f"{JOB}-{letter}", "x", "y") for letter in ids]
    async with serve_snapshots(*moments) as server, server.client() as client:
        await error_of(client.wait_for_job(JOB, timeout=60, polling=EVERY_SECOND))
    waiting = len(server.requests)
    async with serve_snapshots(*moments) as server, server.client() as client:
        with pytest.raises(WaitTimeoutError):
            await collect_outputs(stream_job(client, on_restart="continue", timeout=60), [])

    assert waiting <= 2 * 61
    assert len(server.requests) <= 2 * 61


@pytest.mark.looptime
async def test_new_run_at_every_answer() -> None:
    """A job whose every answer is of another run is looked at no more than twice for each pause."""
    moments = [running(f"{JOB}-{number}", "x", "y") for number in range(1000)]
    async with serve_snapshots(*moments) as server, server.client() as client:
        await error_of(client.wait_for_job(JOB, timeout=60, polling=EVERY_SECOND))

    assert len(server.requests) <= 2 * 61


@pytest.mark.looptime
async def test_stale_answer_does_not_raise_again() -> None:
    """After a restart was raised, a new stream of the new run ends well."""
    moments = running(OLD, "a"), running(NEW, "x"), running(NEW, "x"), finished(NEW, "x", "y")
    found: list[Any] = []
    async with serve_snapshots(*moments) as server, server.client() as client:
        with pytest.raises(JobRestartedError):
            await collect_outputs(stream_job(client), [])
        await collect_outputs(stream_job(client), found)

    assert found == ["x", "y"]
