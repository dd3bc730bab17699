"""Waiting for one job, against a real server in virtual time."""

import asyncio
import itertools
import math
from datetime import timedelta

import pytest

from helpers.http_helpers import now
from sieve_async import (
    InvalidArgumentError,
    Job,
    JobCancelledError,
    JobFailedError,
    JobStatus,
    PollPolicy,
    SieveClient,
    SieveError,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve


@pytest.mark.looptime
async def test_two_hours(sieve: FakeSieve, client: SieveClient) -> None:
    """A job of two hours is seen finished within 13 s of its end, with fewer than 850 polls."""
    sieve.add_job("long", queued=20, processing=7180, outputs=["done"])
    started = now()

    job = await client.wait_for_job("long")

    assert job.succeeded
    assert 7200 <= now() - started <= 7213
    assert sieve.requests_for("long") < 850


@pytest.mark.looptime
async def test_deadline_of_an_hour(sieve: FakeSieve, client: SieveClient) -> None:
    """A wait for a job of 24 hours ends at its deadline, and holds what it saw last."""
    sieve.add_job("day", processing=24 * 3600)
    started = now()

    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_for_job("day", timeout=3600)

    error = caught.value
    assert isinstance(error, TimeoutError)
    assert 3600 <= now() - started <= 3600.1
    assert error.target == "day"
    assert error.last is not None
    assert error.last_status == JobStatus.PROCESSING
    assert error.polls == sieve.requests_for("day")
    assert error.elapsed == pytest.approx(3600, abs=0.1)
    assert error.last_error is None


@pytest.mark.looptime
async def test_last_poll_lands_before_the_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """What ends shortly before the deadline is still seen: the last pause is cut for it."""
    sieve.add_job("close", processing=99.8)

    job = await client.wait_for_job("close", timeout=100)

    assert job.succeeded


@pytest.mark.looptime
async def test_zero_is_one_look(sieve: FakeSieve, client: SieveClient) -> None:
    """``timeout=0`` asks exactly once, and returns what has ended by then."""
    sieve.add_job("ended")
    sieve.add_job("running", processing=60)

    ended = await client.wait_for_job("ended", timeout=0)
    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_for_job("running", timeout=0)

    assert ended.succeeded
    assert caught.value.last is not None
    assert caught.value.polls == sieve.requests_for("running") == 1


@pytest.mark.looptime
async def test_timeout_takes_a_timedelta(sieve: FakeSieve, client: SieveClient) -> None:
    """A timedelta is as good as seconds."""
    sieve.add_job("running", processing=600)
    started = now()

    with pytest.raises(WaitTimeoutError):
        await client.wait_for_job("running", timeout=timedelta(minutes=1))

    assert now() - started == pytest.approx(60, abs=0.1)


@pytest.mark.looptime
async def test_infinity_is_no_limit(sieve: FakeSieve, client: SieveClient) -> None:
    """An infinite timeout waits as long as none."""
    sieve.add_job("running", processing=600)

    job = await client.wait_for_job("running", timeout=math.inf)

    assert job.succeeded


@pytest.mark.parametrize("limit", [-1, -0.1, math.nan, True, "5", timedelta(seconds=-1), object()])
async def test_bad_timeouts(sieve: FakeSieve, client: SieveClient, limit: object) -> None:
    """A timeout that cannot be right is refused before anything is sent."""
    sieve.add_job("job")

    with pytest.raises(InvalidArgumentError):
        await client.wait_for_job("job", timeout=limit)  # type: ignore[arg-type] # that is the point

    assert not sieve.requests


async def test_bad_arguments(sieve: FakeSieve, client: SieveClient) -> None:
    """Arguments of the wrong kind are refused before anything is sent."""
    sieve.add_job("job")

    with pytest.raises(InvalidArgumentError, match="PollPolicy"):
        await client.wait_for_job("job", polling=0.5)  # type: ignore[arg-type] # that is the point
    with pytest.raises(InvalidArgumentError, match="callable"):
        await client.wait_for_job("job", on_update="job")  # type: ignore[arg-type] # the same

    assert not sieve.requests


@pytest.mark.looptime
async def test_ends(sieve: FakeSieve, client: SieveClient) -> None:
    """A wait returns the job for every terminal status; ``check`` raises for the bad ones."""
    sieve.add_job("good", processing=3)
    sieve.add_job(
        "bad", processing=3, status="error", error="Traceback\n  ...\nValueError: no audio"
    )
    sieve.add_job("gone", queued=3, status="cancelled")

    good, bad, gone = await asyncio.gather(*map(client.wait_for_job, ("good", "bad", "gone")))

    assert [job.status for job in (good, bad, gone)] == [
        JobStatus.FINISHED,
        JobStatus.ERROR,
        JobStatus.CANCELLED,
    ]
    assert (await client.wait_for_job("good", check=True)) == good
    with pytest.raises(JobFailedError, match="job bad failed: ValueError: no audio") as failed:
        await client.wait_for_job("bad", check=True)
    assert failed.value.job == bad
    with pytest.raises(JobCancelledError, match="gone"):
        await client.wait_for_job("gone", check=True)


@pytest.mark.looptime
async def test_first_poll_is_immediate(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that has ended already costs one request and no time."""
    sieve.add_job("ended")
    started = now()

    await client.wait_for_job("ended")

    assert now() == started
    assert sieve.requests_for("ended") == 1


@pytest.mark.looptime
async def test_pauses_start_again_when_the_status_changes(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """After hours in the queue, a job that runs a second is seen finished soon after."""
    sieve.add_job("queued", queued=7200, processing=60)

    await client.wait_for_job("queued")

    polls = [entry.at for entry in sieve.requests]
    pauses = [later - earlier for earlier, later in itertools.pairwise(polls)]
    running = [entry.at for entry in sieve.requests if entry.at - polls[0] >= 7200][1:]
    assert (
        max(later - earlier for earlier, later in itertools.pairwise(running)) <= 60 * 0.05 * 1.25
    )
    assert max(pauses) > 7
    assert max(pauses) <= 12.5


@pytest.mark.looptime
async def test_policy_of_the_call(sieve: FakeSieve, client: SieveClient) -> None:
    """The ``polling`` of a call replaces that of the client."""
    sieve.add_job("job", processing=100)
    policy = PollPolicy(min_interval=20, max_interval=20, growth=0, jitter=0)

    await client.wait_for_job("job", polling=policy)

    assert sieve.requests_for("job") == 6


@pytest.mark.looptime
async def test_updates(sieve: FakeSieve, client: SieveClient) -> None:
    """``on_update`` gets the first state and each change of status or outputs, never one twice."""
    sieve.add_job("job", queued=30, processing=60, outputs=["a", "b"], streams=True)
    plain: list[tuple[str, int]] = []
    awaited: list[tuple[str, int]] = []

    async def later(job: Job) -> None:
        await asyncio.sleep(0.01)
        awaited.append((job.status, len(job.outputs)))

    await asyncio.gather(
        client.wait_for_job(
            "job", on_update=lambda job: plain.append((job.status, len(job.outputs)))
        ),
        client.wait_for_job("job", on_update=later),
    )

    expected = [("queued", 0), ("processing", 0), ("processing", 1), ("finished", 2)]
    assert plain == expected
    assert awaited == expected


@pytest.mark.looptime
async def test_update_that_raises(sieve: FakeSieve, client: SieveClient) -> None:
    """What ``on_update`` raises ends the wait unchanged, also when it is an error of ours."""
    sieve.add_job("job", processing=60)
    mine = SieveError("from the callback")

    def refuse(_: Job) -> None:
        raise mine

    with pytest.raises(SieveError) as caught:
        await client.wait_for_job("job", on_update=refuse)

    assert caught.value is mine
    assert sieve.requests_for("job") == 1


@pytest.mark.looptime
async def test_restart(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that restarts is waited for until its last run has ended."""
    sieve.add_job("job", processing=20, restarts=2, outputs=["x"])
    started = now()

    job = await client.wait_for_job("job")

    assert job.succeeded
    assert now() - started >= 60
    assert len(job.restarts) == 2
    assert len(job.outputs) == 1
