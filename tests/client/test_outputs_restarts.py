"""Outputs of jobs that restart: the new run is told, begins again, and is never mixed in."""

import asyncio
from typing import Any

import pytest

from helpers.job_snapshots import (
    EVERY_SECOND,
    collect_outputs,
    finished,
    output_value,
    output_values,
    running,
    serve_snapshots,
    snapshot,
    stream_job,
    stream_through,
)
from helpers.leak_checks import check_error
from helpers.raw_server import JOB
from sieve_async import Job, JobFailedError, JobRestartedError, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

OLD, NEW, NEWEST = (f"{JOB}-{letter}" for letter in "abc")


@pytest.mark.looptime
async def test_restart_is_raised(sieve: FakeSieve, client: SieveClient) -> None:
    """A restart ends the stream with the job and its new run; what came before was of one run."""
    sieve.add_job("job", processing=40, outputs=range(4), streams=True, restarts=1)
    found: list[Any] = []

    with pytest.raises(JobRestartedError) as caught:
        await collect_outputs(client.stream_outputs("job"), found)

    new_run = (await client.get_job("job")).run_id
    assert (caught.value.job_id, caught.value.run_id) == ("job", new_run)
    assert found == list(range(len(found)))
    assert len(found) >= 3
    check_error(caught.value)


@pytest.mark.looptime
@pytest.mark.parametrize(
    "restarted",
    [
        snapshot("queued", NEW),
        snapshot("queued", NEW, outputs=None),
        running(NEW),
        running(NEW, "x"),
        running(NEW, "x", "y", "z"),
        finished(NEW, "x"),
        finished(NEW, "x", "y", "z"),
        snapshot("error", NEW, error="boom"),
        snapshot("cancelled", NEW),
    ],
)
async def test_restart_is_raised_however_it_shows(restarted: dict[str, Any]) -> None:
    """Whatever the first answer of the new run says, and be it the end, nothing of it comes."""
    found: list[Any] = []
    async with (
        serve_snapshots(running(OLD, "a", "b"), restarted) as server,
        server.client() as client,
    ):
        with pytest.raises(JobRestartedError) as caught:
            await collect_outputs(stream_job(client), found)
        assert client.stats.waits == 0

    assert found == ["a", "b"]
    assert (caught.value.job_id, caught.value.run_id) == (JOB, NEW)


@pytest.mark.looptime
@pytest.mark.parametrize("offset", [0, 2])
async def test_restart_before_any_output(offset: int) -> None:
    """A restart is raised also when nothing was handed out yet: the run is another."""
    moments = snapshot("queued", OLD), running(OLD), running(NEW, "a", "b", "c")
    async with serve_snapshots(*moments) as server, server.client() as client:
        with pytest.raises(JobRestartedError) as caught:
            await collect_outputs(stream_job(client, offset=offset), [])

    assert caught.value.run_id == NEW


@pytest.mark.looptime
@pytest.mark.parametrize("before_failing", [[], [running(NEW, "x")]])
async def test_again(before_failing: list[Any]) -> None:
    """``on_restart="continue"`` hands out the new run from its first output, and how that ends."""
    moments = [
        running(OLD, "a", "b"),
        *before_failing,
        snapshot("error", NEW, "x", "y", "z", error="boom"),
    ]
    found: list[Any] = []
    async with serve_snapshots(*moments) as server, server.client() as client:
        with pytest.raises(JobFailedError, match="boom"):
            await collect_outputs(stream_job(client, on_restart="continue"), found)

    assert found == ["a", "b", "x", "y", "z"]


