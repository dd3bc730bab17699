"""The deadline of a watch of many jobs, in virtual time."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from helpers.asserts import assert_idle, assert_no_more_requests, ids_of
from helpers.http_helpers import now
from helpers.leak_checks import KEY, check_error
from helpers.raw_server import (
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_until,
)
from sieve_async import (
    Job,
    JobOutcome,
    JobStatus,
    Limits,
    PollPolicy,
    ServerError,
    SieveClient,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


def error_of(outcome: JobOutcome) -> WaitTimeoutError:
    """The error of an outcome whose deadline came first."""
    assert isinstance(outcome.error, WaitTimeoutError)
    assert outcome.error.target == outcome.job_id
    assert (outcome.job, outcome.ok) == (None, False)
    check_error(outcome.error)
    return outcome.error


@pytest.mark.parametrize("limit", [0.05, timedelta(minutes=1)])
async def test_deadline_for_the_whole(
    sieve: FakeSieve, client: SieveClient, limit: float | timedelta
) -> None:
    """At the deadline each job that still runs has an outcome that holds what was seen of it."""
    sieve.add_job("ends")
    ids = [sieve.add_job(f"runs-{number}", processing=3600) for number in range(10)]
    seconds = limit.total_seconds() if isinstance(limit, timedelta) else limit
    started = now()
    outcomes = await client.wait_for_jobs(["ends", *ids], timeout=limit)
    assert seconds <= now() - started <= seconds + 0.1
    assert ids_of(outcomes) == ["ends", *ids]
    assert outcomes[0].ok
    for outcome in outcomes[1:]:
        error = error_of(outcome)
        assert error.polls == sieve.requests_for(outcome.job_id)
        assert error.elapsed == pytest.approx(seconds, abs=0.1)
        assert error.last_error is None
        assert error.last is not None or error.polls == 0
        assert error.last is None or error.last_status == JobStatus.PROCESSING
    assert_idle(client)


async def test_last_polls_before_the_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """What ends shortly before the deadline is still seen: the last pauses are cut for it."""
    ids = [sieve.add_job(processing=98 + number / 10) for number in range(8)]
    outcomes = await client.wait_for_jobs(ids, timeout=100)
    assert all(outcome.ok for outcome in outcomes)


async def test_zero_is_one_poll_of_each(sieve: FakeSieve, client: SieveClient) -> None:
    """``timeout=0`` asks for each id exactly once, at the rate that is allowed."""
    ids = [sieve.add_job(processing=3600 * (number % 2)) for number in range(100)]
    started = now()
    outcomes = await client.wait_for_jobs([*ids, "none"], timeout=0)
    assert [outcome.ok for outcome in outcomes] == [True, False] * 50 + [False]
    assert {sieve.requests_for(job_id) for job_id in ids} == {1}
    assert len(sieve.requests) == 101
    assert now() - started == pytest.approx(1, abs=0.2)
    for outcome in outcomes[1:100:2]:
        error = error_of(outcome)
        assert (error.polls, error.last is None) == (1, False)


async def test_zero_with_failing_polls(sieve: FakeSieve, client: SieveClient) -> None:
    """``timeout=0`` asks once also when the answer is no good, and takes its time for it."""
    sieve.add_job("slow")
    sieve.fault(job="broken", status=503, body={"detail": f"no, and {KEY} is your key"})
    sieve.fault(job="slow", delay=3)
    broken, slow = await client.wait_for_jobs(["broken", "slow"], timeout=0)
    assert isinstance(error_of(broken).last_error, ServerError)
    assert slow.ok
    assert [sieve.requests_for(job_id) for job_id in ("broken", "slow")] == [1, 1]


async def test_answers_on_their_way(sieve: FakeSieve, client: SieveClient) -> None:
    """Answers that arrive before the deadline count; those that are too late hold up no other."""
    delays = {"early": 4.0, "late": 6.0, "never": 1000.0}
    for job_id, delay in delays.items():
        sieve.fault(job=sieve.add_job(job_id), delay=delay)
    started = now()
    early, late, never = await client.wait_for_jobs(delays, timeout=5)
    assert 5 <= now() - started <= 5.1
    assert early.ok
    for outcome in (late, never):
        assert error_of(outcome).last is None
    assert_idle(client)


@pytest.mark.parametrize("fails", [False, True])
async def test_deadline_during_a_callback(
    sieve: FakeSieve, client: SieveClient, *, fails: bool
) -> None:
    """The outcomes come with the deadline, which does not interrupt the callback."""
    sieve.add_job("a", queued=8, processing=600)
    calls: list[str] = []

    async def on_update(job: Job) -> None:
        await asyncio.sleep(5)
        calls.append(job.status)
        if fails and job.status == "processing":
            raise LookupError

    watch = client.as_completed(["a"], timeout=10, on_update=on_update)
    outcome = await anext(watch)
    assert 10 <= now() <= 10.1
    assert error_of(outcome).last_status == "processing"
    done = [watch.done]
    with pytest.raises(LookupError if fails else StopAsyncIteration):
        await anext(watch)
    assert calls == ["queued", "processing"]
    assert 13 <= now() <= 15.1
    assert [*done, watch.done] == [False, True]
    await assert_no_more_requests(client, sieve.requests)


async def test_zero_in_a_long_pause() -> None:
    """One poll of each waits no longer for the server than a plain call does."""
    reply = error_response(503, ("Retry-After", "3600"))
    limits = Limits(max_connections=2)
    async with ScriptedServer(lambda _: reply) as server, server.client(limits=limits) as client:
        ids = [f"job-{number}" for number in range(10)]
        for polls in (1, 0):
            outcomes = await client.wait_for_jobs(ids, timeout=0)
            assert ids_of(outcomes) == ids
            assert all(isinstance(error_of(each).last_error, ServerError) for each in outcomes)
            assert sum(outcome.polls for outcome in outcomes) == polls
        assert now() < 1
        await assert_no_more_requests(client, server.requests)


async def test_ids_that_were_not_taken(sieve: FakeSieve) -> None:
    """Ids of a list for which there was no time have outcomes as well, each one."""
    ids = [sieve.add_job(f"{place}", processing=3600) for place in range(100)]
    limits = Limits(max_pending_jobs=20, polls_per_second=10)
    async with SieveClient(KEY, base_url=sieve.url, limits=limits) as client:
        seen = [outcome async for outcome in client.as_completed([*ids, "0", "a/b"], timeout=1)]
        listed = await client.wait_for_jobs([*ids, "0"], timeout=1)
    assert sorted(ids_of(seen)) == sorted([*ids, "a/b"])
    assert ids_of(listed) == [*ids, "0"]
    assert all(error_of(outcome).elapsed <= 1.1 for outcome in listed)


async def test_deadline_of_a_source_without_end(sieve: FakeSieve, client: SieveClient) -> None:
    """At the deadline no more ids are taken, and all that were taken have outcomes."""
    taken: list[str] = []

    async def endless() -> AsyncIterator[str]:
        for _ in itertools.count():
            await asyncio.sleep(1)
            taken.append(sieve.add_job(processing=600))
            yield taken[-1]

    started = now()
    seen = [outcome async for outcome in client.as_completed(endless(), timeout=20.5)]
    assert 20.5 <= now() - started <= 20.6
    assert sorted(ids_of(seen)) == sorted(taken)
    assert len(taken) == 20
    for outcome in seen:
        assert error_of(outcome).last is not None

    async def silent() -> AsyncIterator[str]:
        await asyncio.Event().wait()
        yield "never"

    started = now()
    assert [outcome async for outcome in client.as_completed(silent(), timeout=5)] == []
    assert now() - started == pytest.approx(5, abs=0.1)


async def test_slow_consumer_loses_nothing(sieve: FakeSieve, client: SieveClient) -> None:
    """Who takes outcomes slowly gets all of them, those of ended jobs as they ended."""
    sieve.add_job("early", processing=5)
    sieve.add_job("late", processing=50)
    seen: list[tuple[str, bool]] = []
    async with client.as_completed(["late", "early"], timeout=20) as outcomes:
        await asyncio.sleep(100)
        before = len(sieve.requests)
        async for outcome in outcomes:
            seen.append((outcome.job_id, outcome.ok))
            await asyncio.sleep(10)
    assert seen == [("early", True), ("late", False)]
    assert len(sieve.requests) == before


async def test_deadlines_of_a_shared_job(sieve: FakeSieve, client: SieveClient) -> None:
    """A deadline has the state at that time, even if another watch has seen the end since."""
    job = sieve.job(sieve.add_job("a", by="manual"))
    job.start()
    policy = PollPolicy(jitter=0)
    longer = asyncio.create_task(client.wait_for_jobs(["a"], polling=policy))
    async with client.as_completed(["a"], timeout=5, polling=policy) as outcomes:
        await asyncio.sleep(10)
        job.finish()
        [shared] = await longer
        error = (await anext(outcomes)).error
    assert shared.ok
    assert isinstance(error, WaitTimeoutError)
    assert error.last_status == "processing"
    assert error.polls <= 12


async def test_last_poll_of_a_short_watch() -> None:
    """The last polls begin as early as the first polls took, not as a mean that begins at 0."""

    def reply(request: RawRequest) -> Script:
        return [0.5, *job_until(3.2, request.job_id)]

    policy = PollPolicy(min_interval=1, jitter=0)  # polls at 0, 1.5 and 3.0 s
    async with ScriptedServer(reply) as server, server.client(polling=policy) as client:
        [outcome] = await client.wait_for_jobs(["a"], timeout=4.6)

    assert outcome.ok


async def test_the_last_poll_of_an_id_that_comes_late() -> None:
    """A job that another watch polls rarely is polled before the deadline of a watch all the same.

    With 40 jobs, 8 slots and answers after 0.3 s the last polls begin 2.25 s before the deadline.
    """
    ends = {"late": now() + 19.1}
    policy = PollPolicy(min_interval=500, max_interval=500)
    limits = Limits(max_connections=8, polls_per_second=None)

    async def ids() -> AsyncIterator[str]:
        for number in range(40):
            yield f"j{number}"
        await asyncio.sleep(19.2)
        yield "late"

    def reply(asked: RawRequest) -> Script:
        return [0.3, *job_until(ends.get(asked.job_id, 1e9), asked.job_id)]

    async with ScriptedServer(reply) as server, server.client(limits=limits) as client:
        other = asyncio.create_task(client.wait_for_jobs(["late"], polling=policy))
        outcomes = await client.wait_for_jobs(ids(), polling=policy, timeout=20)
        assert outcomes[-1].ok
        assert [outcome.ok for outcome in await other] == [True]


async def test_held_requests_say_nothing_about_the_last_poll() -> None:
    """Where other watches hold requests for seconds, the last poll is no earlier than else."""
    ends_at = now() + 58

    def reply(asked: RawRequest) -> Script:
        if asked.job_id == "j1":
            return job_until(ends_at, "j1")
        return [3.0, *finished_job(asked.job_id)]

    async def hold(client: SieveClient) -> None:
        for number in range(18):
            await client.wait_for_jobs([f"held{number}"], strategy="long_poll")

    policy = PollPolicy(min_interval=10, max_interval=10)
    async with ScriptedServer(reply) as server, server.client() as client:
        holding = asyncio.create_task(hold(client))
        (outcome,) = await client.wait_for_jobs(["j1"], polling=policy, timeout=60)
        await holding
    assert outcome.ok


@pytest.mark.looptime
async def test_one_slow_poll_moves_no_last_poll() -> None:
    """The last poll is just before the deadline, though the first had to wait for a connection."""

    def reply(request: RawRequest) -> Script:
        answer = job_until(18.5, request.job_id)
        return answer if request.times else [4.5, *answer]

    policy = PollPolicy(min_interval=8, max_interval=8)
    async with ScriptedServer(reply) as server, server.client() as client:
        [outcome] = await client.wait_for_jobs(["a"], timeout=20, polling=policy)

    assert outcome.ok
    assert len(server.requests) <= 4
