"""Each kind of wait with a deadline, and checks of its timeout error."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from helpers.http_helpers import now
from helpers.leak_checks import check_error
from helpers.raw_server import JOB
from sieve_async import FunctionVersion, Job, JobOutcome, SieveClient, WaitTimeoutError

IDS = [JOB, "job-2", "job-3"]
TIMEOUTS = 0.3, 7.7
NAME = "o/f:latest"

Wait: TypeAlias = Callable[[SieveClient, float], Awaitable[list[WaitTimeoutError]]]


async def of_job(client: SieveClient, seconds: float, **how: Any) -> list[WaitTimeoutError]:
    """Wait for one job."""
    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_for_job(JOB, timeout=seconds, **how)
    return [caught.value]


async def of_job_by_long_polls(client: SieveClient, seconds: float) -> list[WaitTimeoutError]:
    """Wait for one job by long polls."""
    return await of_job(client, seconds, strategy="long_poll")


async def of_version(client: SieveClient, seconds: float) -> list[WaitTimeoutError]:
    """Wait for one version."""
    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_until_ready("o", "f", timeout=seconds)
    return [caught.value]


async def of_stream(client: SieveClient, seconds: float) -> list[WaitTimeoutError]:
    """Wait for an output."""
    with pytest.raises(WaitTimeoutError) as caught:
        await anext(client.stream_outputs(JOB, timeout=seconds))
    return [caught.value]


def errors_of(outcomes: list[JobOutcome]) -> list[WaitTimeoutError]:
    """The timeout errors of outcomes, one for each job."""
    assert sorted(outcome.job_id for outcome in outcomes) == IDS
    errors = [outcome.error for outcome in outcomes if isinstance(outcome.error, WaitTimeoutError)]
    assert [outcome.job for outcome in outcomes] == [None] * len(errors)
    return errors


def of_jobs(strategy: Any) -> Wait:
    """Gather the outcomes of many jobs."""

    async def wait(client: SieveClient, seconds: float) -> list[WaitTimeoutError]:
        return errors_of(await client.wait_for_jobs(IDS, strategy=strategy, timeout=seconds))

    return wait


async def of_iterator(client: SieveClient, seconds: float) -> list[WaitTimeoutError]:
    """Take the outcomes of many jobs one by one."""
    return errors_of([one async for one in client.as_completed(IDS, timeout=seconds)])


WAITS: dict[str, Wait] = {
    "job": of_job,
    "job, long_poll": of_job_by_long_polls,
    "version": of_version,
    "stream": of_stream,
    "jobs": of_jobs("poll"),
    "jobs, long_poll": of_jobs("long_poll"),
    "jobs, list": of_jobs("list"),
    "iterator": of_iterator,
}


async def wait_until_deadline(
    client: SieveClient, wait: Wait, seconds: float
) -> list[WaitTimeoutError]:
    """Wait until the deadline; check its time and its errors."""
    started, in_flight = now(), client.stats.in_flight

    errors = await wait(client, seconds)

    assert seconds - 1e-6 <= now() - started <= seconds + 0.1
    stats = client.stats
    assert (stats.waits, stats.queued, stats.in_flight) == (0, 0, in_flight)
    for error in errors:
        assert seconds - 1e-6 <= error.elapsed <= seconds + 0.1
        assert error.target in ([NAME] if wait is of_version else IDS)
    check_error(errors[0])
    return errors


def check_last(error: WaitTimeoutError, *, was_seen: bool) -> None:
    """Check that an error holds the last state if there was one."""
    last = error.last
    assert (last is not None) is was_seen
    assert error.polls >= was_seen
    if isinstance(last, Job):
        assert (last.id, last.status) == (error.target, "processing")
    if isinstance(last, FunctionVersion):
        assert error.target == NAME
        assert last.build_status == "building"
