"""Many jobs through bad times: failing answers, outages, a revoked key; nothing is lost."""

import asyncio
import random
from collections import Counter

import pytest

from helpers.asserts import assert_idle, ids_of
from helpers.http_helpers import now
from helpers.leak_checks import KEY, check_error
from helpers.raw_server import (
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    running_job,
)
from sieve_async import (
    AuthenticationError,
    Limits,
    PollPolicy,
    ServerError,
    SieveClient,
)
from sieve_async.testing import FakeSieve


@pytest.mark.looptime
@pytest.mark.parametrize("bad", ["500", "cut", "half", "no json", "other id"])
async def test_one_in_twenty_fails(bad: str) -> None:
    """With one answer in twenty failing, each job has its one right outcome."""
    chance = random.Random(20)
    scripts: dict[str, Script] = {
        "500": error_response(500),
        "cut": [Action.RESET],
        "half": [
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            b'{"status": "fin',
            Action.CLOSE,
        ],
        "no json": [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{{{"],
        "other id": finished_job("somebody"),
    }
    ids = [f"job-{number}" for number in range(400)]

    def reply(asked: RawRequest) -> Script:
        if chance.random() < 0.05:
            return scripts[bad]
        return finished_job(asked.job_id) if asked.times >= 5 else running_job(asked.job_id)

    async with ScriptedServer(reply) as stage, stage.client() as client:
        seen = [outcome async for outcome in client.as_completed(ids)]

        assert Counter(ids_of(seen)) == Counter(ids)
        assert [outcome.result().id for outcome in seen] == ids_of(seen)
        assert client.stats.retries == 0
        assert len(stage.requests) == client.stats.requests <= 1.15 * 6 * 400


@pytest.mark.looptime
async def test_all_end_in_one_second(sieve: FakeSieve) -> None:
    """Hundreds of jobs that all end in one second are all handed out, once."""
    ids = [sieve.add_job(f"{number}", processing=30 + number / 500) for number in range(500)]
    limits = Limits(polls_per_second=None)
    async with SieveClient(KEY, base_url=sieve.url, limits=limits) as client:
        policy = PollPolicy(min_interval=5, max_interval=10)
        seen = [outcome async for outcome in client.as_completed(ids, polling=policy)]

    assert Counter(ids_of(seen)) == Counter(ids)
    assert all(outcome.ok for outcome in seen)


@pytest.mark.looptime
async def test_never_reachable(sieve: FakeSieve, client: SieveClient) -> None:
    """A server that only fails ends each job with its error, once ``outage_timeout`` is over."""
    policy = PollPolicy(outage_timeout=60)
    ids = [f"{number}" for number in range(100)]
    sieve.fault(status=503, body={"detail": f"no, and {KEY} is your key"})
    started = now()

    outcomes = await client.wait_for_jobs(ids, polling=policy)

    assert 60 <= now() - started <= 75
    for outcome in outcomes:
        assert isinstance(outcome.error, ServerError)
        assert KEY not in repr(outcome) + str(outcome.error)


@pytest.mark.looptime
async def test_wrong_key(sieve: FakeSieve) -> None:
    """A key that was never right ends each job at its first look."""
    ids = [sieve.add_job(f"{number}", processing=600) for number in range(150)]
    async with SieveClient("some-other-key", base_url=sieve.url) as client:
        outcomes = await client.wait_for_jobs(ids)

    assert all(isinstance(outcome.error, AuthenticationError) for outcome in outcomes)
    assert len(sieve.requests) <= 150


@pytest.mark.looptime
async def test_revoked_key(sieve: FakeSieve, client: SieveClient) -> None:
    """A key that is revoked in between ends all jobs with ``AuthenticationError``."""
    ids = [sieve.add_job(f"{number}", processing=3600) for number in range(300)]
    waiting = asyncio.create_task(client.wait_for_jobs(ids))
    await asyncio.sleep(60)
    sieve.revoke_key()
    revoked = now()

    outcomes = await waiting

    assert now() - revoked <= 30
    for outcome in outcomes:
        assert isinstance(outcome.error, AuthenticationError)
        check_error(outcome.error)
    assert_idle(client)


@pytest.mark.looptime
async def test_one_stale_refusal() -> None:
    """One 401 from a replica that lags ends nobody's wait."""

    def reply(asked: RawRequest) -> Script:
        if asked.times == 3:
            return error_response(401)
        return finished_job(asked.job_id) if asked.times > 5 else running_job(asked.job_id)

    ids = [f"{number}" for number in range(50)]
    async with ScriptedServer(reply) as stage, stage.client() as client:
        outcomes = await client.wait_for_jobs(ids)

    assert all(outcome.ok for outcome in outcomes)
