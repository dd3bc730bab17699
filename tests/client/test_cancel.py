"""``cancel_job``."""

import pytest

from helpers.raw_server import respond, serve
from sieve_async import (
    InvalidArgumentError,
    JobNotCancellableError,
    NotFoundError,
    PermissionDeniedError,
    SieveClient,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


async def test_a_running_job(sieve: FakeSieve, client: SieveClient) -> None:
    """A running job is cancelled, and returned as it is then."""
    sieve.add_job("j", processing=60)

    job = await client.cancel_job("j")

    assert (job.id, job.cancelled) == ("j", True)
    assert [request.method for request in sieve.requests] == ["DELETE", "GET"]


async def test_a_job_that_is_over(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that is over already is returned as it ended."""
    sieve.add_job("j", outputs=["done"])

    assert (await client.cancel_job("j")).data == ("done",)


async def test_a_job_that_cannot_be_cancelled(sieve: FakeSieve, client: SieveClient) -> None:
    """A refusal of a job that is not over is an error that holds the job."""
    sieve.add_job("j", queued=60)
    sieve.fault(method="DELETE", status=400)

    with pytest.raises(JobNotCancellableError) as raised:
        await client.cancel_job("j")

    assert raised.value.job.status == "queued"
    assert len(sieve.requests) == 2


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b"null"])
async def test_answers_without_an_object(body: bytes) -> None:
    """What stands in the answer to a cancellation is of no interest: the job is looked up."""
    cancelled = respond({"id": "j", "status": "cancelled"})
    async with serve(respond(body), cancelled) as (_, client):
        job = await client.cancel_job("j")

    assert job.cancelled


async def test_it_is_retried(sieve: FakeSieve, client: SieveClient) -> None:
    """Cancelling twice is cancelling once: what may pass is tried again."""
    sieve.add_job("j", processing=60)
    sieve.fault(method="DELETE", status=503, times=1)
    sieve.fault(method="DELETE", drop="after", times=1)

    assert (await client.cancel_job("j")).cancelled


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422])
async def test_other_refusals(sieve: FakeSieve, client: SieveClient, status: int) -> None:
    """Any other refusal is raised as it is."""
    sieve.add_job("j", processing=60)
    sieve.fault(method="DELETE", status=status)

    with pytest.raises(Exception, match=str(status)) as raised:
        await client.cancel_job("j")

    assert len(sieve.requests) == 1
    if status == 403:
        assert type(raised.value) is PermissionDeniedError


async def test_unknown_and_invalid_ids(sieve: FakeSieve, client: SieveClient) -> None:
    """An unknown job is not found; an invalid id is never sent."""
    with pytest.raises(NotFoundError):
        await client.cancel_job("unknown")
    sent = len(sieve.requests)
    with pytest.raises(InvalidArgumentError):
        await client.cancel_job("../push")
    assert len(sieve.requests) == sent
