"""Many jobs against a server that answers each of them in its own way, good or bad."""

import asyncio
import copy
import logging
import pickle
from typing import Any

import pytest

from helpers.leak_checks import KEY, check_error
from helpers.raw_server import (
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_json,
    respond,
    running_job,
)
from sieve_async import (
    InputOutput,
    InvalidArgumentError,
    JobCancelledError,
    JobFailedError,
    JobOutcome,
    NotFoundError,
    SieveClient,
    SieveError,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve

BAD: dict[str, tuple[Script, type[SieveError]]] = {
    "not-there": (error_response(404), NotFoundError),
    "another-id": (respond(job_json(id="somebody-else")), WaitTimeoutError),
    "no-json": (respond(b"<html>finished</html>"), WaitTimeoutError),
    "half": (respond(job_json(id="half"), Action.CLOSE, length=9999), WaitTimeoutError),
    "no-status": (respond({"id": "no-status"}), WaitTimeoutError),
    "broken": (error_response(500), WaitTimeoutError),
    "reset": ([Action.RESET], WaitTimeoutError),
    "silent": ([Action.SILENCE], WaitTimeoutError),
}


@pytest.mark.looptime
@pytest.mark.parametrize("bad", BAD)
async def test_one_bad_job(bad: str) -> None:
    """Whatever the server says of one job, that job has its error and the others their end."""
    script, error_class = BAD[bad]
    good = [f"good-{number}" for number in range(20)]

    def reply(asked: RawRequest) -> Script:
        if asked.job_id == bad:
            return script
        return finished_job(asked.job_id) if asked.times else running_job(asked.job_id)

    async with ScriptedServer(reply) as stage, stage.client() as client:
        outcomes = await client.wait_for_jobs([*good[:10], bad, *good[10:]], timeout=60)

    culprit = outcomes.pop(10)
    assert [outcome.job_id for outcome in outcomes if outcome.ok] == good
    assert (culprit.job_id, culprit.job, culprit.ok) == (bad, None, False)
    assert isinstance(culprit.error, SieveError)
    assert type(culprit.error) is error_class
    check_error(culprit.error)
    assert KEY not in repr(culprit) + pickle.dumps(culprit).decode("latin-1")
    assert all(stage.request_counts[job_id] == 2 for job_id in good)


@pytest.mark.looptime
async def test_answer_for_another_job_is_no_end() -> None:
    """An answer that says another id is a failed poll, and the right one later is the outcome."""

    def reply(asked: RawRequest) -> Script:
        other = "b" if asked.job_id == "a" else "a"
        return finished_job(asked.job_id if asked.times > 2 else other)

    async with ScriptedServer(reply) as stage, stage.client() as client:
        outcomes = await client.wait_for_jobs(["a", "b"])

    assert [outcome.result().id for outcome in outcomes] == ["a", "b"]
    assert stage.request_counts == {"a": 4, "b": 4}


NO_IDS: dict[str, object] = {
    "empty": "",
    "slash": "a/b",
    "dots": "..",
    "long": "x" * 200,
    "accent": "\u00e9",
    "surrogate": "\ud800",
    "none": None,
    "number": 5,
    "number of 5,000 digits": 10**5000,
    "bytes": b"job",
    "bool": True,
    "tuple": ("job",),
    "list": [],
}


@pytest.mark.parametrize("kind", NO_IDS)
async def test_invalid_ids(sieve: FakeSieve, client: SieveClient, kind: str) -> None:
    """What cannot be an id is an outcome with ``InvalidArgumentError``, and disturbs no other."""
    sieve.add_job("before")
    sieve.add_job("after")
    bad: Any = NO_IDS[kind]

    listed = await client.wait_for_jobs(["before", bad, "after"])
    seen = [outcome async for outcome in client.as_completed(["before", bad, "after"])]

    assert [outcome.ok for outcome in listed] == [True, False, True]
    assert isinstance(listed[1].error, InvalidArgumentError)
    assert isinstance(listed[1].job_id, str)
    assert sorted(outcome.ok for outcome in seen) == [False, True, True]
    assert len(sieve.requests) == 4


@pytest.mark.looptime
async def test_vanished_job(sieve: FakeSieve, client: SieveClient) -> None:
    """A 404 for a job that was seen counts once two more looks, five seconds apart, confirm it."""
    for job_id in ("gone", "flickers"):
        sieve.add_job(job_id, processing=600)

    waiting = asyncio.create_task(client.wait_for_jobs(["gone", "flickers"], timeout=60))
    await asyncio.sleep(0.1)
    sieve.remove_job("gone")
    flicker = sieve.fault(job="flickers", times=1, status=404)
    gone, flickers = await waiting

    times = [entry.at for entry in sieve.requests if entry.path.endswith("gone")]
    assert isinstance(gone.error, NotFoundError)
    assert len(times) == 4
    assert times[3] - times[1] >= 5
    assert flicker.hits == 1
    assert isinstance(flickers.error, WaitTimeoutError)
    assert flickers.error.last is not None


@pytest.mark.looptime
async def test_unknown_words(
    sieve: FakeSieve, client: SieveClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A status that nobody knows is polled on, with few warnings for hundreds of jobs."""
    ids = [sieve.add_job() for _ in range(300)]
    sieve.fault(times=4 * 300, fields={"status": "baking"})

    outcomes = await client.wait_for_jobs(ids)

    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert all(outcome.ok for outcome in outcomes)
    assert "baking" in warnings[0].getMessage()
    assert len(warnings) <= 3


def data_of(outcome: JobOutcome) -> list[str]:
    """The data of the outputs of a finished job."""
    outputs = outcome.result().outputs
    return [str(output.data) for output in outputs if isinstance(output, InputOutput)]


@pytest.mark.looptime
async def test_streamed_outputs(sieve: FakeSieve, client: SieveClient) -> None:
    """The outcome of a job that streams holds all outputs in order, and each was sent once."""
    made = {f"{n}": [f"{n}-{part}-{'x' * 5000}" for part in range(8)] for n in range(5)}
    for job_id, outputs in made.items():
        sieve.add_job(job_id, processing=80, outputs=outputs, streams=True)

    outcomes = await client.wait_for_jobs(made)

    assert {outcome.job_id: data_of(outcome) for outcome in outcomes} == made
    for job_id in made:
        overhead = 1000 * sieve.requests_for(job_id)
        assert sieve.bytes_for(job_id) < 8 * 5000 + overhead


@pytest.mark.looptime
async def test_restarted_jobs(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that restarts is watched to the end of its last run, and has its outputs only."""
    sieve.add_job("a", processing=20, restarts=2, outputs=["x", "y", "z"], streams=True)

    [outcome] = await client.wait_for_jobs(["a"])

    assert data_of(outcome) == ["x", "y", "z"]
    assert len(outcome.result().restarts) == 2


@pytest.mark.looptime
async def test_ends(sieve: FakeSieve, client: SieveClient) -> None:
    """``ok`` is finished; ``unwrap`` returns the job, or raises its failure or the error."""
    sieve.add_job("good", processing=3, outputs=["done"])
    sieve.add_job("bad", processing=3, status="error", error="ValueError: no audio")
    sieve.add_job("gone", queued=3, status="cancelled")
    sieve.add_job("slow", processing=300)

    good, bad, gone, slow, none = await client.wait_for_jobs(
        ["good", "bad", "gone", "slow", "none"], timeout=30
    )

    assert [outcome.ok for outcome in (good, bad, gone, slow, none)] == [True] + 4 * [False]
    assert good.result() is good.job
    for outcome, kind in (
        (bad, JobFailedError),
        (gone, JobCancelledError),
        (slow, WaitTimeoutError),
        (none, NotFoundError),
    ):
        with pytest.raises(kind):
            outcome.result()
    assert [bad.error, gone.error, slow.job, none.job] == 4 * [None]
    assert slow.error is not None


@pytest.mark.looptime
async def test_outcomes_travel(sieve: FakeSieve, client: SieveClient) -> None:
    """An outcome pickles and copies, with its job or its error, and shows no key."""
    sieve.add_job("good", outputs=["done"])
    sieve.add_job("slow", processing=300)

    outcomes = await client.wait_for_jobs(["good", "slow", "none", "not/an/id"], timeout=5)

    for outcome in outcomes:
        for twin in (pickle.loads(pickle.dumps(outcome)), copy.copy(outcome)):
            assert (twin.job_id, twin.job, twin.ok) == (outcome.job_id, outcome.job, outcome.ok)
            assert type(twin.error) is type(outcome.error)
            assert repr(twin) == repr(outcome)
        assert KEY not in repr(outcome)
        with pytest.raises(AttributeError):
            outcome.job_id = "other"  # type: ignore[misc] # that is the point
