"""Fault class J: each turn that the life of a job can take, told to each way of waiting alike."""

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

# The status and the outputs of a job, however it was waited for.
Found: TypeAlias = tuple[str, list[Any]]
Way: TypeAlias = Callable[[SieveClient], Awaitable[Found]]

SOON = PollPolicy(min_interval=1, max_interval=1, growth=0, jitter=0, outage_timeout=100)
RUNS = [f"{JOB}-{letter}" for letter in "abc"]
RESTART = {"timestamp": "2024-12-15T01:41:59", "reason": "x", "type": "OOM"}


def found(job: Job) -> Found:
    """What of a job counts here."""
    return job.status, [output_value(output) for output in job.outputs]


async def poll(client: SieveClient) -> Found:
    """Wait for the job alone."""
    return found(await client.wait_for_job(JOB, polling=SOON, timeout=500))


async def long_poll(client: SieveClient) -> Found:
    """Wait for it, and let the server hold the request."""
    job = await client.wait_for_job(JOB, polling=SOON, timeout=500, strategy="long_poll")
    return found(job)


def many(strategy: Any) -> Way:
    """Watch it as one of many."""

    async def watch(client: SieveClient) -> Found:
        (outcome,) = [
            outcome
            async for outcome in client.as_completed(
                [JOB, JOB], polling=SOON, timeout=500, strategy=strategy
            )
        ]
        if outcome.error is not None:
            raise outcome.error
        assert outcome.job is not None
        return found(outcome.job)

    return watch


async def stream(client: SieveClient) -> Found:
    """Stream its outputs; those of the last run that had any are what counts."""
    how: Any = {"polling": SOON, "timeout": 500, "on_restart": "continue"}
    values = [output_value(output) async for output in client.stream_outputs(JOB, **how)]
    return "finished", [value for value in values if value[0] == values[-1][0]]


WAYS: dict[str, Way] = {
    "poll": poll,
    "long_poll": long_poll,
    "many": many("poll"),
    "many, long_poll": many("long_poll"),
    "list": many("list"),
    "stream": stream,
}
all_ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def telling(*moments: Document | int) -> ScriptedServer:
    """A server whose n-th answer about the job is the n-th moment, and the last one for ever.

    Requests that may be held are answered at once, like any other; lists show the present moment.
    """

    def reply(asked: RawRequest) -> Script:
        shown = moments[min(stage.request_counts[JOB] - (not asked.is_list), len(moments) - 1)]
        if isinstance(shown, int):
            return error_response(shown)
        if asked.is_list:
            is_listed = asked.query.get("status") == shown["status"]
            return respond({"data": [shown] if is_listed else [], "next_offset": -1})
        return respond(shown | {"outputs": shown["outputs"][asked.offset :]})

    stage = ScriptedServer(reply)
    return stage


async def ended(way: Way, *moments: Document | int) -> Found:
    """How the job ends, told so and waited for so."""
    async with telling(*moments) as stage, stage.client() as client:
        return await way(client)


@all_ways
@pytest.mark.parametrize("outputs", [[], ["a1"], ["a1", "a2", "a3"]])
async def test_over_at_the_first_look(way: Way, outputs: list[str]) -> None:
    """A job that had ended before anybody asked is returned as it is."""
    assert await ended(way, finished(RUNS[0], *outputs)) == ("finished", outputs)


@all_ways
@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("kept", [0, 1, 2, 3])
async def test_restart_between_any_two_looks(way: Way, place: int, kept: int) -> None:
    """Wherever a restart falls, and however many outputs it has by then, the last run counts."""
    first = [running(RUNS[0], *["a1", "a2", "a3"][:number]) for number in (0, 1, 1, 2, 3)]
    outputs = ["b1", "b2", "b3"]
    second = [running(RUNS[1], *outputs[:kept], restarts=[RESTART])]
    last = finished(RUNS[1], *outputs, restarts=[RESTART])

    assert await ended(way, *first[:place], *second, last) == ("finished", outputs)


@all_ways
@pytest.mark.parametrize("outputs", [[], ["b1"], ["b1", "b2", "b3"]])
async def test_restart_seen_with_the_end(way: Way, outputs: list[str]) -> None:
    """A run that began and ended between two looks has its own outputs, and none of before."""
    last = finished(RUNS[1], *outputs, restarts=[RESTART])
    expected = outputs or (["a1", "a2"] if way is stream else [])

    job = await ended(way, running(RUNS[0], "a1", "a2"), last)

    assert job == ("finished", expected)


