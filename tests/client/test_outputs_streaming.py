"""``stream_outputs`` of jobs that run once: every output, once, in order, and cheaply."""

import asyncio
from typing import Any

import pytest

from helpers.http_helpers import now
from helpers.job_snapshots import (
    collect_outputs,
    finished,
    output_value,
    running,
    serve_snapshots,
    snapshot,
    stream_job,
    stream_through,
)
from helpers.raw_server import JOB
from sieve_async import (
    InputOutput,
    JobCancelledError,
    JobFailedError,
    JobStatus,
    PollPolicy,
    SieveClient,
)
from sieve_async.testing import FakeSieve


def offsets_of(sieve: FakeSieve) -> list[int]:
    """The offsets of all requests, in order; a request without one counts as 0."""
    return [int(entry.query.get("offset", 0)) for entry in sieve.requests]


@pytest.mark.looptime
async def test_each_once_in_order_while_it_runs(sieve: FakeSieve, client: SieveClient) -> None:
    """Each output comes once, in order, and soon after it was made, not at the end."""
    sieve.add_job("job", processing=100, outputs=range(10), streams=True)
    started = now()

    outputs = client.stream_outputs("job")
    seen = [(output_value(output), now() - started) async for output in outputs]

    assert [data for data, _ in seen] == list(range(10))
    for number, at in seen:
        made_at = 10 * (number + 1)
        assert made_at <= at <= made_at * (1 + 0.05 * 1.25) + 0.7


@pytest.mark.looptime
async def test_offset_is_the_number_held(sieve: FakeSieve, client: SieveClient) -> None:
    """Each look leaves out just what came before it, and ``offset=0`` is never sent."""
    sieve.add_job("job", queued=5, processing=60, outputs=range(6), streams=True)

    # For each output, the number of the request that brought it.
    held = [len(sieve.requests) async for _ in client.stream_outputs("job")]

    expected = [
        sum(1 for at in held if at < number) for number in range(1, len(sieve.requests) + 1)
    ]
    assert offsets_of(sieve) == expected
    assert not [entry for entry in sieve.requests if entry.query.get("offset") == "0"]
    assert expected[-1] >= 5


@pytest.mark.looptime
@pytest.mark.parametrize("how", ["stream", "wait"])
async def test_bytes_are_of_the_order_of_the_outputs(
    sieve: FakeSieve, client: SieveClient, how: str
) -> None:
    """Outputs of 1 MB in all cost about 1 MB, however often the job is looked at."""
    large = "x" * 50_000
    sieve.add_job("job", processing=200, outputs=[large] * 20, streams=True)
    often = PollPolicy(min_interval=1, max_interval=1)

    if how == "stream":
        found = [output async for output in client.stream_outputs("job", polling=often)]
    else:
        found = list((await client.wait_for_job("job", polling=often)).outputs)

    assert [output_value(output) for output in found] == [large] * 20
    polls = sieve.requests_for("job")
    assert polls > 150
    assert 20 * 50_000 <= sieve.bytes_for("job") < 20 * 50_200 + 1000 * polls


@pytest.mark.looptime
async def test_outputs_only_at_the_end(sieve: FakeSieve, client: SieveClient) -> None:
    """What a job that shows its outputs only at its end has then comes before the stream ends."""
    sieve.add_job("job", queued=3, processing=30, outputs=["a", "b", "c"])

    found = [output_value(output) async for output in client.stream_outputs("job")]

    assert found == ["a", "b", "c"]
    assert set(offsets_of(sieve)) == {0}


async def test_ended_already(sieve: FakeSieve, client: SieveClient) -> None:
    """The outputs of a job that ended long ago cost one request."""
    sieve.add_job("job", outputs=["a", "b"])

    found = [output_value(output) async for output in client.stream_outputs("job")]

    assert found == ["a", "b"]
    assert sieve.requests_for("job") == 1


@pytest.mark.looptime
@pytest.mark.parametrize("nothing", [None, [], ...])
async def test_no_outputs_at_all(nothing: Any) -> None:
    """A job without outputs ends the stream without any: they are null, empty or absent."""
    moments = running("r", outputs=nothing), finished("r", outputs=nothing)
    async with serve_snapshots(*moments) as server, server.client() as client:
        found = [output async for output in stream_job(client)]

    assert found == []
    assert server.offsets == [None, None]


@pytest.mark.looptime
async def test_nested_outputs_count_as_one() -> None:
    """An array among the outputs is one output, also for the offset; an empty one too."""
    pair, empty = [{"data": 1}, {"data": 2}], list[Any]()
    moments = running("r", pair), running("r", pair, empty), finished("r", pair, empty, "z")
    async with serve_snapshots(*moments) as server, server.client() as client:
        found = [output async for output in stream_job(client)]

    assert found == [(InputOutput(data=1), InputOutput(data=2)), (), InputOutput(data="z")]
    assert server.offsets == [None, "1", "2"]


