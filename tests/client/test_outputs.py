"""``stream_outputs``, and the outputs of waits: each output once and in order, of one run."""

import asyncio
import math
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from helpers.asserts import assert_no_more_requests
from helpers.http_helpers import now
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
    wait_through,
)
from helpers.leak_checks import check_error, error_of
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    job_document,
    respond,
)
from sieve_async import InputOutput, Job, PollPolicy, RetryPolicy, SieveClient, errors
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

BAD_VALUES: dict[str, tuple[Any, ...]] = {
    "job_id": ("", "..", "a/b", "a b", "\u00e9", "x" * 129, None, 5, b"job", "-x"),
    "offset": (-1, 1.0, "1", True, None, 2**63, math.nan),
    "timeout": (-1, math.nan, True, "5", timedelta(seconds=-1), object()),
    "polling": (0.5, "fast", {}, object()),
    "on_restart": ("", "Continue", "ignore", None, True, ["continue"], {"raise"}),
}


async def test_bad_arguments(sieve: FakeSieve, client: SieveClient) -> None:
    """An invalid argument is refused by the call itself, before any step."""
    for name, values in BAD_VALUES.items():
        for value in values:
            with pytest.raises(errors.InvalidArgumentError, match=name) as caught:
                client.stream_outputs(**({"job_id": "job"} | {name: value}))
            check_error(caught.value)
    assert not sieve.requests


def offsets_of(sieve: FakeSieve) -> list[int]:
    """The offsets of all requests, in order; a request without one counts as 0."""
    return [int(entry.query.get("offset", 0)) for entry in sieve.requests]


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


async def test_offset_is_the_number_held(sieve: FakeSieve, client: SieveClient) -> None:
    """Each poll leaves out just what came before it, and ``offset=0`` is never sent."""
    sieve.add_job("job", queued=5, processing=60, outputs=range(6), streams=True)
    # For each output, the number of the request that brought it.
    held = [len(sieve.requests) async for _ in client.stream_outputs("job")]
    expected = [
        sum(1 for at in held if at < number) for number in range(1, len(sieve.requests) + 1)
    ]
    assert offsets_of(sieve) == expected
    assert not [entry for entry in sieve.requests if entry.query.get("offset") == "0"]
    assert expected[-1] >= 5


async def test_no_outputs_at_all() -> None:
    """A job without outputs ends the stream without any: they are null, empty or absent."""
    kinds: tuple[Any, ...] = (None, [], ...)
    for nothing in kinds:
        moments = running("r", outputs=nothing), finished("r", outputs=nothing)
        found, server = await stream_through(*moments)
        assert found == []
        assert server.offsets == [None, None]


async def test_nested_outputs_count_as_one() -> None:
    """An array among the outputs is one output, also for the offset; an empty one too."""
    pair, empty = [{"data": 1}, {"data": 2}], list[Any]()
    moments = running("r", pair), running("r", pair, empty), finished("r", pair, empty, "z")
    async with serve_snapshots(*moments) as server, server.client() as client:
        found = [output async for output in stream_job(client)]
    assert found == [(InputOutput(data=1), InputOutput(data=2)), (), InputOutput(data="z")]
    assert server.offsets == [None, "1", "2"]


async def test_outputs_that_are_no_array() -> None:
    """They are one output, of which each answer has all: the last one counts, once."""
    moments = running(None), *(running(None, outputs={"data": n}) for n in (1, 1, 2))
    last = finished(None, outputs={"data": 3})
    assert output_values((await wait_through(*moments, last))[0]) == [3]
    assert (await stream_through(*moments, last))[0] == [1]


async def test_offset_of_the_caller(sieve: FakeSieve, client: SieveClient) -> None:
    """With ``offset=N`` the first N outputs are neither asked for nor handed out."""
    sieve.add_job("job", processing=50, outputs=range(5), streams=True)
    found = [output_value(output) async for output in client.stream_outputs("job", offset=3)]
    assert found == [3, 4]
    assert offsets_of(sieve)[0] == min(offsets_of(sieve)) == 3
    assert max(offsets_of(sieve)) <= 5
    assert [output async for output in client.stream_outputs("job", offset=10)] == []
    assert offsets_of(sieve)[-1] == 10


