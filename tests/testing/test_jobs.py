"""Timelines of scripted jobs, jobs that a test moves, and random jobs, on the fake server."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from http import HTTPMethod

import pytest

from helpers.http_helpers import Document, Get, duration_between, output_data
from sieve_async.testing import FakeSieve, JobHandle
from sieve_async.testing.clock import Progress
from sieve_async.testing.jobs import FakeJob, JobScript


@pytest.mark.looptime
async def test_job_goes_by_polls(sieve: FakeSieve, get: Get) -> None:
    """A job that counts polls does not care for the clock, and never changes once it ended."""
    sieve.add_job("j", queued=2, processing=2, restarts=1, by="polls")
    seen = []
    for _ in range(9):
        seen.append(await get("/v2/jobs/j"))
        await asyncio.sleep(1)
    words = ["queued"] * 2 + ["processing"] * 4 + ["finished"] * 3
    assert [job["status"] for job in seen] == words
    assert [len(job["restarts"] or []) for job in seen] == [0] * 4 + [1] * 5
    assert seen[6] == seen[8]
    assert duration_between(seen[8], "created_at", "started_at") == timedelta(seconds=2)
    assert duration_between(seen[8], "started_at", "completed_at") == timedelta(seconds=4)


@pytest.mark.looptime
async def test_job_without_an_end(sieve: FakeSieve, get: Get) -> None:
    """``status=None`` is processing forever, with all streamed outputs; a span may be infinite."""
    sieve.add_job("j", queued=1, processing=2, status=None, outputs=[1, 2], streams=True)
    sieve.add_job("waiting", queued=math.inf)
    default = sieve.add_job()
    await asyncio.sleep(1e6)
    job = await get("/v2/jobs/j")
    ended = await get(f"/v2/jobs/{default}")
    assert (job["status"], job["completed_at"], output_data(job)) == ("processing", None, [1, 2])
    assert (await get("/v2/jobs/waiting"))["status"] == "queued"
    assert (ended["id"], ended["status"], ended["error"]) == (default, "finished", "")
    assert ended["outputs"] == []


async def test_error_texts(sieve: FakeSieve, get: Get) -> None:
    """A failure has its text, or a traceback of many lines, and no outputs."""
    sieve.add_job("given", status="error", error="no disk", outputs=["lost"])
    sieve.add_job("streaming", status="error", error="no disk", outputs=["kept"], streams=True)
    sieve.add_job("default", status="error", by="polls", processing=1)
    names = ("given", "streaming", "default", "default")
    given, streaming, before, after = [await get(f"/v2/jobs/{name}") for name in names]
    assert (given["status"], given["error"], given["outputs"]) == ("error", "no disk", [])
    assert output_data(streaming) == ["kept"]
    assert before["error"] == ""
    assert after["error"].startswith("Traceback")
    assert after["error"].count("\n") > 3


async def test_cancelled_job_may_never_have_started(sieve: FakeSieve, get: Get) -> None:
    """A job cancelled without processing has no time of starting; one that processed has."""
    sieve.add_job("waiting", status="cancelled")
    sieve.add_job("working", status="cancelled", processing=1, by="polls")
    seen = [await get(f"/v2/jobs/{name}") for name in ("waiting", "working", "working")]
    assert [job["status"] for job in seen] == ["cancelled", "processing", "cancelled"]
    assert [job["started_at"] is None for job in seen] == [True, False, False]
    assert seen[0]["completed_at"] is not None


@pytest.mark.looptime
async def test_job_restarts(sieve: FakeSieve, get: Get) -> None:
    """Each run has an id of its own, begins without outputs, and is listed with when it died."""
    sieve.add_job("j", queued=1, processing=4, restarts=2, outputs=["a", "b"], streams=True)
    seen = []
    for _ in range(8):
        seen.append(await get("/v2/jobs/j"))
        await asyncio.sleep(2)
    assert [job["status"] for job in seen] == ["queued"] + ["processing"] * 6 + ["finished"]
    assert [len(output_data(job)) for job in seen] == [0, 0, 1, 0, 1, 0, 1, 2]
    assert [len(job["restarts"] or []) for job in seen] == [0, 0, 0, 1, 1, 2, 2, 2]
    assert [job["started_at"] is None for job in seen] == [True] + [False] * 7
    assert [job["completed_at"] is None for job in seen] == [True] * 7 + [False]
    assert duration_between(seen[7], "created_at", "started_at") == timedelta(seconds=1)
    assert duration_between(seen[7], "started_at", "completed_at") == timedelta(seconds=12)
    assert len(seen[7]["created_at"]) == len("2024-12-15T01:41:59.195000")
    assert len({job["run_id"] for job in seen}) == 3
    assert all(job["run_id"].startswith("j-") for job in seen)
    died = seen[-1]["restarts"]
    assert [each["run_id"] for each in died] == [seen[1]["run_id"], seen[3]["run_id"]]
    assert [each["type"] for each in died] == ["preemption", "OOM"]
    assert duration_between(died[0] | seen[-1], "created_at", "timestamp") == timedelta(seconds=5)
    assert duration_between(died[1] | seen[-1], "created_at", "timestamp") == timedelta(seconds=9)


# Inputs and outputs


@pytest.mark.parametrize("offset", ["x", "", "1.5", "-1"])
async def test_invalid_offset(sieve: FakeSieve, get: Get, offset: str) -> None:
    """The error names the place and shows the value, and the job has not moved."""
    sieve.add_job("j", queued=1, by="polls", outputs=[1, 2, 3])
    refused = await get(f"/v2/jobs/j?offset={offset}")
    [problem] = refused["detail"]
    kind = "greater_than_equal" if offset == "-1" else "int_parsing"
    assert (refused["http"], problem["type"]) == (422, kind)
    assert (problem["loc"], problem["input"]) == (["query", "offset"], offset)
    assert problem["msg"].startswith("Input should be")
    assert (await get("/v2/jobs/j"))["status"] == "queued"
    rest = [output_data(await get(f"/v2/jobs/j?offset={number}")) for number in (0, 1, 3, 9)]
    assert rest == [[1, 2, 3], [2, 3], [], []]


WHOLE = {"type": "x", "name": "n", "data": 1, "description": None, "schema": None}


async def test_outputs_are_wrapped(sieve: FakeSieve, get: Get) -> None:
    """Any JSON value becomes the data of an InputOutput with every documented key."""
    values: list[tuple[object, str | None]] = [
        ("text", "str"),
        (HTTPMethod.GET, "str"),
        (1.5, "float"),
        (7, "int"),
        (True, "bool"),
        ((1, 2), "list"),
        (None, None),
        ([], "list"),
        ([1, {"data": 1}], "list"),
        ({"url": "https://x/y"}, "sieve.File"),
        ({"score": 1}, "dict"),
    ]
    sieve.add_job("j", outputs=[value for value, _ in values] + [WHOLE, (WHOLE, WHOLE)])
    *outputs, whole, nested = (await get("/v2/jobs/j"))["outputs"]
    empty = dict.fromkeys(("name", "description", "schema", "run_id", "is_optional"))
    for output, (value, kind) in zip(outputs, values, strict=True):
        data = list(value) if isinstance(value, tuple) else value
        assert output == {"type": kind, "data": data} | empty
    assert (whole, nested) == (WHOLE, [WHOLE, WHOLE])


async def test_inputs_are_wrapped_by_name(sieve: FakeSieve, get: Get) -> None:
    """An input knows its name; a whole one stays; what the test does to its dict later is lost."""
    inputs: Document = {"file": {"url": "u"}, "whole": WHOLE}
    sieve.add_job("j", inputs=inputs)
    inputs["file"]["url"] = "changed"
    job = await get("/v2/jobs/j")
    assert (job["inputs"]["file"]["name"], job["inputs"]["file"]["data"]) == ("file", {"url": "u"})
    assert job["inputs"]["whole"] == WHOLE


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


@pytest.mark.parametrize("added_at", [0.0, 0.123456789, 1e6 / 3])
@pytest.mark.parametrize("processing", [1 / 3, 0.1, 7.7])
def test_next_change_shows_something_new(processing: float, added_at: float) -> None:
    """At the moment of each change a stage or an output more is shown, whatever rounding does."""
    options: Document = {"queued": 0.1, "processing": processing, "streams": True}
    for count in (3, 7, 11):
        script = JobScript(
            id="j", outputs=range(count), function="me/mine", version_id="v", **options
        )
        job = FakeJob(script, Progress(script.timeline(), "time", added_at), 0, listed=True)

        now, shown = added_at, [job.body(added_at, str)]
        while not job.is_terminal(now) and len(shown) < 20:
            now = job.shows_more_at(now)
            shown.append(job.body(now, str))

        assert len({*shown}) == len(shown) == count + 2
