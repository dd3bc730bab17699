"""Pauses that a server asks for, outages, clocks that jump, and waits of a day."""

import asyncio
import gc
import logging
import time
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest

from helpers.asserts import assert_idle
from helpers.http_helpers import now
from helpers.leak_checks import error_of
from helpers.raw_server import (
    JOB,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_until,
    respond,
    running_job,
    version_json,
)
from helpers.waits import KINDS, ends_of
from sieve_async import (
    Job,
    Limits,
    PollPolicy,
    RateLimitError,
    RetryPolicy,
    ServerError,
    SieveClient,
    errors,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

Headers: TypeAlias = list[tuple[str, str]]

# The clock of the server is decades off: only the difference to its own Date counts.
DATE = ("Date", "Mon, 01 Jan 1990 00:00:00 GMT")
# One of each kind, and the seconds that they mean.
FORMS: list[tuple[Headers, float | None]] = [
    ([("Retry-After", "5")], 5),
    ([("Retry-After", "1.5")], 2),
    ([("Retry-After", "121")], 121),
    ([("Retry-After", "86400")], 86400),
    ([("Retry-After", "soon")], None),
    ([DATE, ("Retry-After", "Mon, 01 Jan 1990 00:00:07 GMT")], 7),
    ([("Retry-After", "3"), ("Retry-After", "8")], 8),
]
IDS = [JOB, "job-2", "job-3"]
MAX_PAUSE = 3600.0
MAX_PAUSE_OF_CALL = 120.0
EARLY = 1e-6  # precision of the loop time


def throttled(status: int, *headers: tuple[str, str]) -> Script:
    """An error response with headers."""
    return respond({"detail": "slowly"}, status=status, headers=headers)


def throttle_once(status: int, headers: Headers) -> ScriptedServer:
    """A server whose first response is the error; all others are terminal."""

    def reply(request: RawRequest) -> Script:
        if len(server.requests) == 1:
            return throttled(status, *headers)
        if request.is_list:
            return respond({"data": [], "next_offset": -1})
        return respond(version_json()) if request.job_id == "v2" else finished_job(request.job_id)

    server = ScriptedServer(reply)
    return server


@pytest.mark.parametrize("status", [408, 429, 500, 503, 520])
async def test_plain_call(status: int) -> None:
    """A plain call pauses for at most two minutes; beyond that it raises at once."""
    for headers, seconds in FORMS:
        async with throttle_once(status, headers) as server, server.client() as client:
            started = now()
            if seconds is None or seconds <= MAX_PAUSE_OF_CALL:
                await client.get_job(JOB)
                assert server.gaps[0] >= (seconds or 0) - EARLY
                assert now() - started <= (seconds or 0) + 3
            else:
                error = await error_of(client.get_job(JOB))
                assert isinstance(error, errors.APIError)
                assert isinstance(error, errors.RateLimitError) is (status == 429)
                assert (error.retry_after, error.attempts) == (seconds, 1)
                assert len(server.requests) == 1
                assert now() - started < 0.1
            assert_idle(client)


@pytest.mark.parametrize("kind", KINDS)
async def test_wait(kind: str) -> None:
    """A wait continues after the pause, which is at most an hour; so does every other call."""
    for headers, seconds in FORMS:
        async with throttle_once(429, headers) as server, server.client() as client:
            started = now()
            other = asyncio.create_task(lookup_in_the_pause(server, client))
            ends = await ends_of(client, kind, IDS)
            assert not [end for end in ends if isinstance(end, errors.SieveError)]
            first, *later = server.requests
            pause = min(seconds or 0.0, MAX_PAUSE)
            assert all(request.at - first.at >= pause - EARLY for request in later), headers
            assert now() - started <= pause + 20, headers
            result = await other
            if seconds is None or seconds <= MAX_PAUSE_OF_CALL:
                assert not isinstance(result, errors.APIError)
            else:
                assert isinstance(result, errors.APIError)
                assert result.retry_after == pytest.approx(pause, abs=1)
            assert_idle(client)


async def lookup_in_the_pause(server: ScriptedServer, client: SieveClient) -> object:
    """Look up another job during the pause; return the error if there is one."""
    while not server.requests:  # noqa: ASYNC110 - the server has no event for this
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.02)
    try:
        return await client.get_job("other")
    except errors.APIError as error:
        return error


POLICY = PollPolicy(outage_timeout=300)