@pytest.mark.parametrize(
    ("status", "error"), [("error", errors.JobFailedError), ("cancelled", errors.JobCancelledError)]
)
@pytest.mark.parametrize("streams", [True, False])
async def test_jobs_that_do_not_finish(
    sieve: FakeSieve,
    client: SieveClient,
    status: Any,
    error: type[errors.JobFailedError],
    *,
    streams: bool,
) -> None:
    """A job that fails or is cancelled raises it after its last output."""
    sieve.add_job("job", processing=20, outputs=["a", "b", "c"], streams=streams, status=status)
    found: list[Any] = []
    with pytest.raises(error) as caught:
        await collect_outputs(client.stream_outputs("job"), found)
    assert found == (["a", "b", "c"] if streams else [])
    assert (caught.value.job.id, caught.value.job.status) == ("job", status)


async def test_answer_that_knows_fewer() -> None:
    """A replica that has fewer outputs than were handed out already costs and repeats nothing."""
    moments = running("r", 1, 2, 3), running("r", 1), running("r", 1, 2), finished("r", 1, 2, 3, 4)
    async with serve_snapshots(*moments) as server, server.client() as client:
        found = [output_value(output) async for output in stream_job(client)]
        assert client.stats.waits == 0
    assert found == [1, 2, 3, 4]
    assert server.offsets == [None, "3", "3", "3"]
    assert {seen.target.partition("?")[0] for seen in server.requests} == {f"/v2/jobs/{JOB}"}


def add_job(sieve: FakeSieve) -> str:
    """Add a job of a hundred seconds that makes an output every ten."""
    return sieve.add_job("job", processing=100, outputs=range(10), streams=True)


async def test_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """The deadline ends the stream, after all outputs that were there just before it."""
    job = add_job(sieve)
    found: list[Any] = []
    started = now()
    with pytest.raises(errors.WaitTimeoutError) as caught:
        await collect_outputs(client.stream_outputs(job, timeout=timedelta(seconds=35)), found)
    assert found == [0, 1, 2]
    assert 35 <= now() - started <= 35.1
    assert caught.value.target == job
    assert caught.value.polls == sieve.requests_for(job)
    assert caught.value.last is not None
    assert caught.value.last_status == "processing"
    check_error(caught.value)


async def test_one_poll(sieve: FakeSieve, client: SieveClient) -> None:
    """``timeout=0`` asks exactly once: what there is comes, and then the end or the deadline."""
    job = add_job(sieve)
    sieve.add_job("ended", outputs=["a", "b"])
    await asyncio.sleep(25)
    ended: list[Any] = []
    found: list[Any] = []
    await collect_outputs(client.stream_outputs("ended", timeout=0), ended)
    with pytest.raises(errors.WaitTimeoutError) as caught:
        await collect_outputs(client.stream_outputs(job, timeout=0), found)
    assert (ended, found) == (["a", "b"], [0, 1])
    assert sieve.requests_for("ended") == sieve.requests_for(job) == caught.value.polls == 1


