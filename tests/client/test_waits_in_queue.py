"""Waits that queue for their turn in the poll rate, and what their errors say then."""

import asyncio

import pytest

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    job_json,
    respond,
)
from sieve_async import (
    AuthenticationError,
    Limits,
    PollPolicy,
    RateLimitError,
    ServerError,
    SieveClient,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


async def test_single_polls(sieve: FakeSieve) -> None:
    """With ``timeout=0`` each wait makes its poll, however late its turn comes."""
    ids = [sieve.add_job() for _ in range(500)]
    limits = Limits(polls_per_second=10)
    async with SieveClient(KEY, base_url=sieve.url, limits=limits) as client:
        jobs = await asyncio.gather(*(client.wait_for_job(job_id, timeout=0) for job_id in ids))

        assert [job.id for job in jobs] == ids
        assert all(job.succeeded for job in jobs)


async def test_single_poll_in_a_pause(sieve: FakeSieve, client: SieveClient) -> None:
    """With ``timeout=0`` a wait does not outlast a pause of an hour, and says so."""
    sieve.fault(status=429, retry_after=3600, times=1)
    job_id = sieve.add_job()
    with pytest.raises(RateLimitError):
        await client.get_job(job_id)

    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_for_job(job_id, timeout=0)

    assert isinstance(caught.value.last_error, RateLimitError)
    assert caught.value.polls == 0
    assert now() < 1


async def test_evidence_of_queued_waits(sieve: FakeSieve) -> None:
    """The last error of a wait is kept while it queues, and a poll that was not sent is none."""
    ids = [sieve.add_job(processing=60) for _ in range(300)]
    sieve.fault(status=503)
    limits = Limits(polls_per_second=10)
    async with SieveClient(KEY, base_url=sieve.url, limits=limits) as client:
        waits = (client.wait_for_job(job_id, timeout=20) for job_id in ids)
        errors = await asyncio.gather(*waits, return_exceptions=True)

    asked = {request.path.split("/")[3] for request in sieve.requests}
    assert 100 < len(asked) < 250
    for job_id, error in zip(ids, errors, strict=True):
        assert isinstance(error, WaitTimeoutError)
        assert isinstance(error.last_error, ServerError) == (job_id in asked)
        assert bool(error.polls) == (job_id in asked)


async def test_stale_connection_in_a_pause() -> None:
    """A dead connection is not tried again during a pause: that would outlast the deadline."""

    def reply(request: RawRequest) -> Script:
        if request.job_id == "busy":
            return respond(b"{}", status=429, headers=[("Retry-After", "600")])
        if request.at < 1:
            return respond(job_json(status="processing"))
        return [0.1, Action.CLOSE] if request.at < 500 else respond()

    async with ScriptedServer(reply) as server, server.client() as client:
        wait = asyncio.create_task(client.wait_for_job(JOB, timeout=20, polling=_EVERY_5_S))
        await asyncio.sleep(5.05)
        with pytest.raises(RateLimitError):
            await client.get_job("busy")

        with pytest.raises(WaitTimeoutError):
            await wait

        assert now() <= 20.1


_EVERY_5_S = PollPolicy(min_interval=5, max_interval=5, jitter=0)


async def test_passing_401() -> None:
    """Each job has confirmations of its own, also where others were rejected for long."""
    ids = [f"job-{number}" for number in range(100)]

    def reply(request: RawRequest) -> Script:
        if request.times == 0:
            return respond(job_json(id=request.job_id, status="processing"))
        if request.times == 1 and int(request.job_id[4:]) % 2:
            return error_response(401)
        return respond(job_json(id=request.job_id))

    policy = PollPolicy(min_interval=30, max_interval=30)
    async with ScriptedServer(reply) as server, server.client(polling=policy) as client:
        outcomes = await client.wait_for_jobs(ids)
    assert all(outcome.ok for outcome in outcomes)


async def test_lasting_401(sieve: FakeSieve, client: SieveClient) -> None:
    """A revoked key ends all jobs, each after two confirmations."""
    ids = [sieve.add_job(processing=3600) for _ in range(100)]
    watch = asyncio.create_task(client.wait_for_jobs(ids))
    await asyncio.sleep(60)
    sieve.revoke_key()

    outcomes = await watch

    assert {type(outcome.error) for outcome in outcomes} == {AuthenticationError}
    assert sieve.requests.by_status[401] == 3 * len(ids)
    assert now() <= 80
