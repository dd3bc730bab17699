"""Jobs that a test moves by hand, and random jobs, on the fake server."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from helpers.http_helpers import Get, duration_between, output_data
from sieve_async.testing import FakeSieve, JobHandle

# By hand


async def test_restart(sieve: FakeSieve, get: Get) -> None:
    """The run that died is listed with its reason, and the next one begins without outputs."""
    job = sieve.job(sieve.add_job("j", by="manual"))
    job.start()
    job.yield_output("lost")
    first = await get("/v2/jobs/j")
    job.restart("OOM")
    second = await get("/v2/jobs/j")
    job.restart()
    job.yield_output("kept")
    job.finish()
    last = await get("/v2/jobs/j")
    assert (second["status"], second["outputs"]) == ("processing", [])
    assert [each["type"] for each in last["restarts"]] == ["OOM", "preemption"]
    assert [each["run_id"] for each in last["restarts"]] == [first["run_id"], second["run_id"]]
    assert len({each["run_id"] for each in (first, second, last)}) == 3
    assert (last["status"], output_data(last), job.restarts) == ("finished", ["kept"], 2)


@pytest.mark.parametrize(
    ("move", "status", "error"),
    [
        (JobHandle.finish, "finished", ""),
        (JobHandle.fail, "error", "Traceback"),
        (lambda job: job.fail("no disk"), "error", "no disk"),
        (JobHandle.cancel, "cancelled", ""),
    ],
)
async def test_queued_job_can_end(
    sieve: FakeSieve, get: Get, move: Callable[[JobHandle], None], status: str, error: str
) -> None:
    """A job may end from the queue; only one that is cancelled there has never started."""
    job = sieve.job(sieve.add_job("j", by="manual"))
    move(job)
    seen = await get("/v2/jobs/j")
    assert (seen["status"], job.status, job.final_status) == (status, status, status)
    assert seen["error"].startswith(error)
    assert bool(seen["error"]) == bool(error)
    assert (seen["started_at"] is not None) is (status != "cancelled")
    assert seen["completed_at"] is not None


def test_impossible_moves() -> None:
    """Each move needs its status; a job that ended or was removed has none, nor a scripted one."""
    sieve = FakeSieve()
    job, ended, gone = [sieve.job(sieve.add_job(name, by="manual")) for name in ("j", "e", "g")]
    ended.cancel()
    sieve.remove_job("g")
    sieve.add_job("g", by="manual")
    moves: list[tuple[Callable[[], None], str]] = [
        (partial(job.yield_output, 1), "job 'j' is queued and cannot yield an output"),
        (job.restart, "job 'j' is queued and cannot restart"),
        (ended.start, "job 'e' is cancelled and cannot start"),
        (ended.finish, "job 'e' is cancelled and cannot finish"),
        (ended.fail, "job 'e' is cancelled and cannot fail"),
        (ended.cancel, "job 'e' is cancelled and cannot be cancelled"),
        (gone.start, "job 'g' was removed and cannot start"),
        (sieve.job(sieve.add_job("timed")).start, 'moved by time; only by="manual" can start'),
    ]
    for move, error in moves:
        with pytest.raises(RuntimeError, match=error):
            move()
    assert sieve.job("g").status == "queued"


def test_invalid_moves() -> None:
    """An output must be JSON and a restart of a known kind, or nothing has happened."""
    sieve = FakeSieve()
    job = sieve.job(sieve.add_job("j", by="manual"))
    job.start()
    with pytest.raises(ValueError, match="an output cannot be written as JSON"):
        job.yield_output(math.nan)
    with pytest.raises(ValueError, match="kind must be one of 'preemption', 'OOM', 'error'"):
        job.restart("boredom")  # type: ignore[arg-type] # that is the point
    assert (job.status, job.restarts, repr(job)) == ("processing", 0, "<job 'j', processing>")


async def test_scripted_jobs(sieve: FakeSieve, get: Get) -> None:
    """A handle shows how any job is, which is no poll."""
    job = sieve.job(sieve.add_job("j", queued=1, by="polls", status="error", restarts=2))
    seen = [job.status, job.status]
    for _ in range(2):
        await get("/v2/jobs/j")
        seen.append(job.status)
    assert seen == ["queued", "queued", "queued", "error"]
    assert (job.id, job.final_status, job.restarts) == ("j", "error", 2)


# Random jobs


def test_shares_of_random_jobs() -> None:
    """Of a hundred jobs just as many fail, are cancelled and restart as the rates say."""
    sieve = FakeSieve()
    ids = sieve.add_jobs(
        100, seed=3, prefix="p", error_rate=0.2, cancel_rate=0.1, restart_rate=0.05
    )
    few = [len(sieve.add_jobs(n, prefix=f"f{n}", error_rate=0.5, cancel_rate=0.5)) for n in (0, 3)]
    thousands = sieve.add_jobs(1001, prefix="t")
    jobs = [sieve.job(job_id) for job_id in ids]
    statuses = [job.final_status for job in jobs]
    assert (ids[0], ids[-1], thousands[0], few) == ("p-00", "p-99", "t-0000", [0, 3])
    assert Counter(statuses) == {"finished": 70, "error": 20, "cancelled": 10}
    assert {*statuses[:50]} == {*statuses[50:]}
    assert Counter(job.restarts for job in jobs) == {0: 95, 1: 5}


@pytest.mark.looptime
async def test_spans_of_random_jobs(sieve: FakeSieve, get: Get) -> None:
    """Runs have the lengths asked for, and outputs stream if they are to."""
    sieve.add_jobs(200, processing=100, queued=10, outputs=3, streams=True, function="me/mine")
    await asyncio.sleep(60)
    running = (await get("/v2/functions/me/mine/jobs"))["data"]
    await asyncio.sleep(1e4)
    ended = (await get("/v2/jobs"))["data"]
    queued = [duration_between(job, "created_at", "started_at").total_seconds() for job in ended]
    ran = sorted(
        duration_between(job, "started_at", "completed_at").total_seconds() for job in ended
    )
    assert {len(output_data(job)) for job in running} == {0, 1, 2, 3}
    assert 0 <= min(queued) < max(queued) <= 10
    assert 80 < ran[100] < 125
    assert 45 < ran[32] < 75
    assert 130 < ran[168] < 220