async def test_nothing_is_asked_while_the_caller_is_busy(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """While the caller works on an output there is no request; what was made meanwhile follows."""
    job = add_job(sieve)
    found: list[Any] = []
    async for output in client.stream_outputs(job):
        found.append(output_value(output))
        before = len(sieve.requests)
        await asyncio.sleep(23)
        assert len(sieve.requests) == before
    assert found == list(range(10))


async def test_deadline_behind_a_busy_caller(sieve: FakeSieve, client: SieveClient) -> None:
    """When it passes while the caller is busy, what was fetched comes, and no more is asked."""
    job = add_job(sieve)
    await asyncio.sleep(35)
    found: list[Any] = []

    async def work() -> None:
        async for output in client.stream_outputs(job, timeout=10):
            found.append(output_value(output))
            await asyncio.sleep(60)

    with pytest.raises(errors.WaitTimeoutError) as caught:
        await work()
    assert found == [0, 1, 2]
    assert caught.value.polls == len(sieve.requests) == 1


async def leave_by_break(client: SieveClient) -> None:
    """Leave the loop at an output."""
    async for output in client.stream_outputs("job"):
        assert client.stats.waits == 1
        if output_value(output) == 2:
            break


async def leave_by_closing(client: SieveClient) -> None:
    """Close the stream in the middle."""
    outputs = client.stream_outputs("job")
    await anext(outputs)
    await outputs.aclose()
    assert client.stats.waits == 0


async def leave_by_dropping(client: SieveClient) -> None:
    """Drop the stream in the middle."""
    outputs = client.stream_outputs("job")
    await anext(outputs)
    del outputs


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_closing, leave_by_dropping])
async def test_left(
    sieve: FakeSieve, client: SieveClient, leave: Callable[[SieveClient], Awaitable[None]]
) -> None:
    """However the stream is left: no task, no wait, no request afterwards."""
    add_job(sieve)
    await client.get_job("job")  # the server has a task for the connection, which is kept
    before = asyncio.all_tasks()
    await leave(client)
    for _ in range(5):
        await asyncio.sleep(0)
    asked = len(sieve.requests)
    await asyncio.sleep(60)
    assert client.stats.waits == client.stats.in_flight == client.stats.queued == 0
    assert asyncio.all_tasks() == before
    assert len(sieve.requests) == asked
    assert (await client.get_job("job")).status == "processing"


async def test_close_keeps_what_was_fetched(sieve: FakeSieve, client: SieveClient) -> None:
    """What was fetched before the client was closed still comes; an end that was seen is one."""
    sieve.add_job("ended", outputs=["a", "b", "c"])
    outputs = client.stream_outputs("ended")
    found = [output_value(await anext(outputs))]
    await client.close()
    await collect_outputs(outputs, found)
    assert found == ["a", "b", "c"]


async def test_a_stream_holds_no_output_that_it_handed_out() -> None:
    """The memory of a stream does not grow with what has passed through it."""
    data = ["x" * 100_000 + str(number) for number in range(40)]
    moments = [running("r", *data[:number]) for number in range(41)]
    async with serve_snapshots(*moments, finished("r", *data)) as server, server.client() as client:
        outputs = stream_job(client)
        await anext(outputs)
        tracemalloc.start()
        async for _ in outputs:
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert server.offsets[-1] == "40"
    assert peak < 2_000_000  # of the 4 MB that came


OFTEN = PollPolicy(min_interval=1, max_interval=2)


async def test_end_keeps_the_other_fields(sieve: FakeSieve, client: SieveClient) -> None:
    """The job that a wait returns is the one that a single lookup finds, outputs and all."""
    sieve.add_job("job", processing=30, outputs=["a", "b"], streams=True, inputs={"n": 1})
    waited = await client.wait_for_job("job")
    assert waited == await client.get_job("job")


@pytest.mark.parametrize("restarts", [0, 1])
async def test_long_poll_cut_in_between(restarts: int) -> None:
    """Long polls that are cut leave outputs behind; the end is of the last run, and complete."""
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


