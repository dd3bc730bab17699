"""What errors keep alive: nothing of the calls in which they came up."""

import pytest

from helpers.raw_server import (
    JOB,
    Action,
    ScriptedServer,
    error_response,
    job_document,
    respond,
    serve,
)
from sieve_async import ConnectError, Job, Limits, ServerError, WaitTimeoutError

pytestmark = pytest.mark.looptime


async def test_last_error_of_a_wait() -> None:
    """The last error that a wait tells of holds no frames of the polls."""
    async with serve([Action.CLOSE]) as (_, client):
        with pytest.raises(WaitTimeoutError) as caught:
            await client.wait_for_job(JOB, timeout=30)

    assert isinstance(caught.value.last_error, ConnectError)
    assert caught.value.last_error.__traceback__ is None


async def test_last_errors_of_many() -> None:
    """Nor do those of many jobs, of which there may be thousands."""
    async with ScriptedServer(lambda _: error_response(500)) as stage, stage.client() as client:
        outcomes = await client.wait_for_jobs(["a", "b"], timeout=30)

    for outcome in outcomes:
        assert isinstance(outcome.error, WaitTimeoutError)
        assert outcome.error.__traceback__ is None
        assert isinstance(outcome.error.last_error, ServerError)
        assert outcome.error.last_error.__traceback__ is None


@pytest.mark.looptime
async def test_documents_of_pending_jobs() -> None:
    """Of the most recent 2,000 pending jobs the last document is kept, of the others the status."""
    server = ScriptedServer(lambda asked: respond(job_document(asked.job_id, note="x")))
    limits = Limits(polls_per_second=None)
    async with server, server.client(limits=limits) as client:
        outcomes = await client.wait_for_jobs([f"{place}" for place in range(2100)], timeout=5)

    errors = [one.error for one in outcomes if isinstance(one.error, WaitTimeoutError)]
    assert [error.last_status for error in errors] == ["processing"] * 2100
    kept = [error.last for error in errors if isinstance(error.last, Job)]
    assert sum("note" in job.extra for job in kept) == 2000
