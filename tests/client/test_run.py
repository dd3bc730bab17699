"""``run``: a push and its wait under one deadline."""

import asyncio
from typing import Any

import pytest

from helpers.http_helpers import now
from sieve_async import (
    AmbiguousPushError,
    InvalidArgumentError,
    JobCancelledError,
    JobFailedError,
    JobStatus,
    PushedJob,
    RateLimitError,
    SieveClient,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


async def test_a_run(sieve: FakeSieve, client: SieveClient) -> None:
    """A run pushes once, and returns the job as it ended."""
    sieve.script_function("me/upper", queued=2, processing=3, outputs=lambda i: [i["text"].upper()])
    order: list[str] = []

    async def on_pushed(pushed: PushedJob) -> None:
        await asyncio.sleep(0)
        order.append(f"pushed {pushed.id}")

    job = await client.run(
        "me/upper",
        {"text": "hi"},
        on_pushed=on_pushed,
        on_update=lambda seen: order.append(seen.status),
    )

    assert job.data == ("HI",)
    assert order[0] == f"pushed {job.id}"
    assert order[-1] == "finished"
    assert [push.job_id for push in sieve.pushes] == [job.id]


@pytest.mark.parametrize("strategy", ["poll", "long_poll"])
async def test_strategies(sieve: FakeSieve, client: SieveClient, strategy: Any) -> None:
    """Either strategy of a wait serves a run."""
    sieve.script_function("me/mine", processing=3)

    assert (await client.run("me/mine", strategy=strategy)).succeeded


@pytest.mark.parametrize(
    ("status", "error"), [("error", JobFailedError), ("cancelled", JobCancelledError)]
)
async def test_jobs_that_do_not_finish(
    sieve: FakeSieve, client: SieveClient, status: Any, error: type[Exception]
) -> None:
    """A run raises for a job that did not finish, unless it is told not to."""
    sieve.script_function("me/mine", processing=1, status=status)

    with pytest.raises(error):
        await client.run("me/mine")
    assert (await client.run("me/mine", check=False)).status == status


async def test_one_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """The timeout covers the push and the wait; the error names the job, which continues."""
    sieve.script_function("me/mine", processing=60)
    sieve.fault(path="/v2/push", delay=4)
    started = now()

    with pytest.raises(WaitTimeoutError) as raised:
        await client.run("me/mine", timeout=10)

    assert now() - started == pytest.approx(10, abs=0.1)
    assert raised.value.elapsed == pytest.approx(10, abs=0.1)
    assert raised.value.target == sieve.pushes[0].job_id
    assert (await client.get_job(raised.value.target)).status == JobStatus.PROCESSING


async def test_a_deadline_during_the_push(sieve: FakeSieve, client: SieveClient) -> None:
    """A push that has no answer by the deadline may have started a job."""
    sieve.script_function("me/mine")
    sieve.fault(path="/v2/push", delay=20, takes_effect=True)
    started = now()

    with pytest.raises(AmbiguousPushError) as raised:
        await client.run("me/mine", {"n": 1}, timeout=5)

    assert now() - started == pytest.approx(5, abs=0.1)
    assert len(await client.find_pushed(raised.value)) == len(sieve.pushes) == 1


async def test_a_pause_beyond_the_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """A push that may not be sent before the deadline is given up at once; no job was started."""
    sieve.script_function("me/mine")
    sieve.fault(path="/v2/push", status=429, retry_after=20)
    started = now()

    with pytest.raises(RateLimitError):
        await client.run("me/mine", timeout=10)

    assert now() - started < 1
    assert not sieve.pushes


async def test_a_timeout_of_zero(sieve: FakeSieve, client: SieveClient) -> None:
    """Zero is a push and exactly one poll."""
    sieve.script_function("me/mine", processing=60)

    with pytest.raises(WaitTimeoutError) as raised:
        await client.run("me/mine", timeout=0)

    assert raised.value.polls == 1
    assert len(sieve.requests) == 2


async def test_cancel_on_timeout(sieve: FakeSieve, client: SieveClient) -> None:
    """The job is cancelled only if the caller wants that; the error stays that of the deadline."""
    sieve.script_function("me/mine", processing=60)

    with pytest.raises(WaitTimeoutError) as raised:
        await client.run("me/mine", timeout=5, cancel_on_timeout=True)

    assert raised.value.__notes__ == ["the job was cancelled"]
    assert (await client.get_job(raised.value.target)).cancelled


async def test_a_job_that_ends_at_the_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that was over before it could be cancelled is the result."""
    sieve.script_function("me/mine", processing=6, outputs=["done"])
    sieve.fault(method="DELETE", delay=3, times=1)

    job = await client.run("me/mine", timeout=5, cancel_on_timeout=True)

    assert job.data == ("done",)


@pytest.mark.parametrize("fault", [{"status": 500}, {"delay": 1000}])
async def test_a_job_that_cannot_be_cancelled(
    sieve: FakeSieve, client: SieveClient, fault: dict[str, Any]
) -> None:
    """When cancelling fails, the deadline is the error all the same, soon."""
    sieve.script_function("me/mine", processing=3600)
    sieve.fault(method="DELETE", **fault)
    started = now()

    with pytest.raises(WaitTimeoutError) as raised:
        await client.run("me/mine", timeout=5, cancel_on_timeout=True)

    assert "could not be cancelled" in raised.value.__notes__[0]
    assert now() - started < 20


async def test_what_on_pushed_raises(sieve: FakeSieve, client: SieveClient) -> None:
    """It ends the run before any poll; the job continues."""
    sieve.script_function("me/mine", processing=60)

    def on_pushed(_pushed: PushedJob) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await client.run("me/mine", on_pushed=on_pushed)

    assert len(sieve.requests) == 1
    assert (await client.get_job(sieve.pushes[0].job_id)).status == JobStatus.PROCESSING


async def test_cancelling_the_task(sieve: FakeSieve, client: SieveClient) -> None:
    """A cancellation passes, and never touches the remote job."""
    sieve.script_function("me/mine", processing=60)
    task = asyncio.create_task(client.run("me/mine", cancel_on_timeout=True))
    await asyncio.sleep(5)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await client.get_job(sieve.pushes[0].job_id)).status == JobStatus.PROCESSING


@pytest.mark.parametrize(
    "arguments",
    [{"timeout": -1}, {"polling": 1}, {"strategy": "list"}, {"on_pushed": 1}, {"on_update": 1}],
)
async def test_invalid_arguments(
    sieve: FakeSieve, client: SieveClient, arguments: dict[str, Any]
) -> None:
    """An argument of the wait is checked before anything is pushed."""
    sieve.script_function("me/mine")

    with pytest.raises(InvalidArgumentError):
        await client.run("me/mine", **arguments)

    assert not sieve.requests