@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_many_jobs(sieve: FakeSieve, client: SieveClient, strategy: Any) -> None:
    """The outcomes of many jobs hold all outputs of their last runs, in order, fetched once."""
    expected: dict[str, list[str]] = {}
    for number in range(20):
        outputs = [f"{number}:{place}:{'x' * 5000}" for place in range(number % 7)]
        seconds, restarts = 1 + 3 * number, 2 * (number % 2)
        expected[f"j{number}"] = outputs
        sieve.add_job(
            f"j{number}", processing=seconds, outputs=outputs, streams=True, restarts=restarts
        )
    async with client.as_completed(expected, strategy=strategy, polling=OFTEN) as outcomes:
        jobs = {outcome.job_id: outcome.result() async for outcome in outcomes}
    assert {job_id: output_values(job) for job_id, job in jobs.items()} == expected
    for job_id, outputs in expected.items():
        size = sum(map(len, outputs)) + 200 * len(outputs)
        most = size * (len(jobs[job_id].restarts) + 1) + 1000 * sieve.requests_for(job_id)
        assert sieve.bytes_for(job_id) <= most


async def test_outcome_of_a_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that still runs at the deadline of a watch is reported with all outputs so far."""
    sieve.add_job("job", processing=100, outputs=range(10), streams=True)
    [outcome] = await client.wait_for_jobs(["job"], timeout=45)
    assert isinstance(outcome.error, errors.WaitTimeoutError)
    assert isinstance(outcome.error.last, Job)
    assert output_values(outcome.error.last) == [0, 1, 2, 3]


OLD, NEW, NEWEST = (f"{JOB}-{letter}" for letter in "abc")


async def test_restart_is_raised_however_it_shows() -> None:
    """Whatever the first answer of the new run says, also a terminal one, nothing of it comes."""
    for restarted in (
        snapshot("queued", NEW, outputs=None),
        running(NEW, "x", "y", "z"),
        finished(NEW, "x", "y", "z"),
        snapshot("error", NEW, error="boom"),
        snapshot("cancelled", NEW),
    ):
        for before, expected in ((running(OLD, "a", "b"), ["a", "b"]), (running(OLD), [])):
            found: list[Any] = []
            async with serve_snapshots(before, restarted) as server, server.client() as client:
                with pytest.raises(errors.JobRestartedError) as caught:
                    await collect_outputs(stream_job(client), found)
                assert client.stats.waits == 0
            assert found == expected
            assert (caught.value.job_id, caught.value.run_id) == (JOB, NEW)
            check_error(caught.value)


async def test_again_begins_with_the_first_output() -> None:
    """After a restart the caller's ``offset``, which counted outputs that are void, is void too."""
    moments = running(OLD, 0, 1, 2, 3), finished(NEW, "a", "b", "c")
    found, server = await stream_through(*moments, offset=3, on_restart="continue")
    assert found == [3, "a", "b", "c"]
    assert server.offsets == ["3", "4", None]


LATER: list[list[Any]] = [
    [finished(NEW, "x")],
    [finished(NEW, "x", "y", "z")],
    [running(NEW, "x"), finished(NEW, "x", "y", "z")],
    [running(NEW, "x", "y", "z"), finished(NEW, "x", "y", "z")],
    [snapshot("queued", NEW, outputs=None), finished(NEW, "x", "y", "z")],
    [running(NEW, "x"), 503, None, finished(NEW, "x", "y", "z")],
    [running(NEW, "n"), running(NEWEST, "m", "n"), finished(NEWEST, "m", "n", "o")],
    [running(NEW, "m", "n", "o"), finished(NEWEST)],
]


async def test_result_is_of_one_run() -> None:
    """After restarts the result of a wait holds exactly the outputs of the last run, all of it."""
    for later in LATER:
        shown: list[Job] = []
        moments = [running(OLD, "a"), running(OLD, "a", "b"), *later]
        async with serve_snapshots(*moments) as server, server.client() as client:
            job = await client.wait_for_job(JOB, polling=EVERY_SECOND, on_update=shown.append)
        assert job.run_id == later[-1]["run_id"]
        assert [{"data": output_value(output)} for output in job.outputs] == later[-1]["outputs"]
        runs = {each["run_id"]: each["outputs"] for each in moments if isinstance(each, dict)}
        for one in shown:  # what is shown meanwhile is of one run too
            outputs = [{"data": output_value(output)} for output in one.outputs]
            assert outputs == runs[one.run_id or ""][: len(outputs)]
        assert "0" not in server.offsets


