"""Jobs that a test moves by hand, and random jobs, on the fake server."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from helpers.http_helpers import Document, Get, duration_between, output_data
from sieve_async.testing import FakeSieve, JobHandle

ENDS = ("finished", "error", "cancelled")

# By hand


@pytest.mark.looptime
async def test_job_is_told_by_hand(sieve: FakeSieve, get: Get) -> None:
    """It is queued until it starts, shows what it has yielded, and ends when the test ends it."""
    job = sieve.job(sieve.add_job("j", by="manual"))

    seen = [await get("/v2/jobs/j")]
    await asyncio.sleep(60)
    job.start()
    job.yield_output("a")
    seen.append(await get("/v2/jobs/j"))
    job.yield_output({"url": "u"})
    seen.append(await get("/v2/jobs/j"))
    await asyncio.sleep(3600)
    job.finish()
    seen.append(await get("/v2/jobs/j"))

    assert [each["status"] for each in seen] == ["queued", "processing", "processing", "finished"]
    assert [output_data(each) for each in seen] == [
        [],
        ["a"],
        ["a", {"url": "u"}],
        ["a", {"url": "u"}],
    ]
    assert duration_between(seen[3], "created_at", "started_at") == timedelta(seconds=60)
    assert duration_between(seen[3], "started_at", "completed_at") == timedelta(hours=1)


async def test_restart_by_hand(sieve: FakeSieve, get: Get) -> None:
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
    ("tell", "status", "error", "has_started"),
    [
        (JobHandle.finish, "finished", "", True),
        (JobHandle.fail, "error", "Traceback", True),
        (lambda job: job.fail("no disk"), "error", "no disk", True),
        (JobHandle.cancel, "cancelled", "", False),
    ],
)
async def test_queued_job_can_end(
    sieve: FakeSieve,
    get: Get,
    tell: Callable[[JobHandle], None],
    status: str,
    error: str,
    *,
    has_started: bool,
) -> None:
    """A job may end from the queue; only one that is cancelled there has never started."""
    job = sieve.job(sieve.add_job("j", by="manual"))

    tell(job)
    seen = await get("/v2/jobs/j")

    assert (seen["status"], job.status, job.final_status) == (status, status, status)
    assert seen["error"].startswith(error)
    assert bool(seen["error"]) == bool(error)
    assert (seen["started_at"] is not None) is has_started
    assert seen["completed_at"] is not None


@pytest.mark.looptime
async def test_hold_is_answered_when_told(sieve: FakeSieve, get: Get) -> None:
    """A held await is answered as soon as the job ends, and lists follow as well."""
    job = sieve.job(sieve.add_job("j", by="manual"))
    waiting = asyncio.ensure_future(get("/v2/jobs/j/await"))
    await asyncio.sleep(60)

    job.start()
    started = [await get(f"/v2/jobs?status={word}") for word in ("queued", "processing")]
    before = waiting.done()
    job.fail("no disk")
    seen = await waiting

    assert [len(page["data"]) for page in started] == [0, 1]
    assert (before, seen["status"], seen["error"]) == (False, "error", "no disk")
    assert asyncio.get_running_loop().time() == 60


def test_what_cannot_happen_is_refused() -> None:
    """Each move needs its status, a terminal job has none, and only jobs by hand move."""
    sieve = FakeSieve()
    job, ended = [sieve.job(sieve.add_job(name, by="manual")) for name in ("j", "ended")]
    ended.cancel()
    deeds: list[tuple[Callable[[], None], str]] = [
        (partial(job.yield_output, 1), "job 'j' is queued and cannot yield an output"),
        (job.restart, "job 'j' is queued and cannot restart"),
        (ended.start, "job 'ended' is cancelled and cannot start"),
        (ended.finish, "job 'ended' is cancelled and cannot finish"),
        (ended.fail, "job 'ended' is cancelled and cannot fail"),
        (ended.cancel, "job 'ended' is cancelled and cannot be cancelled"),
        (
            sieve.job(sieve.add_job("timed")).start,
            "job 'timed' is moved by time; only by=\"manual\" can start by hand",
        ),
    ]

    for deed, complaint in deeds:
        with pytest.raises(RuntimeError, match=complaint):
            deed()


def test_mistakes_in_telling_are_refused() -> None:
    """An output must be JSON and a restart of a known kind, or nothing has happened."""
    sieve = FakeSieve()
    job = sieve.job(sieve.add_job("j", by="manual"))
    job.start()

    with pytest.raises(ValueError, match="an output cannot be written as JSON"):
        job.yield_output(math.nan)
    with pytest.raises(ValueError, match="kind must be one of 'preemption', 'OOM', 'error'"):
        job.restart("boredom")  # type: ignore[arg-type] # that is the point
    with pytest.raises(ValueError, match="there is no job 'k'"):
        sieve.job("k")

    assert (job.status, job.restarts, repr(job)) == ("processing", 0, "<job 'j', processing>")


@pytest.mark.parametrize(
    "script", [{"queued": 1}, {"processing": 1}, {"restarts": 1}, {"outputs": [1]}, {"error": "x"}]
)
def test_script_by_hand_is_empty(script: Document) -> None:
    """What is moved by hand cannot be scripted as well."""
    with pytest.raises(ValueError, match=f'{next(iter(script))} is not for by="manual"'):
        FakeSieve().add_job(by="manual", **script)


def test_removed_job_is_told_nothing() -> None:
    """A handle never reaches another job that has taken the id."""
    sieve = FakeSieve()
    job = sieve.job(sieve.add_job("j", by="manual"))
    sieve.remove_job("j")
    sieve.add_job("j", by="manual")

    with pytest.raises(RuntimeError, match="job 'j' was removed and cannot start"):
        job.start()

    assert sieve.job("j").status == "queued"


async def test_handle_shows_scripts_too(sieve: FakeSieve, get: Get) -> None:
    """A handle shows how any job is, which is no poll."""
    job = sieve.job(sieve.add_job("j", queued=1, by="polls", status="error", restarts=2))

    seen = [job.status, job.status]
    for _ in range(2):
        await get("/v2/jobs/j")
        seen.append(job.status)

    assert seen == ["queued", "queued", "queued", "error"]
    assert (job.id, job.final_status, job.restarts) == ("j", "error", 2)


# Random jobs


async def test_random_jobs_have_the_shares_asked_for(sieve: FakeSieve, get: Get) -> None:
    """Of a hundred jobs just as many fail, are cancelled and restart as the rates say."""
    ids = sieve.add_jobs(
        100,
        seed=3,
        prefix="p",
        queued=50,
        processing=1e6,
        error_rate=0.2,
        cancel_rate=0.1,
        restart_rate=0.05,
        outputs=2,
        function="me/mine",
    )

    jobs = [sieve.job(job_id) for job_id in ids]
    page = await get("/v2/functions/me/mine/jobs")
    statuses = Counter(job["status"] for job in page["data"])

    assert (ids[0], ids[-1], len(page["data"])) == ("p-00", "p-99", 100)
    assert Counter(job.final_status for job in jobs) == {
        "finished": 70,
        "error": 20,
        "cancelled": 10,
    }
    assert (
        {job.final_status for job in jobs[:50]}
        == {job.final_status for job in jobs[50:]}
        == set(ENDS)
    )
    assert Counter(job.restarts for job in jobs) == {0: 95, 1: 5}
    assert statuses.keys() <= {"queued", "processing"}


@pytest.mark.looptime
async def test_random_jobs_have_the_spans_asked_for(sieve: FakeSieve, get: Get) -> None:
    """Runs have the lengths asked for, and outputs stream if they are to."""
    sieve.add_jobs(200, processing=100, queued=10, outputs=3, streams=True)

    spans, shown = [], Counter[int]()
    await asyncio.sleep(60)
    for job in (await get("/v2/jobs"))["data"]:
        shown[len(output_data(job))] += 1
    await asyncio.sleep(1e4)
    for job in (await get("/v2/jobs"))["data"]:
        queued = duration_between(job, "created_at", "started_at").total_seconds()
        assert 0 <= queued <= 10
        spans.append(duration_between(job, "started_at", "completed_at").total_seconds())

    spans.sort()
    assert shown.keys() == {0, 1, 2, 3}
    assert 80 < spans[100] < 125
    assert 45 < spans[32] < 75
    assert 130 < spans[168] < 220


def test_same_seed_same_timelines() -> None:
    """The seed decides on everything but ids of runs."""

    def scripts_of(seed: int) -> list[tuple[object, ...]]:
        sieve = FakeSieve()
        scripts = [sieve._jobs.get(each).script for each in sieve.add_jobs(50, seed=seed)]
        return [(each.id, each.timeline(), each.status, each.outputs) for each in scripts]

    assert scripts_of(1) == scripts_of(1)
    assert scripts_of(1) != scripts_of(2)


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_few_random_jobs(count: int) -> None:
    """Rounding neither adds nor loses a job, and many numbers have as many digits."""
    sieve = FakeSieve()

    ids = sieve.add_jobs(count, error_rate=0.5, cancel_rate=0.5)
    thousands = sieve.add_jobs(1001, prefix="t")

    assert len(ids) == count
    assert (thousands[0], thousands[-1]) == ("t-0000", "t-1000")


@pytest.mark.parametrize(
    "rates", [{"error_rate": 1.1}, {"restart_rate": -1}, {"error_rate": 0.6, "cancel_rate": 0.6}]
)
def test_impossible_rates_are_refused(rates: Document) -> None:
    """A share is from nothing to all."""
    with pytest.raises(ValueError, match="rates must be from 0 to 1"):
        FakeSieve().add_jobs(10, **rates)


def test_negative_count_is_refused() -> None:
    """There is no negative number of jobs."""
    with pytest.raises(ValueError, match="count must be zero or more, not -1"):
        FakeSieve().add_jobs(-1)