async def test_busy_caller_of_a_stream(sieve: FakeSieve, client: SieveClient) -> None:
    """A failed poll after a busy time is one failed poll; the outage counts from the next one."""
    job = sieve.job(sieve.add_job(by="manual"))
    job.start()
    job.yield_output("first")
    async with client.stream_outputs(job.id, polling=POLICY) as outputs:
        await anext(outputs)
        await asyncio.sleep(100_000)
        job.yield_output("second")
        sieve.fault(status=503, times=4)  # one poll with its retries, and one request more
        await anext(outputs)
        await sieve.stop()
        await asyncio.sleep(1000)
        began = now()
        with pytest.raises(errors.SieveError, match="cannot connect"):
            await anext(outputs)
    assert now() - began == pytest.approx(300, abs=15)


@pytest.mark.parametrize("kind", ["job, long_poll", "jobs, long_poll"])
@pytest.mark.parametrize("is_lasting", [False, True], ids=["short", "lasting"])
async def test_outage_during_a_long_poll(
    sieve: FakeSieve, client: SieveClient, kind: str, *, is_lasting: bool
) -> None:
    """An outage of some seconds is none; a longer one ends the wait after the outage timeout."""
    job_id = sieve.add_job(processing=1000)
    waiting = asyncio.create_task(ends_of(client, kind, [job_id], polling=POLICY))
    await asyncio.sleep(500)
    await sieve.stop()
    if is_lasting:
        [error] = await waiting
        assert "cannot connect" in str(error)
        assert 200 <= now() - 500 <= 315
        return
    await asyncio.sleep(10)
    await sieve.start()
    [job] = await waiting
    assert job.succeeded
    assert now() <= 1070


async def test_long_pause(sieve: FakeSieve, client: SieveClient) -> None:
    """After a pause that another call has caused, one failed list does not end a watch."""
    ids = [sieve.add_job(f"job-{number}", processing=2500) for number in range(5)]
    watching = asyncio.create_task(client.wait_for_jobs(ids, strategy="list"))
    await asyncio.sleep(100)
    sieve.fault(status=503, retry_after=2000, job="another", times=1)
    with pytest.raises(errors.SieveError, match="503"):
        await client.get_job("another")
    sieve.fault(path="/v2/jobs", status=503, times=1)
    outcomes = await watching
    assert [outcome.ok for outcome in outcomes] == [True] * 5


DAY = 86_400.0


