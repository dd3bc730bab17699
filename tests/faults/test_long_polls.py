"""Long polls that are cut, that no endpoint answers, or whose responses are wrong."""

import json
from typing import Any

import pytest

from helpers.asserts import max_per_second, warnings_of
from helpers.http_helpers import now
from helpers.leak_checks import error_of
from helpers.raw_server import (
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_document,
    job_until,
    respond,
    running_job,
)
from sieve_async import (
    Job,
    NotFoundError,
    PollPolicy,
    RequestTimeoutError,
    RetryPolicy,
    SieveClient,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime
both = pytest.mark.parametrize("many", [True, False])


async def wait(client: SieveClient, job_id: str = "job", *, many: bool = False) -> Job:
    """Wait for a job by long polls, in a watch or alone."""
    if not many:
        return await client.wait_for_job(job_id, strategy="long_poll")
    [outcome] = await client.wait_for_jobs([job_id], strategy="long_poll")
    return outcome.result()


def data_of(job: Job) -> list[Any]:
    """The data of the outputs."""
    return [getattr(output, "data", None) for output in job.outputs]


HALF = json.dumps(job_document("job", "finished")).encode()
CUTS: dict[str, Script] = {
    "504": respond(b"<html>504 Gateway Time-out</html>", status=504),
    "closed": [Action.CLOSE],
    "reset": [Action.RESET],
    "half a response": respond(HALF, Action.CLOSE, length=len(HALF) + 1),
}


@both
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
async def test_cut_every_minute(cut: Script, *, many: bool) -> None:
    """A proxy that cuts each request after a minute ends no wait, however long it does so."""

    def reply(request: RawRequest) -> Script:
        if not request.is_await:
            return job_until(1830)
        left = 1830 - now()
        return [max(0.0, left), *finished_job("job")] if left <= 60 else [60.0, *cut]

    policy = PollPolicy(outage_timeout=300)
    async with ScriptedServer(reply) as server, server.client(polling=policy) as client:
        job = await wait(client, many=many)
    assert data_of(job) == ["of job"]
    assert 1830 <= now() <= 1831
    assert len(server.requests) <= 2 * 31 + 2
    assert max_per_second(server.times) <= 3


async def test_timeout_of_the_plain_poll() -> None:
    """The plain poll after a cut has the timeout of a request, not that of a long poll."""
    settings: dict[str, Any] = {
        "polling": PollPolicy(outage_timeout=200),
        "retry": RetryPolicy(max_attempts=1),
    }
    server = ScriptedServer(
        lambda request: [Action.CLOSE] if request.is_await else [Action.SILENCE]
    )
    async with server, server.client(**settings) as client:
        error = await error_of(wait(client))
    assert isinstance(error, RequestTimeoutError)
    assert now() <= 200 + 60 + 30 + 1


async def test_closed_idle_connection() -> None:
    """A long poll on a connection that the server had closed is repeated at once."""

    def reply(request: RawRequest) -> Script:
        if not request.is_await:
            return running_job("job")
        return [Action.CLOSE] if request.number == 2 else [30.0, *finished_job("job")]

    slow = PollPolicy(min_interval=10, max_interval=10, jitter=0)
    async with ScriptedServer(reply) as server, server.client(polling=slow) as client:
        await client.get_job("job")
        await wait(client)
    assert server.requests[0].connection == server.requests[1].connection
    assert server.requests[2].at - server.requests[1].at <= 0.1


async def test_missing_endpoint(sieve: FakeSieve, client: SieveClient) -> None:
    """That the endpoint is missing costs some requests, not one for each job."""
    ids = [sieve.add_job() for _ in range(300)]
    missing = sieve.fault(path="/v2/jobs/*/await", status=404)
    outcomes = await client.wait_for_jobs(ids, strategy="long_poll")
    assert all(outcome.ok for outcome in outcomes)
    assert missing.hits <= 64
    assert sieve.requests.total - missing.hits <= 300
    assert now() <= 5


async def test_job_that_vanishes(caplog: pytest.LogCaptureFixture) -> None:
    """A job that is gone is not found, after two more polls; the endpoint is not blamed."""

    def reply(request: RawRequest) -> Script:
        if request.job_id == "other":
            return [50.0, *finished_job("other")]
        if now() >= 20:
            return error_response(404)
        return [20.0, Action.CLOSE] if request.is_await else running_job("job")

    async with ScriptedServer(reply) as server, server.client() as client:
        error = await error_of(wait(client))
        gone_at = now()
        other = await wait(client, "other")
    assert isinstance(error, NotFoundError)
    assert gone_at <= 40
    assert other.succeeded
    assert server.requests[-1].is_await
    assert not [line for line in warnings_of(caplog) if "endpoint" in line]


async def test_early_responses() -> None:
    """An endpoint that answers at once although the job runs gets no more requests than polls."""
    server = ScriptedServer(lambda request: job_until(300, request.job_id))
    async with server, server.client() as client:
        job = await wait(client)
    assert job.succeeded
    assert now() <= 300 + 12.5
    # At the shortest intervals: 27 in ten seconds, 82 until 200 s (each 3.75 % later), then 14.
    assert len(server.requests) <= 27 + 82 + 14 + 1
    assert max_per_second(server.times) <= 3
