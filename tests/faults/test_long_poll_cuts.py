"""Held requests that end in between: by the server, by a proxy, on the way."""

import asyncio
import json

import pytest

from helpers.asserts import max_per_second
from helpers.http_helpers import now
from helpers.leak_checks import error_of
from helpers.raw_server import (
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    finished_job,
    job_document,
    job_until,
    respond,
    running_job,
)
from sieve_async import (
    JobStatus,
    PollPolicy,
    RequestTimeoutError,
    RetryPolicy,
    SieveClient,
    TransportError,
)
from sieve_async.testing import FakeSieve

GATEWAY = respond(b"<html>504 Gateway Time-out</html>", status=504)
HALF = json.dumps(job_document("job", "finished")).encode()
CUTS: dict[str, Script] = {
    "504": GATEWAY,
    "FIN": [Action.CLOSE],
    "RST": [Action.RESET],
    "half an answer that says finished": respond(HALF, Action.CLOSE, length=len(HALF) + 1),
    "half an answer, reset": respond(HALF[:30], Action.RESET, length=len(HALF)),
    "headers only": [b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n", Action.CLOSE],
    "not HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n", Action.CLOSE],
}
AWAITS = "/v2/jobs/*/await"
every_cut = pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)


@pytest.mark.looptime
@every_cut
async def test_cut_every_minute_for_two_hours(cut: Script) -> None:
    """A proxy that cuts each request after a minute ends no wait, however long that goes on."""

    def reply(asked: RawRequest) -> Script:
        if not asked.is_await:
            return job_until(7230)
        left = 7230 - now()
        if left <= 60:
            return [max(0.0, left), *finished_job("job")]
        return [60.0, *cut]

    policy = PollPolicy(outage_timeout=300)
    async with ScriptedServer(reply) as stage, stage.client(polling=policy) as client:
        job = await client.wait_for_job("job", strategy="long_poll")

    assert job.status is JobStatus.FINISHED
    assert [output.data for output in job.outputs] == ["of job"]  # type: ignore[union-attr] # one
    assert 7230 <= now() <= 7231
    assert len(stage.requests) <= 2 * 121 + 2
    assert max_per_second(stage.times) <= 3


@pytest.mark.looptime
@every_cut
async def test_cut_every_minute_for_many(cut: Script) -> None:
    """The same holds for many: each ends once, and the truth is delivered."""
    ends = {f"j{n}": 400.0 + 10 * n for n in range(8)}

    def reply(asked: RawRequest) -> Script:
        if asked.is_await:
            return [60.0, *cut]
        return job_until(ends[asked.job_id], asked.job_id)

    policy = PollPolicy(outage_timeout=200)
    async with ScriptedServer(reply) as stage, stage.client(polling=policy) as client:
        outcomes = await client.wait_for_jobs(ends, strategy="long_poll")

    assert [outcome.result().id for outcome in outcomes] == list(ends)
    assert now() <= 470 + 61
    assert len(stage.requests) <= len(ends) * 2 * 10


@pytest.mark.looptime
@pytest.mark.parametrize("status", [408, 500, 502, 504])
async def test_refused_at_once_for_many(sieve: FakeSieve, client: SieveClient, status: int) -> None:
    """Nor does an endpoint that fails at once for many jobs: lookups find their ends."""
    ids = [sieve.add_job(processing=60 + 10 * n) for n in range(20)]
    refused = sieve.fault(path=AWAITS, status=status, body={"detail": "no"})

    outcomes = await client.wait_for_jobs(ids, strategy="long_poll", timeout=1000)

    assert refused.hits <= 20 * 190  # as polls in the whole time
    if status != 408:  # it says that the job runs, and nobody but the endpoint can know better
        assert all(outcome.ok for outcome in outcomes)
        assert now() <= 250 + 2 * 12.5 + 1


@pytest.mark.looptime
async def test_down_for_good() -> None:
    """When held requests and lookups fail alike, ``outage_timeout`` ends the wait."""

    def reply(_: RawRequest) -> Script:
        return [Action.RESET]

    policy = PollPolicy(outage_timeout=600)
    async with ScriptedServer(reply) as stage, stage.client(polling=policy) as client:
        error = await error_of(client.wait_for_job("job", strategy="long_poll"))

    assert isinstance(error, TransportError)
    assert 600 <= now() <= 661
    assert max_per_second(stage.times) <= 6


@pytest.mark.looptime
async def test_deadline_while_cut(sieve: FakeSieve, client: SieveClient) -> None:
    """The deadline holds whatever is cut, and the error holds what was seen last."""
    sieve.add_job("job", processing=3600)
    sieve.fault(path=AWAITS, delay=7, drop="before")

    error = await error_of(client.wait_for_job("job", strategy="long_poll", timeout=50))

    assert 50 - 0.01 <= now() <= 50.1
    assert getattr(error, "last").status == "processing"  # noqa: B009 - of one class only


@pytest.mark.looptime
async def test_closed_idle_connection() -> None:
    """A connection that the server had closed while it was idle is no reason to wait for long."""
    dead: set[int] = set()

    def reply(asked: RawRequest) -> Script:
        if asked.is_await and not dead:
            dead.add(1)
            return [Action.CLOSE]  # the first request was answered on this connection
        if asked.is_await:
            return [30.0, *finished_job("job")]
        return running_job("job")

    slow = PollPolicy(min_interval=10, max_interval=10, jitter=0)
    async with ScriptedServer(reply) as stage, stage.client(polling=slow) as client:
        await client.get_job("job")
        await client.wait_for_job("job", strategy="long_poll")

    assert stage.requests[0].connection == stage.requests[1].connection
    assert stage.requests[2].at - stage.requests[1].at <= 0.1


@pytest.mark.looptime
async def test_unheld_lookup_takes_no_ten_minutes() -> None:
    """The look that settles a cut is a plain one: the time of an attempt binds it again."""

    def reply(asked: RawRequest) -> Script:
        return [Action.CLOSE] if asked.is_await else [Action.SILENCE]

    policy = PollPolicy(outage_timeout=200)
    once = RetryPolicy(max_attempts=1)
    async with ScriptedServer(reply) as stage, stage.client(polling=policy, retry=once) as client:
        error = await error_of(client.wait_for_job("job", strategy="long_poll"))

    assert isinstance(error, RequestTimeoutError)
    assert now() <= 200 + 60 + 30 + 1
    await asyncio.sleep(0)
