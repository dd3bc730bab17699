"""Waiting with requests that the server holds, against a real server in virtual time."""

import pytest

from helpers.http_helpers import now
from sieve_async import InvalidArgumentError, JobFailedError, Limits, SieveClient, WaitTimeoutError
from sieve_async.testing import FakeSieve


def paths(sieve: FakeSieve) -> list[str]:
    """The paths of all requests."""
    return [entry.path for entry in sieve.requests]


@pytest.mark.looptime
async def test_ended_before(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that has ended already costs one request and no time, whichever way it ended."""
    sieve.add_job("good")
    sieve.add_job("bad", status="error", error="boom")
    started = now()

    good = await client.wait_for_job("good", strategy="long_poll", check=True)
    with pytest.raises(JobFailedError, match="boom"):
        await client.wait_for_job("bad", strategy="long_poll", check=True)

    assert good.succeeded
    assert now() == pytest.approx(started, abs=0.1)
    assert sieve.requests.total == 2


@pytest.mark.looptime
async def test_deadline_of_many(sieve: FakeSieve) -> None:
    """The deadline of many holds for those that are held and those that are polled."""
    ids = [sieve.add_job(processing=3600) for _ in range(20)]
    ended = sieve.add_job(processing=10)
    started = now()

    limits = Limits(max_connections=8)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        outcomes = await client.wait_for_jobs([*ids, ended], strategy="long_poll", timeout=60)

    assert 60 - 0.01 <= now() - started <= 60.1
    assert all(isinstance(outcome.error, WaitTimeoutError) for outcome in outcomes[:-1])
    assert outcomes[-1].ok


@pytest.mark.looptime
async def test_one_look(sieve: FakeSieve, client: SieveClient) -> None:
    """A timeout of zero is one plain look, which nobody holds."""
    sieve.add_job("ended")
    sieve.add_job("running", processing=100)
    started = now()

    ended = await client.wait_for_job("ended", strategy="long_poll", timeout=0)
    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_for_job("running", strategy="long_poll", timeout=0)
    many = await client.wait_for_jobs(["ended", "running"], strategy="long_poll", timeout=0)

    assert ended.succeeded
    assert caught.value.last is not None
    assert [outcome.ok for outcome in many] == [True, False]
    assert now() == pytest.approx(started, abs=0.1)
    assert sorted(paths(sieve)) == ["/v2/jobs/ended"] * 2 + ["/v2/jobs/running"] * 2


@pytest.mark.looptime
async def test_updates(sieve: FakeSieve, client: SieveClient) -> None:
    """``on_update`` gets the states that are seen, the last of them the end, and none twice."""
    sieve.add_job("job", queued=30, processing=900, outputs=["a", "b"], streams=True)
    told: list[tuple[str, int]] = []

    job = await client.wait_for_job(
        "job", strategy="long_poll", on_update=lambda j: told.append((j.status, len(j.outputs)))
    )

    assert told[-1] == ("finished", 2)
    assert len(told) == len(set(told))
    assert len(job.outputs) == 2


async def test_unknown_strategies(sieve: FakeSieve, client: SieveClient) -> None:
    """A strategy that a call does not know is refused at the call."""
    with pytest.raises(InvalidArgumentError, match="strategy"):
        await client.wait_for_job("job", strategy="list")  # type: ignore[arg-type] # the point
    with pytest.raises(InvalidArgumentError, match="strategy"):
        client.as_completed(["job"], strategy="push")  # type: ignore[arg-type] # the point

    assert not sieve.requests
