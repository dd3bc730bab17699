"""Waits fetch each output once as well: what they show, how they end, one job or many."""

import asyncio
import random
from typing import Any, Literal

import pytest

from helpers.job_snapshots import (
    EVERY_SECOND,
    finished,
    output_value,
    output_values,
    running,
    serve_snapshots,
)
from helpers.raw_server import JOB
from sieve_async import (
    Job,
    JobFailedError,
    Limits,
    PollPolicy,
    RetryPolicy,
    SieveClient,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve

OFTEN = PollPolicy(min_interval=1, max_interval=2)
STRATEGIES: tuple[Literal["poll", "long_poll", "list"], ...] = ("poll", "long_poll", "list")


@pytest.mark.looptime
async def test_updates_show_whole_jobs(sieve: FakeSieve, client: SieveClient) -> None:
    """``on_update`` gets the job with all outputs so far, once for each change."""
    sieve.add_job("job", queued=5, processing=60, outputs=range(4), streams=True)
    shown: list[tuple[str, list[Any]]] = []

    job = await client.wait_for_job(
        "job", on_update=lambda job: shown.append((job.status, output_values(job)))
    )

    assert shown == [
        ("queued", []),
        *(("processing", list(range(count))) for count in range(4)),
        ("finished", [0, 1, 2, 3]),
    ]
    assert output_values(job) == [0, 1, 2, 3]


@pytest.mark.looptime
async def test_offset_of_a_wait(sieve: FakeSieve, client: SieveClient) -> None:
    """A wait asks with the number of outputs that it holds, and never with ``offset=0``."""
    sieve.add_job("job", processing=60, outputs=range(6), streams=True)

    await client.wait_for_job("job", polling=OFTEN)

    offsets = [entry.query.get("offset") for entry in sieve.requests]
    held = [int(offset) for offset in offsets if offset is not None]
    assert offsets == [None] * offsets.count(None) + list(map(str, sorted(held)))
    assert set(held) == {1, 2, 3, 4, 5}


@pytest.mark.looptime
async def test_end_keeps_the_other_fields(sieve: FakeSieve, client: SieveClient) -> None:
    """The job that a wait returns is the one that a single lookup finds, outputs and all."""
    sieve.add_job("job", processing=30, outputs=["a", "b"], streams=True, inputs={"n": 1})

    waited = await client.wait_for_job("job")

    assert waited == await client.get_job("job")


@pytest.mark.looptime
@pytest.mark.parametrize("ends", ["finished", "error"])
@pytest.mark.parametrize("max_await", [7, 600])
async def test_long_poll(ends: Any, max_await: float) -> None:
    """A job whose looks the server holds ends with the same outputs, each fetched once."""
    large = "x" * 20_000
    async with (
        FakeSieve(max_await=max_await) as sieve,
        SieveClient(sieve.api_key, base_url=sieve.url) as client,
    ):
        sieve.add_job("job", processing=50, outputs=[large] * 9, streams=True, status=ends)

        job = await client.wait_for_job("job", strategy="long_poll")

        assert output_values(job) == [large] * 9
        assert sieve.bytes_for("job") < 9 * 20_000 + 20_000


@pytest.mark.looptime
@pytest.mark.parametrize("restarts", [0, 1, 2])
async def test_long_poll_cut_in_between(restarts: int) -> None:
    """Held looks that are cut leave outputs behind; the end is of the last run, and whole."""
    runs = [f"{JOB}-{number}" for number in range(restarts + 1)]
    moments: list[Any] = []
    for run in runs:
        moments += [504, running(run, f"{run}:1"), 504, running(run, f"{run}:1", f"{run}:2"), None]
    moments += [running(runs[-1], f"{runs[-1]}:1", f"{runs[-1]}:2")]
    moments += [finished(runs[-1], *(f"{runs[-1]}:{number}" for number in (1, 2, 3)))]
    async with (
        serve_snapshots(*moments) as server,
        server.client(retry=RetryPolicy(max_attempts=1)) as client,
    ):
        job = await client.wait_for_job(JOB, strategy="long_poll", polling=EVERY_SECOND)

    assert job.run_id == runs[-1]
    assert output_values(job) == [f"{runs[-1]}:{number}" for number in (1, 2, 3)]
    assert "0" not in server.offsets


@pytest.mark.looptime
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("restarts", [0, 2])
async def test_many_jobs(
    sieve: FakeSieve,
    client: SieveClient,
    strategy: Literal["poll", "long_poll", "list"],
    restarts: int,
) -> None:
    """The outcomes of many jobs hold all outputs of their last runs, in order, fetched once."""
    chance = random.Random(4)
    expected: dict[str, list[str]] = {}
    for number in range(60):
        outputs = [f"{number}:{place}:{'x' * 5000}" for place in range(chance.randrange(7))]
        job_id = sieve.add_job(
            processing=chance.uniform(1, 60), outputs=outputs, streams=True, restarts=restarts
        )
        expected[job_id] = outputs

    async with client.as_completed(expected, strategy=strategy, polling=OFTEN) as outcomes:
        jobs = {outcome.job_id: outcome.result() async for outcome in outcomes}

    assert {job_id: output_values(job) for job_id, job in jobs.items()} == expected
    assert all(len(job.restarts) == restarts for job in jobs.values())
    for job_id, outputs in expected.items():
        size = sum(map(len, outputs)) + 200 * len(outputs)
        most = size * (restarts + 1) + 1000 * sieve.requests_for(job_id)
        assert sieve.bytes_for(job_id) <= most


@pytest.mark.looptime
async def test_outcome_of_a_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that still runs at the deadline of many is told with all outputs so far."""
    sieve.add_job("job", processing=100, outputs=range(10), streams=True)

    [outcome] = await client.wait_for_jobs(["job"], timeout=45)

    assert isinstance(outcome.error, WaitTimeoutError)
    assert isinstance(outcome.error.last, Job)
    assert output_values(outcome.error.last) == [0, 1, 2, 3]


@pytest.mark.looptime
async def test_failed_outcome(sieve: FakeSieve, client: SieveClient) -> None:
    """A failed job among many has its outputs, also in the error that ``unwrap`` raises."""
    sieve.add_job("job", processing=30, outputs=range(3), streams=True, status="error")

    [outcome] = await client.wait_for_jobs(["job"])

    assert outcome.job is not None
    assert output_values(outcome.job) == [0, 1, 2]
    with pytest.raises(JobFailedError) as caught:
        outcome.result()
    assert caught.value.job == outcome.job


@pytest.mark.looptime
async def test_all_kinds_of_waits_at_once(sieve: FakeSieve) -> None:
    """A stream, a wait and a watch of one job share a client with one slot, and disturb nobody."""
    sieve.add_job("job", processing=60, outputs=range(6), streams=True)
    limits = Limits(max_connections=1)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:

        async def stream() -> list[Any]:
            return [output_value(output) async for output in client.stream_outputs("job")]

        streamed, job, [outcome] = await asyncio.gather(
            stream(), client.wait_for_job("job"), client.wait_for_jobs(["job"])
        )

    assert streamed == output_values(job) == list(range(6))
    assert outcome.job == job