@pytest.mark.looptime
async def test_again_and_again(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that restarts twice is handed out run by run, each from its first output on."""
    sieve.add_job("job", processing=40, outputs=range(4), streams=True, restarts=2)
    found: list[Any] = []

    await collect_outputs(client.stream_outputs("job", on_restart="continue"), found)

    begins = [place for place, data in enumerate(found) if data == 0]
    runs = [found[begin:end] for begin, end in zip(begins, [*begins[1:], len(found)], strict=True)]
    assert len(runs) == 3
    assert runs[-1] == [0, 1, 2, 3]
    assert all(run == list(range(len(run))) for run in runs)


@pytest.mark.looptime
async def test_again_begins_with_the_first_output() -> None:
    """After a restart the caller's ``offset``, which counted outputs that are void, is void too."""
    moments = running(OLD, 0, 1, 2, 3), finished(NEW, "a", "b", "c")

    found, server = await stream_through(*moments, offset=3, on_restart="continue")

    assert found == [3, "a", "b", "c"]
    assert server.offsets == ["3", "4", None]


@pytest.mark.looptime
@pytest.mark.parametrize(
    "later",
    [
        [finished(NEW, "x")],
        [finished(NEW, "x", "y", "z")],
        [running(NEW, "x"), finished(NEW, "x", "y", "z")],
        [running(NEW, "x", "y", "z"), finished(NEW, "x", "y", "z")],
        [snapshot("queued", NEW, outputs=None), finished(NEW, "x", "y", "z")],
        [running(NEW, "x"), 503, None, finished(NEW, "x", "y", "z")],
        [running(NEW, "n"), running(NEWEST, "m", "n"), finished(NEWEST, "m", "n", "o")],
        [running(NEW, "m", "n"), finished(NEWEST, "m")],
        [running(NEW, "m", "n", "o"), finished(NEWEST)],
    ],
)
@pytest.mark.parametrize("is_watched", [False, True])
async def test_result_is_of_one_run(later: list[Any], *, is_watched: bool) -> None:
    """After restarts the result of a wait holds exactly the outputs of the last run, all of it."""
    shown: list[Job] = []
    moments = [running(OLD, "a"), running(OLD, "a", "b"), *later]
    async with serve_snapshots(*moments) as server, server.client() as client:
        job = await client.wait_for_job(
            JOB, polling=EVERY_SECOND, on_update=shown.append if is_watched else None
        )

    assert job.run_id == later[-1]["run_id"]
    assert [{"data": output_value(output)} for output in job.outputs] == later[-1]["outputs"]
    wholes = {each["run_id"]: each["outputs"] for each in moments if isinstance(each, dict)}
    for one in shown:  # what is shown meanwhile is of one run too
        outputs = [{"data": output_value(output)} for output in one.outputs]
        assert outputs == wholes[one.run_id or ""][: len(outputs)]
    assert "0" not in server.offsets


@pytest.mark.looptime
async def test_terminal_answer_of_a_new_run_wins_over_the_deadline() -> None:
    """A job that restarted and ended in time is returned, also when only the last look shows it."""
    once_more = PollPolicy(min_interval=1000, max_interval=1000)  # the second look is the last
    async with (
        serve_snapshots(running(OLD, "a"), finished(NEW, "x", "y")) as server,
        server.client() as client,
    ):
        job = await client.wait_for_job(JOB, timeout=60, polling=once_more)

    assert job.succeeded
    assert output_values(job) == ["x", "y"]


@pytest.mark.looptime
async def test_outcome_of_a_new_run_wins_over_the_deadline() -> None:
    """The same holds among many jobs: what ended in time has an outcome that says so."""
    once_more = PollPolicy(min_interval=1000, max_interval=1000)
    async with (
        serve_snapshots(running(OLD, "a"), finished(NEW, "x", "y")) as server,
        server.client() as client,
    ):
        [outcome] = await client.wait_for_jobs([JOB], timeout=60, polling=once_more)

    assert output_values(outcome.result()) == ["x", "y"]


@pytest.mark.looptime
async def test_restart_that_the_last_look_shows() -> None:
    """A stream tells of a restart also when only the last look before the deadline shows it."""
    once_more = PollPolicy(min_interval=1000, max_interval=1000)
    moments = running(OLD, "a"), finished(NEW, "x", "y")
    async with serve_snapshots(*moments) as server, server.client() as client:
        with pytest.raises(JobRestartedError) as caught:
            await collect_outputs(stream_job(client, timeout=60, polling=once_more), [])

    assert caught.value.run_id == NEW


@pytest.mark.looptime
async def test_end_of_a_new_run_that_the_last_look_shows() -> None:
    """With ``on_restart="continue"`` a terminal answer in time brings its outputs in time too."""
    once_more = PollPolicy(min_interval=1000, max_interval=1000)
    found: list[Any] = []
    async with (
        serve_snapshots(running(OLD, "a"), finished(NEW, "x", "y")) as server,
        server.client() as client,
    ):
        await collect_outputs(
            stream_job(client, timeout=60, polling=once_more, on_restart="continue"), found
        )

    assert found == ["a", "x", "y"]


@pytest.mark.looptime
async def test_restart_behind_a_busy_caller(sieve: FakeSieve, client: SieveClient) -> None:
    """A restart while the caller is busy with an output is told at the next step."""
    sieve.add_job("job", processing=20, outputs=range(4), streams=True, restarts=1)
    found: list[Any] = []

    async def work() -> None:
        async for output in client.stream_outputs("job"):
            found.append(output_value(output))
            await asyncio.sleep(30)

    with pytest.raises(JobRestartedError):
        await work()

    assert found == [0]


@pytest.mark.looptime
async def test_restart_is_asked_about_at_once() -> None:
    """The look that fetches the new run's first outputs does not wait for the next pause."""
    moments = running(OLD, "a", "b"), finished(NEW, "x")
    async with serve_snapshots(*moments) as server, server.client() as client:
        await client.wait_for_job(JOB, polling=EVERY_SECOND)

    assert server.offsets == [None, "2", None]
    assert server.gaps == pytest.approx([1, 0], abs=0.1)
