"""Servers that cannot hold a request, and jobs that are not there: both may say 404."""

import pytest

from helpers.asserts import warnings_of
from helpers.http_helpers import now
from helpers.leak_checks import error_of
from helpers.raw_server import (
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    running_job,
)
from sieve_async import NotFoundError, SieveClient
from sieve_async.testing import FakeSieve

AWAITS = "/v2/jobs/*/await"


@pytest.mark.looptime
@pytest.mark.parametrize("status", [404, 405, 501])
async def test_no_such_endpoint_for_a_thousand(
    sieve: FakeSieve, client: SieveClient, status: int
) -> None:
    """That the endpoint is missing is found out with some requests, not with one for each job."""
    ids = [sieve.add_job() for _ in range(1000)]
    missing = sieve.fault(path=AWAITS, status=status)

    outcomes = await client.wait_for_jobs(ids, strategy="long_poll")

    assert all(outcome.ok for outcome in outcomes)
    assert missing.hits <= 64
    assert sieve.requests.total - missing.hits <= 1000
    assert now() <= 12


@pytest.mark.looptime
async def test_job_that_vanishes(caplog: pytest.LogCaptureFixture) -> None:
    """A job that was seen and is gone is not found, after two more looks; the endpoint is fine."""

    def reply(asked: RawRequest) -> Script:
        if asked.job_id == "other":
            return [50.0, *finished_job("other")]
        if now() >= 20:
            return error_response(404)
        return [20.0, Action.CLOSE] if asked.is_await else running_job("job")

    async with ScriptedServer(reply) as stage, stage.client() as client:
        error = await error_of(client.wait_for_job("job", strategy="long_poll"))
        gone_at = now()
        other = await client.wait_for_job("other", strategy="long_poll")

    assert isinstance(error, NotFoundError)
    assert gone_at <= 40
    assert other.succeeded
    assert stage.requests[-1].is_await
    assert not [line for line in warnings_of(caplog) if "endpoint" in line]
