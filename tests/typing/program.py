"""A user's program: type-checked by ``mypy --strict tests``, never run.

The ignored errors are promises too: mypy complains about an ignore that ignores nothing.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any, assert_type

from sieve_async import (
    BuildStatus,
    File,
    Function,
    FunctionVersion,
    InputOutput,
    Job,
    JobFailedError,
    JobOutcome,
    JobStatus,
    JobWatch,
    Limits,
    OutcomeList,
    PollPolicy,
    RateLimitError,
    RetryPolicy,
    SieveClient,
    Stats,
    Timeout,
    WaitTimeoutError,
)


def on_job(job: Job) -> None:
    """Take what a wait for a job has seen."""
    assert_type(job.status, JobStatus)


async def on_version(version: FunctionVersion) -> None:
    """Take what a wait for a build has seen; coroutine functions will do as well."""
    assert_type(version.build_status, BuildStatus)


async def look_up(client: SieveClient) -> None:
    """Both lookups say what they return."""
    job = await client.get_job("id", offset=2)
    assert_type(job, Job)
    version = await client.get_version("sieve", "dubbing")
    assert_type(version, FunctionVersion)
    assert_type(await client.get_version("sieve/dubbing:latest"), FunctionVersion)
    assert_type(job.raise_for_status(), Job)
    assert_type(version.raise_for_status(), FunctionVersion)


async def wait(client: SieveClient) -> None:
    """Both waits say what they return, and take a number of seconds or a timedelta."""
    job = await client.wait_for_job("id", timeout=3600, on_update=on_job, check=True)
    assert_type(job, Job)
    version = await client.wait_until_ready(
        "sieve", "dubbing", "latest", timeout=timedelta(hours=1), on_update=on_version
    )
    assert_type(version, FunctionVersion)


async def watch(client: SieveClient, more: AsyncIterator[str]) -> None:
    """Watching many jobs takes ids from anywhere, and says what it hands out."""
    async with client.as_completed(["id"], strategy="list") as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, JobOutcome)
            assert_type(outcome.result(), Job)
    assert_type(client.as_completed(more, timeout=60), JobWatch)
    assert_type(await client.wait_for_jobs({"id"}, strategy="long_poll"), OutcomeList)
    async for output in client.stream_outputs("id", on_restart="continue"):
        assert_type(output, InputOutput | tuple[InputOutput, ...])
    client.as_completed(["id"], strategy="guess")  # type: ignore[arg-type] # no such strategy


def use(value: object) -> None:
    """Take anything."""


def read_outcome(outcome: JobOutcome) -> None:
    """An outcome that is ok has a job, without another check, and its attributes are known."""
    if outcome.ok:
        use(outcome.job.data)
        assert_type(outcome.job.id, str | Any)
        use(outcome.job.dta)  # type: ignore[union-attr] # mistakes are found
    elif outcome.error is not None:
        raise outcome.error
    assert_type(outcome.result(), Job)
    assert_type(outcome.status, str)
    assert_type(JobOutcome.from_dict(outcome.to_dict()), JobOutcome)


def read(job: Job) -> None:
    """What a job holds is typed as far as the API documents it."""
    assert_type(job.id, str)
    assert_type(job.error, str | None)
    assert_type(job.function, Function | None)
    assert_type(job.created_at, datetime | None)
    assert_type(job.queue_duration, timedelta | None)
    assert_type(job.succeeded, bool)
    assert_type(job.inputs, Mapping[str, InputOutput])
    assert_type(job.outputs, tuple[InputOutput | tuple[InputOutput, ...], ...])
    for value in job.data:
        use(value)
    for file in job.files:
        assert_type(file, File)
        assert_type(file.expires_at, datetime | None)
    assert_type(job.is_terminal, bool)
    assert_type({job: job.id}, dict[Job, str])
    assert_type(Job.from_dict(job.to_dict()), Job)
    assert_type(job.extra, Mapping[str, Any])


async def main() -> None:
    """Whatever a newcomer writes first type-checks."""
    async with SieveClient(
        timeout=Timeout(connect=5, request=None),
        retry=RetryPolicy(max_attempts=2),
        polling=PollPolicy(max_interval=30),
        limits=Limits(max_connections=8),
    ) as client:
        assert_type(client, SieveClient)
        assert_type(client.stats, Stats)
        await look_up(client)
        try:
            await wait(client)
        except WaitTimeoutError as error:
            assert_type(error.last, Job | FunctionVersion | None)
        except JobFailedError as error:
            assert_type(error.job, Job)
        except RateLimitError as error:
            assert_type(error.retry_after, float | None)


async def mistakes(client: SieveClient, job: Job) -> None:
    """What cannot work does not type-check."""
    await client.get_job(7)  # type: ignore[arg-type]
    await client.wait_for_job("id", on_update=on_version)  # type: ignore[arg-type]
    await client.wait_until_ready(("sieve", "dubbing"))  # type: ignore[arg-type]
    Timeout(30)  # type: ignore[call-arg]
    job.status = JobStatus.FINISHED  # type: ignore[misc]
    client.get_job("forgotten")  # type: ignore[unused-coroutine]
