"""Waiting with requests that the server holds, against a real server in virtual time."""

import pytest

from helpers.http_helpers import now
from sieve_async import (
    InvalidArgumentError,
    JobFailedError,
    JobStatus,
    Limits,
    NotFoundError,
    SieveClient,
    Timeout,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve


def paths(sieve: FakeSieve) -> list[str]:
    """The paths of all requests."""
    return [entry.path for entry in sieve.requests]


@pytest.mark.looptime
async def test_one_request(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that ends within ten minutes costs one request, and is delivered as it ends."""
    sieve.add_job("job", queued=50, processing=540, outputs=["done"])
    started = now()

    job = await client.wait_for_job("job", strategy="long_poll")

    assert now() - started == pytest.approx(590, abs=0.1)
    assert job.status is JobStatus.FINISHED
    assert [output.data for output in job.outputs] == ["done"]  # type: ignore[union-attr] # no list
    assert paths(sieve) == ["/v2/jobs/job/await"]


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
async def test_ten_minutes_are_over(sieve: FakeSieve, client: SieveClient) -> None:
    """When the server has held a request for ten minutes, it is asked again at once."""
    sieve.add_job("job", processing=1500)
    started = now()

    job = await client.wait_for_job("job", strategy="long_poll")

    assert job.succeeded
    assert now() - started == pytest.approx(1500, abs=0.2)
    assert paths(sieve) == ["/v2/jobs/job/await"] * 3
    assert [entry.at for entry in sieve.requests] == pytest.approx([0, 600, 1200], abs=0.2)


@pytest.mark.looptime
async def test_patience_outlasts_an_outage_limit(sieve: FakeSieve, client: SieveClient) -> None:
    """Answers of 408 for a day end no wait: they say that the job runs."""
    sieve.add_job("job", processing=86_400)

    job = await client.wait_for_job("job", strategy="long_poll")

    assert job.succeeded
    assert sieve.requests.total <= 150


@pytest.mark.looptime
async def test_attempt_timeout(sieve: FakeSieve) -> None:
    """The time that an attempt may take does not cut a request that is held."""
    sieve.add_job("job", processing=400)

    async with SieveClient(sieve.api_key, base_url=sieve.url, timeout=Timeout(request=2)) as client:
        job = await client.wait_for_job("job", strategy="long_poll")

    assert job.succeeded
    assert sieve.requests.total == 1


@pytest.mark.looptime
async def test_many(sieve: FakeSieve) -> None:
    """With slots enough, each of many costs one request and comes within 0.2 s of its end."""
    ends = {sieve.add_job(f"j{n}", processing=5 * n + 1): 5 * n + 1 for n in range(100)}
    started = now()
    late = []

    limits = Limits(max_connections=256)
    async with (
        SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client,
        client.as_completed(ends, strategy="long_poll") as outcomes,
    ):
        async for outcome in outcomes:
            assert outcome.ok
            late.append(now() - started - ends[outcome.job_id])

    assert len(late) == 100
    assert sum(late) / len(late) <= 0.2
    assert sieve.requests.total == 100


@pytest.mark.looptime
async def test_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """The deadline holds while a request is held, to a tenth of a second."""
    sieve.add_job("job", processing=3600)
    started = now()

    with pytest.raises(WaitTimeoutError) as caught:
        await client.wait_for_job("job", strategy="long_poll", timeout=700)

    assert 700 - 0.01 <= now() - started <= 700.1
    assert caught.value.target == "job"
    assert caught.value.elapsed == pytest.approx(700, abs=0.1)
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
async def test_not_found(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that does not exist is not found, at once, and costs two requests at the most."""
    sieve.add_job("there")

    with pytest.raises(NotFoundError):
        await client.wait_for_job("job", strategy="long_poll")
    [none, there] = await client.wait_for_jobs(["other", "there"], strategy="long_poll")

    assert isinstance(none.error, NotFoundError)
    assert there.ok
    assert sieve.requests_for("job") <= 2
    assert sieve.requests_for("other") <= 2
    assert sieve.requests_for("/v2/jobs/there/await") == 1  # still held requests for others
    assert now() < 1


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