async def test_terminal_answer_of_a_new_run_wins_over_the_deadline() -> None:
    """What only the last poll before the deadline shows is seen by waits, watches and streams."""
    once_more: Any = {"timeout": 60, "polling": PollPolicy(min_interval=1000, max_interval=1000)}
    moments = running(OLD, "a"), finished(NEW, "x", "y")
    found: list[Any] = []
    async with serve_snapshots(*moments) as server, server.client() as client:
        job = await client.wait_for_job(JOB, **once_more)
    async with serve_snapshots(*moments) as server, server.client() as client:
        [outcome] = await client.wait_for_jobs([JOB], **once_more)
    async with serve_snapshots(*moments) as server, server.client() as client:
        with pytest.raises(errors.JobRestartedError):
            await collect_outputs(stream_job(client, **once_more), [])
    async with serve_snapshots(*moments) as server, server.client() as client:
        again = stream_job(client, on_restart="continue", **once_more)
        await collect_outputs(again, found)
    assert output_values(job) == output_values(outcome.result()) == ["x", "y"]
    assert found == ["a", "x", "y"]


async def test_restart_is_asked_about_at_once() -> None:
    """The poll that fetches the new run's first outputs does not wait for the next interval."""
    moments = running(OLD, "a", "b"), finished(NEW, "x")
    async with serve_snapshots(*moments) as server, server.client() as client:
        await client.wait_for_job(JOB, polling=EVERY_SECOND)
    assert server.offsets == [None, "2", None]
    assert server.gaps == pytest.approx([1, 0], abs=0.1)


OLD, NEW = f"{JOB}-a", f"{JOB}-b"
RESTARTED = {"restarts": [{"timestamp": "2024-12-15T01:41:59", "reason": "x", "type": "OOM"}]}

RUNS: list[tuple[list[Any], list[str | None]]] = [
    (  # no answer says which run it is of
        [snapshot("queued", None), running(None, 1), running(None, 1, 2), finished(None, 1, 2, 3)],
        [None, None, "1", "2"],
    ),
    (  # the run is named late
        [snapshot("queued", None), running(None, 1), running(OLD, 1, 2), finished(OLD, 1, 2, 3)],
        [None, None, "1", "2"],
    ),
    (  # an answer that does not name its run is of the present one
        [running(OLD, 1), running(None, 1, 2), running(OLD, 1, 2), finished(None, 1, 2, 3)],
        [None, "1", "2", "2"],
    ),
]


@pytest.mark.parametrize(("moments", "offsets"), RUNS, ids=["never", "late", "sometimes"])
async def test_runs_without_ids(moments: list[Any], offsets: list[str | None]) -> None:
    """A run without an id is no restart."""
    job, server = await wait_through(*moments)
    found, _ = await stream_through(*moments)
    rest, _ = await stream_through(*moments, offset=1)
    assert output_values(job) == found == [1, 2, 3]
    assert rest == [2, 3]
    assert server.offsets == offsets


STALE = [
    finished(OLD, "a", "b", "c", "d"),
    snapshot("error", OLD, "a", "b", "c", error="of the old run"),
    snapshot("queued", OLD, outputs=None),
]


@pytest.mark.parametrize("stale", STALE, ids=range(3))
async def test_earlier_run_after_the_new_one(stale: dict[str, Any]) -> None:
    """An answer of an earlier run, once the new one was seen, is no result and yields nothing.

    A wait that begins after a restart takes no answer from before it for a newer run: the restarts
    that an answer lists only grow, so they tell which of two runs is the earlier one.
    """
    # The first stale answer is in the place of the poll that fetches from the first output on.
    moments = [running(OLD, "a"), running(NEW, "x"), stale, running(NEW, "x"), stale, stale]
    moments += [finished(NEW, "x", "y", "z")]
    job, server = await wait_through(*moments)
    found, _ = await stream_through(*moments, on_restart="continue")
    assert (job.run_id, output_values(job)) == (NEW, ["x", "y", "z"])
    assert found == ["a", "x", "y", "z"]
    assert server.offsets == [None, "1", None, None, "1", "1", "1"]
    for held in ([], ["x"]):
        moments = [running(NEW, *held, **RESTARTED), stale, running(NEW, "x", **RESTARTED)]
        moments += [finished(NEW, "x", "y", **RESTARTED)]
        job, _ = await wait_through(*moments)
        found, _ = await stream_through(*moments)
        assert job.run_id == NEW
        assert output_values(job) == found == ["x", "y"]