@pytest.fixture(params=[1e9, -1e9], ids=["forward", "back"])
def wall_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A wall clock that jumps by 30 years at each reading."""
    real, jumps = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + request.param * (next(jumps) % 2))
    yield
    assert next(jumps) > 0


@pytest.mark.usefixtures("wall_clock")
@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_local_clock_that_jumps(sieve: FakeSieve, strategy: Any) -> None:
    """No interval, deadline or retry depends on the wall clock."""
    sieve.add_job("soon", queued=20, processing=40, outputs=[1, 2], streams=True)
    sieve.add_job("late", processing=4000)
    failing = sieve.fault(status=500, probability=0.3, seed=1)
    async with SieveClient(sieve.api_key, base_url=sieve.url) as client:
        began = now()
        streaming = client.stream_outputs("soon", timeout=300)
        watching = client.as_completed(["soon", "late"], timeout=600, strategy=strategy)
        asyncio.get_running_loop().call_later(60, failing.remove)
        found = {outcome.job_id: (outcome, now() - began) async for outcome in watching}
        sieve.fault(status=500, times=2)  # the third attempt succeeds
        assert len([output async for output in streaming]) == 2
    (soon, soon_at), (late, late_at) = found["soon"], found["late"]
    assert soon.result().succeeded
    assert 60 <= soon_at <= 122  # a poll that fails is repeated after a minute at the most
    assert isinstance(late.error, errors.WaitTimeoutError)
    assert 600 <= late_at <= 600.1


async def test_waits_of_a_day(sieve: FakeSieve, caplog: pytest.LogCaptureFixture) -> None:
    """Waits of a day need few polls and constant memory."""
    caplog.set_level(logging.INFO)  # caplog keeps a record of each request
    job_id, held = (sieve.add_job(processing=DAY, outputs=["x"]) for _ in range(2))
    slow = PollPolicy(max_interval=600)
    async with SieveClient(sieve.api_key, base_url=sieve.url, polling=slow) as client:
        waits: list[asyncio.Task[Any]] = [
            asyncio.create_task(client.wait_for_job(job_id)),
            asyncio.create_task(client.wait_for_job(held, strategy="long_poll")),
            asyncio.create_task(client.wait_for_jobs([job_id])),
            asyncio.create_task(client.wait_for_jobs([job_id], strategy="list")),
        ]
        await asyncio.sleep(DAY / 8)
        before = object_count(sieve)
        await asyncio.sleep(DAY * 3 / 4)
        after = object_count(sieve)
        results = await asyncio.gather(*waits)
    assert {type(each) for each in results[:2]} == {Job}
    assert now() <= DAY + 751
    assert after - before <= 500  # after 1,400 polls
    assert sieve.requests_for(held) <= DAY / 60  # a long poll lasts at most a minute
    # Three waits, each at the shortest intervals that the jitter allows: 27 polls 0.375 s apart,
    # 193 with intervals of 3.75 % of the time since the start, and 166 polls 450 s apart.
    assert sieve.requests_for(job_id) <= 3 * (27 + 193 + 166 + 1)


def object_count(sieve: FakeSieve) -> int:
    """The number of objects, without the request log of the server."""
    sieve.requests._entries.clear()
    gc.collect()
    return len(gc.get_objects())


async def test_failed_polls_around_a_pause() -> None:
    """Time without polls between two failed ones is no outage."""
    script = {1: error_response(503, ("Retry-After", "2000")), 2: error_response(502)}

    def reply(request: RawRequest) -> Script:
        return script.get(request.times) or job_until(2500, request.job_id)

    async with ScriptedServer(reply) as server, server.client() as client:
        [outcome] = await client.wait_for_jobs(["a"])

    assert outcome.ok


async def test_two_failed_polls_at_a_low_rate() -> None:
    """Nor is the time that the rate leaves between them."""

    def reply(request: RawRequest) -> Script:
        is_bad = request.job_id == "3" and request.times in (1, 2)
        return error_response(502) if is_bad else job_until(20_000, request.job_id)

    limits = Limits(polls_per_second=0.01)
    async with ScriptedServer(reply) as server, server.client(limits=limits) as client:
        outcomes = await client.wait_for_jobs([f"{number}" for number in range(20)])

    assert all(outcome.ok for outcome in outcomes)


async def test_push_without_a_slot_for_its_next_try() -> None:
    """What the last try failed with is raised, not that there was no slot for another one."""

    def reply(request: RawRequest) -> Script:
        return throttled(429) if request.method == "POST" else [20.0, *finished_job(JOB)]

    server = ScriptedServer(reply)
    async with server, server.client(limits=Limits(max_connections=1)) as client:
        pushing = asyncio.create_task(error_of(client.run("o/f", timeout=5)))
        while not server.requests:  # noqa: ASYNC110 - the server has no event for this
            await asyncio.sleep(0.02)
        await client.get_job(JOB)
        error = await pushing

        assert isinstance(error, RateLimitError)
        assert error.attempts == 1
        assert len(server.requests) == 2


async def test_a_push_behind_many_polls_that_a_pause_held_back() -> None:
    """One that would wait longer than ``max_retry_after`` says why, not that its time is over."""

    def reply(asked: RawRequest) -> Script:
        is_first = asked.job_id == "first"
        return error_response(503, ("Retry-After", "30")) if is_first else running_job(asked.job_id)

    settings: dict[str, Any] = {
        "limits": Limits(polls_per_second=0.5),
        "retry": RetryPolicy(max_retry_after=60),
    }
    async with ScriptedServer(reply) as server, server.client(**settings) as client:
        waits = [asyncio.create_task(client.wait_for_job("first"))]
        await asyncio.sleep(1)
        waits += [asyncio.create_task(client.wait_for_job(f"j{n}")) for n in range(60)]
        await asyncio.sleep(1)
        with pytest.raises(ServerError) as caught:
            await client.run("o/f", timeout=3600)
        assert caught.value.retry_after == 30
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)


@pytest.mark.looptime
async def test_an_outage_of_many_jobs_at_a_low_rate() -> None:
    """Many failed polls in a row are an outage, also where the rate leaves much time between."""
    limits = Limits(polls_per_second=0.1)
    server = ScriptedServer(lambda _: error_response(503))
    async with server, server.client(limits=limits) as client:
        outcomes = await client.wait_for_jobs([f"{number}" for number in range(40)])

    assert {outcome.status for outcome in outcomes} == {"ServerError"}
    assert now() < 3 * 1800