@all_ways
async def test_restarts_again_and_again(way: Way) -> None:
    """Of many runs the last one counts."""
    moments = [
        running(f"{JOB}-{number:03}", f"{chr(97 + number)}1", restarts=[RESTART] * number)
        for number in range(25)
    ]
    last = finished(f"{JOB}-024", "y1", "y2", restarts=[RESTART] * 24)

    assert await ended(way, *moments, last) == ("finished", ["y1", "y2"])


@all_ways
@pytest.mark.parametrize(
    "stale",
    [
        running(RUNS[0]),
        running(RUNS[0], "a1"),
        finished(RUNS[0], "a1", "a2", "a3") | {"status": "queued"},
        running(RUNS[0], "a1", "a2"),
    ],
)
async def test_replica_that_lags(way: Way, stale: Document) -> None:
    """An older state after a newer one takes nothing back, and adds nothing."""
    newer = running(RUNS[0], "a1", "a2")
    last = finished(RUNS[0], "a1", "a2", "a3")

    job = await ended(way, newer, stale, newer, stale, stale, last)

    assert job == ("finished", ["a1", "a2", "a3"])


@all_ways
@pytest.mark.parametrize("missing", [1, 2])
async def test_replica_that_knows_no_such_job(way: Way, missing: int) -> None:
    """A job that was seen and is not found once or twice is waited for on."""
    seen, last = running(RUNS[0], "a1"), finished(RUNS[0], "a1", "a2")

    job = await ended(way, seen, seen, *[404] * missing, seen, *[404] * missing, last)

    assert job == ("finished", ["a1", "a2"])


@all_ways
async def test_job_that_vanishes(way: Way) -> None:
    """A job that was seen and stays away is not found, after a few looks more."""
    async with telling(running(RUNS[0], "a1"), 404) as stage, stage.client() as client:
        with pytest.raises(NotFoundError):
            await way(client)

        assert 4 <= stage.request_counts[JOB] <= 6
        assert stage.requests[-1].at - stage.requests[0].at <= 15


@all_ways
@pytest.mark.parametrize("another", ["job-2", "job-", "Job-1", "job-1-a", "", None, 1])
async def test_id_of_another_job(way: Way, another: Any) -> None:
    """The end of another job is not the end of this one, whenever it is told."""
    foreign = finished(RUNS[0], "x1", "x2") | {"id": another}
    seen, last = running(RUNS[0], "a1"), finished(RUNS[0], "a1", "a2")

    job = await ended(way, foreign, seen, foreign, foreign, last)

    assert job == ("finished", ["a1", "a2"])


@all_ways
async def test_nothing_but_the_id_of_another_job(way: Way) -> None:
    """When nothing else is told any more, the wait ends with what is wrong, and not with that."""
    foreign = finished(RUNS[0], "x1") | {"id": "job-2"}

    with pytest.raises(DecodeError, match="is not the id that was asked for"):
        await ended(way, running(RUNS[0], "a1"), foreign)


@all_ways
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_trouble_between_any_two_looks(way: Way, status: int) -> None:
    """Looks that fail between all others change nothing of what comes out."""
    moments: list[Document | int] = []
    for number in range(4):
        moments += [status, status, running(RUNS[0], *["a1", "a2", "a3"][:number])]

    job = await ended(way, *moments, status, finished(RUNS[0], "a1", "a2", "a3", "a4"))

    assert job == ("finished", ["a1", "a2", "a3", "a4"])


@pytest.mark.parametrize("times", [1, 3, 20])
async def test_latest_that_moves(sieve: FakeSieve, client: SieveClient, times: int) -> None:
    """However often ``latest`` moves, and whatever fails meanwhile, one version is followed."""
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


async def test_latest_that_moves_before_the_first_answer(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """The version that is followed is the first one that was seen, not the first that was asked."""
    sieve.add_version("owner", "name", "v-1", building=10)
    sieve.fault(status=503, times=2)
    waiting = asyncio.create_task(client.wait_until_ready("owner", "name"))
    await asyncio.sleep(0.02)
    sieve.add_version("owner", "name", "v-2", building=20)

    assert (await waiting).id == "v-2"


async def test_version_that_vanishes_or_answers_as_another(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """A version that is not found any more, or only under another id, is no result."""
    sieve.add_version("owner", "name", "v-1", building=1000)

    async def end(**fault: Any) -> SieveError:
        waiting = asyncio.create_task(client.wait_until_ready("owner", "name", polling=SOON))
        await asyncio.sleep(5)
        with sieve.fault(path="/v2/functions/*", **fault), pytest.raises(SieveError) as caught:
            await waiting
        return caught.value

    assert isinstance(await end(status=404), NotFoundError)
    assert isinstance(await end(fields={"id": "v-2", "build_status": "ready"}), DecodeError)
    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_until_ready("owner", "name", timeout=5)
    assert caught.value.last_version is not None
