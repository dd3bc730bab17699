"""Sequences of responses about one job: each kind of wait returns the same result."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from helpers.job_snapshots import EVERY_SECOND, finished, output_value, running
from helpers.raw_server import (
    JOB,
    Document,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    respond,
)
from sieve_async import (
    DecodeError,
    Job,
    NotFoundError,
    PollPolicy,
    SieveClient,
    SieveError,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

# The status and the outputs of a job.
Result: TypeAlias = tuple[str, list[Any]]
Wait: TypeAlias = Callable[[SieveClient], Awaitable[Result]]

FAST = PollPolicy(min_interval=1, max_interval=1, growth=0, jitter=0, outage_timeout=100)
RUNS = [f"{JOB}-{letter}" for letter in "abc"]
RESTART = {"timestamp": "2024-12-15T01:41:59", "reason": "x", "type": "OOM"}


def result_of(job: Job) -> Result:
    """The status and the outputs of a job."""
    return job.status, [output_value(output) for output in job.outputs]


async def poll(client: SieveClient) -> Result:
    """Wait by polling."""
    return result_of(await client.wait_for_job(JOB, polling=FAST, timeout=20_000))


async def long_poll(client: SieveClient) -> Result:
    """Wait by long polls."""
    job = await client.wait_for_job(JOB, polling=FAST, timeout=20_000, strategy="long_poll")
    return result_of(job)


def many(strategy: Any) -> Wait:
    """Watch the job."""

    async def watch(client: SieveClient) -> Result:
        (outcome,) = [
            outcome
            async for outcome in client.as_completed(
                [JOB, JOB], polling=FAST, timeout=20_000, strategy=strategy
            )
        ]
        if outcome.error is not None:
            raise outcome.error
        assert outcome.job is not None
        return result_of(outcome.job)

    return watch


async def stream(client: SieveClient) -> Result:
    """Stream the outputs; those of the last run with outputs count."""
    how: Any = {"polling": FAST, "timeout": 20_000, "on_restart": "continue"}
    values = [output_value(output) async for output in client.stream_outputs(JOB, **how)]
    return "finished", [value for value in values if value[0] == values[-1][0]]


WAITS: dict[str, Wait] = {
    "poll": poll,
    "long_poll": long_poll,
    "many": many("poll"),
    "many, long_poll": many("long_poll"),
    "list": many("list"),
    "stream": stream,
}
all_waits = pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)


def serve_snapshots(*snapshots: Document | int) -> ScriptedServer:
    """A server whose n-th response about the job is the n-th snapshot; the last one repeats.

    Long polls are answered at once; lists show the current snapshot.
    """

    def reply(request: RawRequest) -> Script:
        shown = snapshots[
            min(server.request_counts[JOB] - (not request.is_list), len(snapshots) - 1)
        ]
        if isinstance(shown, int):
            return error_response(shown)
        if request.is_list:
            is_listed = request.query.get("status") == shown["status"]
            return respond({"data": [shown] if is_listed else [], "next_offset": -1})
        return respond(shown | {"outputs": shown["outputs"][request.offset :]})

    server = ScriptedServer(reply)
    return server


async def result_after(wait: Wait, *snapshots: Document | int) -> Result:
    """The result of a wait for a job with these snapshots."""
    async with serve_snapshots(*snapshots) as server, server.client() as client:
        return await wait(client)


@all_waits
@pytest.mark.parametrize("outputs", [[], ["a1"], ["a1", "a2", "a3"]])
async def test_terminal_at_the_first_poll(wait: Wait, outputs: list[str]) -> None:
    """A job that is terminal already is returned as it is."""
    assert await result_after(wait, finished(RUNS[0], *outputs)) == ("finished", outputs)


@all_waits
@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("kept", [0, 1, 2, 3])
async def test_restart_between_two_polls(wait: Wait, place: int, kept: int) -> None:
    """Only the outputs of the last run count, wherever the restart is."""
    first = [running(RUNS[0], *["a1", "a2", "a3"][:number]) for number in (0, 1, 1, 2, 3)]
    outputs = ["b1", "b2", "b3"]
    second = [running(RUNS[1], *outputs[:kept], restarts=[RESTART])]
    last = finished(RUNS[1], *outputs, restarts=[RESTART])

    assert await result_after(wait, *first[:place], *second, last) == ("finished", outputs)


@all_waits
@pytest.mark.parametrize("outputs", [[], ["b1"], ["b1", "b2", "b3"]])
async def test_restart_and_end_between_two_polls(wait: Wait, outputs: list[str]) -> None:
    """A run that begins and ends between two polls has its own outputs only."""
    last = finished(RUNS[1], *outputs, restarts=[RESTART])
    expected = outputs or (["a1", "a2"] if wait is stream else [])

    job = await result_after(wait, running(RUNS[0], "a1", "a2"), last)

    assert job == ("finished", expected)


@all_waits
async def test_many_restarts(wait: Wait) -> None:
    """The last of many runs counts."""
    snapshots = [
        running(f"{JOB}-{number:03}", f"{chr(97 + number)}1", restarts=[RESTART] * number)
        for number in range(25)
    ]
    last = finished(f"{JOB}-024", "y1", "y2", restarts=[RESTART] * 24)

    assert await result_after(wait, *snapshots, last) == ("finished", ["y1", "y2"])


@all_waits
@pytest.mark.parametrize(
    "stale",
    [
        running(RUNS[0]),
        running(RUNS[0], "a1"),
        finished(RUNS[0], "a1", "a2", "a3") | {"status": "queued"},
        running(RUNS[0], "a1", "a2"),
    ],
)
async def test_stale_replica(wait: Wait, stale: Document) -> None:
    """An older state after a newer one removes and adds nothing."""
    newer = running(RUNS[0], "a1", "a2")
    last = finished(RUNS[0], "a1", "a2", "a3")

    job = await result_after(wait, newer, stale, newer, stale, stale, last)

    assert job == ("finished", ["a1", "a2", "a3"])


@all_waits
@pytest.mark.parametrize("missing", [1, 2])
async def test_404_in_passing(wait: Wait, missing: int) -> None:
    """A job that is not found once or twice is waited for."""
    seen, last = running(RUNS[0], "a1"), finished(RUNS[0], "a1", "a2")

    job = await result_after(wait, seen, seen, *[404] * missing, seen, *[404] * missing, last)

    assert job == ("finished", ["a1", "a2"])


@all_waits
async def test_404_that_stays(wait: Wait) -> None:
    """A job that stays not found is NotFoundError, after two confirmations."""
    async with serve_snapshots(running(RUNS[0], "a1"), 404) as server, server.client() as client:
        with pytest.raises(NotFoundError):
            await wait(client)

        assert 4 <= server.request_counts[JOB] <= 6
        assert server.requests[-1].at - server.requests[0].at <= 15


@all_waits
@pytest.mark.parametrize("another", ["job-2", "job-", "Job-1", "job-1-a", "", None, 1])
async def test_id_of_another_job(wait: Wait, another: Any) -> None:
    """The end of another job is not the end of this one."""
    other = finished(RUNS[0], "x1", "x2") | {"id": another}
    seen, last = running(RUNS[0], "a1"), finished(RUNS[0], "a1", "a2")

    job = await result_after(wait, other, seen, other, other, last)

    assert job == ("finished", ["a1", "a2"])


@all_waits
async def test_only_another_id(wait: Wait) -> None:
    """A wait that receives nothing else ends with DecodeError after the outage timeout."""
    other = finished(RUNS[0], "x1") | {"id": "job-2"}

    with pytest.raises(DecodeError, match="id is not"):
        await result_after(wait, running(RUNS[0], "a1"), other)


@all_waits
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_errors_between_all_polls(wait: Wait, status: int) -> None:
    """Failed polls between all others do not change the result."""
    snapshots: list[Document | int] = []
    for number in range(4):
        snapshots += [status, status, running(RUNS[0], *["a1", "a2", "a3"][:number])]

    job = await result_after(wait, *snapshots, status, finished(RUNS[0], "a1", "a2", "a3", "a4"))

    assert job == ("finished", ["a1", "a2", "a3", "a4"])


@pytest.mark.parametrize("times", [1, 3, 20])
async def test_latest_that_moves(sieve: FakeSieve, client: SieveClient, times: int) -> None:
    """A wait for ``latest`` follows one version, however often ``latest`` moves."""
    sieve.add_version("owner", "name", "v-first", building=100)
    seen: list[str] = []
    waiting = asyncio.create_task(
        client.wait_until_ready(
            "owner",
            "name",
            polling=EVERY_SECOND,
            on_update=lambda version: seen.append(version.id),
        )
    )
    await asyncio.sleep(1.5)
    for number in range(times):
        sieve.add_version("owner", "name", f"v-{number}", building=number)
        sieve.fault(status=503, times=2)
        await asyncio.sleep(2)

    version = await waiting

    assert (version.id, version.is_ready) == ("v-first", True)
    assert set(seen) == {"v-first"}


async def test_latest_that_moves_before_the_first_response(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """The followed version is that of the first response."""
    sieve.add_version("owner", "name", "v-1", building=10)
    sieve.fault(status=503, times=2)
    waiting = asyncio.create_task(client.wait_until_ready("owner", "name"))
    await asyncio.sleep(0.02)
    sieve.add_version("owner", "name", "v-2", building=20)

    assert (await waiting).id == "v-2"


async def test_version_that_vanishes_or_changes_its_id(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """A version that is not found, or has another id, is no result."""
    sieve.add_version("owner", "name", "v-1", building=1000)

    async def end(**fault: Any) -> SieveError:
        waiting = asyncio.create_task(client.wait_until_ready("owner", "name", polling=FAST))
        await asyncio.sleep(5)
        with sieve.fault(path="/v2/functions/*", **fault), pytest.raises(SieveError) as caught:
            await waiting
        return caught.value

    assert isinstance(await end(status=404), NotFoundError)
    assert isinstance(await end(fields={"id": "v-2", "build_status": "ready"}), DecodeError)
    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_until_ready("owner", "name", timeout=5)
    assert caught.value.last is not None
