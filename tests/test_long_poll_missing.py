"""Servers that cannot hold a request, and jobs that are not there: both may say 404."""

import pytest
from test_long_poll_stage import Asked, Stage, document, now, warnings_of
from wire import Do, Script, answer, failure_of

from sieve_async import Limits, NotFoundError


@pytest.mark.looptime
@pytest.mark.parametrize("status", [404, 405, 501])
async def test_no_such_endpoint(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Where requests cannot be held, jobs are polled, and one line says so for all of a client."""
    ends = {f"j{n}": 30.0 + n for n in range(40)}

    async def play(asked: Asked) -> Script:
        if asked.is_await:
            return answer({"detail": "Not Found"}, status=status)
        return answer(
            document(asked.job_id, "finished" if now() >= ends[asked.job_id] else "queued")
        )

    async with Stage(play) as stage, stage.client(limits=Limits(max_in_flight=16)) as client:
        first = await client.wait_for_jobs(ends, strategy="long_poll")
        before = len(stage.awaits())
        second = await client.wait_for_job("j0", strategy="long_poll")
        third = await client.wait_for_jobs(ends, strategy="long_poll")

    assert all(outcome.ok for outcome in (*first, *third))
    assert second.is_finished
    assert len(warnings_of(caplog)) == 1
    assert before <= 40  # those that were asked for before the first answer was understood
    assert len(stage.awaits()) == before
    assert len(stage.looks()) <= 40 * 65


@pytest.mark.looptime
@pytest.mark.parametrize("status", [404, 405, 501])
async def test_no_such_endpoint_for_a_thousand(status: int) -> None:
    """That the endpoint is missing is found out with some requests, not with one for each job."""

    async def play(asked: Asked) -> Script:
        return (
            answer(status=status) if asked.is_await else answer(document(asked.job_id, "finished"))
        )

    async with Stage(play) as stage, stage.client() as client:
        ids = [f"j{n}" for n in range(1000)]
        outcomes = await client.wait_for_jobs(ids, strategy="long_poll")

    assert all(outcome.ok for outcome in outcomes)
    assert len(stage.awaits()) <= 64
    assert len(stage.looks()) <= 1000
    assert now() <= 12


@pytest.mark.looptime
@pytest.mark.parametrize("status", [404, 405, 501])
async def test_fallback_costs_no_time(status: int) -> None:
    """The first plain look follows at once when the endpoint is missing."""

    async def play(asked: Asked) -> Script:
        return answer(status=status) if asked.is_await else answer(document("job", "finished"))

    async with Stage(play) as stage, stage.client() as client:
        job = await client.wait_for_job("job", strategy="long_poll")

    assert job.is_finished
    assert now() < 0.1
    assert len(stage.asked) == 2


@pytest.mark.looptime
async def test_job_that_vanishes(caplog: pytest.LogCaptureFixture) -> None:
    """A job that was seen and is gone is not found, after two more looks; the endpoint is fine."""

    async def play(asked: Asked) -> Script:
        if asked.job_id == "other":
            return [50.0, *answer(document("other", "finished"))]
        if now() >= 20:
            return answer({"detail": "Job not found"}, status=404)
        return [20.0, Do.FIN] if asked.is_await else answer(document("job"))

    async with Stage(play) as stage, stage.client() as client:
        error = await failure_of(client.wait_for_job("job", strategy="long_poll"))
        gone_at = now()
        other = await client.wait_for_job("other", strategy="long_poll")

    assert isinstance(error, NotFoundError)
    assert gone_at <= 40
    assert other.is_finished
    assert stage.asked[-1].is_await
    assert not [line for line in warnings_of(caplog) if "endpoint" in line]