@pytest.mark.looptime
async def test_values_of_every_kind(sieve: FakeSieve, client: SieveClient) -> None:
    """Outputs whose data is null, false, zero or empty are outputs like others."""
    values: list[Any] = [None, False, 0, "", {}, [], "\u0000", {"url": "https://x/y"}]
    sieve.add_job("job", processing=80, outputs=values, streams=True)

    found = [output_value(output) async for output in client.stream_outputs("job")]

    assert found == values


@pytest.mark.looptime
async def test_offset_of_the_caller(sieve: FakeSieve, client: SieveClient) -> None:
    """With ``offset=N`` the first N outputs are neither asked for nor handed out."""
    sieve.add_job("job", processing=50, outputs=range(5), streams=True)

    found = [output_value(output) async for output in client.stream_outputs("job", offset=3)]

    assert found == [3, 4]
    assert offsets_of(sieve)[0] == 3
    assert min(offsets_of(sieve)) == 3
    assert max(offsets_of(sieve)) <= 5


@pytest.mark.looptime
async def test_offset_beyond_the_end(sieve: FakeSieve, client: SieveClient) -> None:
    """An offset past the last output leaves nothing to hand out, and the stream ends well."""
    sieve.add_job("job", processing=5, outputs=range(3), streams=True)

    found = [output async for output in client.stream_outputs("job", offset=10)]

    assert found == []
    assert set(offsets_of(sieve)) == {10}


@pytest.mark.looptime
@pytest.mark.parametrize("streams", [True, False])
async def test_failed_job(sieve: FakeSieve, client: SieveClient, *, streams: bool) -> None:
    """A job that ends in error raises it after its last output, with the job and its text."""
    sieve.add_job(
        "job", processing=20, outputs="abc", streams=streams, status="error", error="ValueError: no"
    )
    found: list[Any] = []

    with pytest.raises(JobFailedError, match="job job failed: ValueError: no") as caught:
        await collect_outputs(client.stream_outputs("job"), found)

    assert found == (["a", "b", "c"] if streams else [])
    assert caught.value.job.status is JobStatus.ERROR
    assert caught.value.job.id == "job"


@pytest.mark.looptime
async def test_cancelled_job(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that is cancelled raises it after its last output."""
    sieve.add_job("job", processing=20, outputs="abc", streams=True, status="cancelled")
    found: list[Any] = []

    with pytest.raises(JobCancelledError) as caught:
        await collect_outputs(client.stream_outputs("job"), found)

    assert found == ["a", "b", "c"]
    assert caught.value.job.status is JobStatus.CANCELLED


@pytest.mark.looptime
async def test_unknown_status() -> None:
    """A word for the status that nobody knows is no end; outputs go on coming."""
    moments = running("r", 1), snapshot("pondering", "r", 1, 2), finished("r", 1, 2, 3)

    found, _ = await stream_through(*moments)

    assert found == [1, 2, 3]


@pytest.mark.looptime
async def test_thousands(sieve: FakeSieve, client: SieveClient) -> None:
    """Five thousand outputs come each once and in order, some at a time."""
    sieve.add_job("job", processing=600, outputs=range(5000), streams=True)

    found = [output_value(output) async for output in client.stream_outputs("job")]

    assert found == list(range(5000))
    assert sieve.requests_for("job") < 200


@pytest.mark.looptime
async def test_two_streams_of_one_job(sieve: FakeSieve, client: SieveClient) -> None:
    """Two streams of one job, one of which begins later and leaves some out, disturb nobody."""
    sieve.add_job("job", processing=60, outputs=range(6), streams=True)
    whole: list[Any] = []
    rest: list[Any] = []

    async def later() -> None:
        await asyncio.sleep(25)
        await collect_outputs(client.stream_outputs("job", offset=1), rest)

    await asyncio.gather(collect_outputs(client.stream_outputs("job"), whole), later())

    assert whole == list(range(6))
    assert rest == list(range(1, 6))


@pytest.mark.looptime
async def test_answer_that_knows_fewer() -> None:
    """A replica that has fewer outputs than were handed out already costs and repeats nothing."""
    moments = running("r", 1, 2, 3), running("r", 1), running("r", 1, 2), finished("r", 1, 2, 3, 4)
    async with serve_snapshots(*moments) as server, server.client() as client:
        found = [output_value(output) async for output in stream_job(client)]
        assert client.stats.waits == 0

    assert found == [1, 2, 3, 4]
    assert server.offsets == [None, "3", "3", "3"]
    assert {seen.target.partition("?")[0] for seen in server.requests} == {f"/v2/jobs/{JOB}"}