async def test_nothing_but_earlier_runs() -> None:
    """When only answers of an earlier run come any more, the wait ends, and says why."""
    moments = running(OLD, "a"), running(NEW, "x"), running(NEW, "x"), finished(OLD, "a", "b")
    async with serve_snapshots(*moments) as server, server.client() as client:
        gone = PollPolicy(outage_timeout=60)
        given_up = await error_of(client.wait_for_job(JOB, polling=gone))
    async with serve_snapshots(*moments) as server, server.client() as client:
        timed_out = await error_of(client.wait_for_job(JOB, timeout=10))
    assert isinstance(given_up, errors.ResponseError)
    assert isinstance(timed_out, errors.WaitTimeoutError)
    assert isinstance(timed_out.last, Job)
    assert timed_out.last.run_id == NEW
    assert output_values(timed_out.last) == ["x"]
    assert isinstance(timed_out.last_error, errors.ResponseError)


@pytest.mark.parametrize("runs", [2, 3, 1000])
async def test_flapping_runs_are_no_hot_loop(runs: int) -> None:
    """However often the run changes, there are at most two polls for each interval."""
    moments = [running(f"{JOB}-{number % runs}", "x", "y") for number in range(300)]
    async with serve_snapshots(*moments) as server, server.client() as client:
        await error_of(client.wait_for_job(JOB, timeout=60, polling=EVERY_SECOND))
    waiting = len(server.requests)
    async with serve_snapshots(*moments) as server, server.client() as client:
        with pytest.raises(errors.WaitTimeoutError):
            await collect_outputs(stream_job(client, on_restart="continue", timeout=60), [])
    assert waiting <= 2 * 61
    assert len(server.requests) <= 2 * 61


async def test_shared_stream() -> None:
    """Tasks that share a stream of outputs get each of them once."""

    def reply(request: RawRequest) -> Script:
        ends = now() >= 5
        values = [{"data": number} for number in range(request.offset, 6 if ends else 3)]
        document = job_document("a", "finished" if ends else "processing", outputs=values)
        return [0.1, *respond(document)]

    seen: list[Any] = []
    async with ScriptedServer(reply) as server, server.client() as client:
        stream = client.stream_outputs("a")

        async def take() -> None:
            seen.extend([getattr(output, "data", None) async for output in stream])

        await asyncio.gather(take(), take(), take())
        assert sorted(seen) == [0, 1, 2, 3, 4, 5]
        await assert_no_more_requests(client, server.requests)


async def test_closed_by_another_task(sieve: FakeSieve, client: SieveClient) -> None:
    """A stream that is closed while a step of another task sleeps ends there at once."""
    outputs = client.stream_outputs(add_job(sieve))
    streaming = asyncio.create_task(collect_outputs(outputs, []))
    await asyncio.sleep(15)
    asked, closed_at = len(sieve.requests), now()
    await outputs.aclose()
    await streaming
    assert now() == closed_at
    assert len(sieve.requests) == asked

    async with ScriptedServer(lambda _: [Action.SILENCE]) as silent, silent.client() as other:
        outputs = other.stream_outputs("job")
        polling = asyncio.create_task(collect_outputs(outputs, []))
        await asyncio.sleep(1)
        await outputs.aclose()
        await polling
        assert now() == closed_at + 1
        assert len(silent.requests) == 1
