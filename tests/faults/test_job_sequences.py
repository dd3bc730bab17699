"""Sequences of responses about one job: each kind of wait returns the same result."""

import asyncio
from typing import Any, TypeAlias

import pytest

from helpers.job_snapshots import (
    Snapshot,
    finished,
    output_value,
    output_values,
    running,
    show_snapshot,
)
from helpers.raw_server import JOB, Document, RawRequest, Script, ScriptedServer, respond
from helpers.waits import KINDS, ends_of
from sieve_async import (
    DecodeError,
    Job,
    NotFoundError,
    PollPolicy,
    SieveClient,
    SieveError,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

# The status and the outputs of a job.
Result: TypeAlias = tuple[str, list[Any]]

FAST = PollPolicy(min_interval=1, max_interval=1, growth=0, jitter=0, outage_timeout=100)
RUNS = [f"{JOB}-{letter}" for letter in "abc"]
RESTART = {"timestamp": "2024-12-15T01:41:59", "reason": "x", "type": "OOM"}
all_waits = pytest.mark.parametrize("wait", [kind for kind in KINDS if kind != "version"])


async def result_of(client: SieveClient, wait: str) -> Result:
    """The result of the job; of a stream, the outputs of the last run with outputs."""
    settings = {"on_restart": "continue"} if wait == "stream" else {}
    [end] = await ends_of(client, wait, polling=FAST, timeout=20_000, **settings)
    if isinstance(end, SieveError):
        raise end
    if isinstance(end, Job):
        return end.status, output_values(end)
    values = [output_value(output) for output in end]
    return "finished", [value for value in values if value[0] == values[-1][0]]


def serve_snapshots(*snapshots: Snapshot) -> ScriptedServer:
    """A server whose n-th response about the job is the n-th snapshot; the last one repeats.

    Long polls are answered at once; lists show the current snapshot.
    """

    def reply(request: RawRequest) -> Script:
        place = server.request_counts[JOB] - (not request.is_list)
        shown = snapshots[min(place, len(snapshots) - 1)]
        if not request.is_list or not isinstance(shown, dict):
            return show_snapshot(shown, request)
        is_listed = request.query.get("status") == shown["status"]
        return respond({"data": [shown] if is_listed else [], "next_offset": -1})

    server = ScriptedServer(reply)
    return server


async def result_after(wait: str, *snapshots: Snapshot) -> Result:
    """The result of a wait for a job with these snapshots."""
    async with serve_snapshots(*snapshots) as server, server.client() as client:
        return await result_of(client, wait)


@all_waits
async def test_restart_between_two_polls(wait: str) -> None:
    """Only the outputs of the last run count, wherever the restart is."""
    first = [running(RUNS[0], *["a1", "a2", "a3"][:number]) for number in (0, 1, 1, 2, 3)]
    outputs = ["b1", "b2", "b3"]
    last = finished(RUNS[1], *outputs, restarts=[RESTART])
    for place in (0, 1, 3, 5):
        for kept in range(4):
            second = running(RUNS[1], *outputs[:kept], restarts=[RESTART])
            result = await result_after(wait, *first[:place], second, last)
            assert result == ("finished", outputs)


@all_waits
@pytest.mark.parametrize(
    "stale",
    [
        running(RUNS[0]),
        running(RUNS[0], "a1"),
        finished(RUNS[0], "a1", "a2", "a3") | {"status": "queued"},
    ],
)
async def test_stale_replica(wait: str, stale: Document) -> None:
    """An older state after a newer one removes and adds nothing."""
    newer = running(RUNS[0], "a1", "a2")
    last = finished(RUNS[0], "a1", "a2", "a3")
    job = await result_after(wait, newer, stale, newer, stale, stale, last)
    assert job == ("finished", ["a1", "a2", "a3"])


@all_waits
@pytest.mark.parametrize("fault", [404, 401, 408, 429, 500, 503, None])
async def test_failed_polls(wait: str, fault: Snapshot) -> None:
    """Two failed polls before each good one do not change the result; rejections need the first."""
    faults = [fault] * 2
    first = [] if fault in {404, 401} else faults
    snapshots = [running(RUNS[0], *["a1", "a2", "a3"][:number]) for number in range(3)]
    sequence = [*first, snapshots[0], *faults, snapshots[1], *faults, snapshots[2], *faults]
    result = await result_after(wait, *sequence, finished(RUNS[0], "a1", "a2", "a3"))
    assert result == ("finished", ["a1", "a2", "a3"])


@all_waits
async def test_404_that_stays(wait: str) -> None:
    """A job that stays not found is NotFoundError, after two confirmations."""
    async with serve_snapshots(running(RUNS[0], "a1"), 404) as server, server.client() as client:
        with pytest.raises(NotFoundError):
            await result_of(client, wait)
        assert 4 <= server.request_counts[JOB] <= 6
        assert server.requests[-1].at - server.requests[0].at <= 15


@all_waits
async def test_id_of_another_job(wait: str) -> None:
    """The end of another job is not the end of this one; without any other there is an error."""
    seen, last = running(RUNS[0], "a1"), finished(RUNS[0], "a1", "a2")
    for another in ("job-2", "job-", "Job-1", "", None, 1):
        other = finished(RUNS[0], "x1", "x2") | {"id": another}
        result = await result_after(wait, other, seen, other, other, last)
        assert result == ("finished", ["a1", "a2"])
    with pytest.raises(DecodeError, match="id is not"):
        await result_after(wait, seen, finished(RUNS[0], "x1") | {"id": "job-2"})


async def test_version_that_vanishes_or_changes_its_id(
    sieve: FakeSieve, client: SieveClient
) -> None:
    sieve.add_version("owner", "name", "v-1", building=1000)

    async def end(**fault: Any) -> SieveError:
        waiting = asyncio.create_task(client.wait_until_ready("owner", "name", polling=FAST))
        await asyncio.sleep(5)
        with sieve.fault(path="/v2/functions/*", **fault), pytest.raises(SieveError) as caught:
            await waiting
        return caught.value

    assert isinstance(await end(status=404), NotFoundError)
    assert isinstance(await end(fields={"id": "v-2", "build_status": "ready"}), DecodeError)
