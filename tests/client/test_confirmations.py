"""Rejections: confirmed after a good answer, final without one, transient after a push."""

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from helpers.http_helpers import now
from helpers.raw_server import RawRequest, Script, ScriptedServer, job_document, respond
from sieve_async import AuthenticationError, Job, NotFoundError, SieveClient, SieveError
from sieve_async.testing import FakeSieve

HTML = b"<html><h1>Request blocked</h1></html>"
STATUSES = [400, 401, 402, 403, 404, 406, 409, 410, 422]


def answer(request: RawRequest, ends_at: float) -> Script:
    """A job that finishes at some time."""
    return respond(job_document(request.job_id, "finished" if now() >= ends_at else "processing"))


@pytest.mark.looptime
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("many", [False, True])
async def test_block_in_passing(status: int, *, many: bool) -> None:
    """Two seconds of rejections in the middle cost no healthy wait."""

    def reply(request: RawRequest) -> Script:
        if 10 <= now() < 12:
            return respond(HTML, status=status)
        return answer(request, 40)

    ids = [f"j{n}" for n in range(12)]
    async with ScriptedServer(reply) as server, server.client() as client:
        if many:
            outcomes = await client.wait_for_jobs(ids)
            assert all(outcome.ok for outcome in outcomes)
        else:
            jobs = await asyncio.gather(*map(client.wait_for_job, ids))
            assert all(job.succeeded for job in jobs)
    assert any(10 <= at < 12 for at in server.times)


@pytest.mark.looptime
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("many", [False, True])
async def test_lasting_rejection(status: int, *, many: bool) -> None:
    """It ends the wait after two more polls, each at least 2.5 s later."""

    def reply(request: RawRequest) -> Script:
        return answer(request, 1e9) if now() < 10 else respond(HTML, status=status)

    async with ScriptedServer(reply) as server, server.client() as client:
        if many:
            [outcome] = await client.wait_for_jobs(["job"])
            error: SieveError | None = outcome.error
        else:
            with pytest.raises(SieveError) as caught:
                await client.wait_for_job("job")
            error = caught.value
        assert getattr(error, "status", None) == status

    rejected = [at for at in server.times if at >= 10]
    assert len(rejected) == 3
    assert all(later - earlier >= 2.5 for earlier, later in pairwise(rejected))
    assert now() <= 10 + 1 + 2 * 5


@pytest.mark.looptime
async def test_revoked_key() -> None:
    """With a revoked key each job ends by answers of its own."""

    def reply(request: RawRequest) -> Script:
        return answer(request, 1e9) if now() < 30 else respond({"detail": "no"}, status=401)

    ids = [f"j{n}" for n in range(200)]
    async with ScriptedServer(reply) as server, server.client() as client:
        outcomes = await client.wait_for_jobs(ids)

    assert {type(outcome.error) for outcome in outcomes} == {AuthenticationError}
    rejected = Counter(request.job_id for request in server.requests if request.at >= 30)
    assert rejected == dict.fromkeys(ids, 3)


@pytest.mark.looptime
async def test_one_job_that_is_rejected() -> None:
    """Rejections of one job end no other."""

    def reply(request: RawRequest) -> Script:
        if request.job_id == "bad" and now() >= 5:
            return respond({"detail": "no"}, status=401)
        return answer(request, 60)

    async with ScriptedServer(reply) as server, server.client() as client:
        outcomes = await client.wait_for_jobs(["bad", *(f"j{n}" for n in range(20))])

    assert [outcome.ok for outcome in outcomes] == [False] + [True] * 20


@pytest.mark.looptime
@pytest.mark.parametrize("missing_for", [1.5, 8.0, 60.0])
@pytest.mark.parametrize("many", [False, True])
async def test_pushed_just_now(
    sieve: FakeSieve, client: SieveClient, missing_for: float, *, many: bool
) -> None:
    """404 is transient for ten seconds after this client has pushed the job."""
    sieve.script_function("sieve/dubbing", processing=5)
    missing = sieve.fault(path="/v2/jobs/*", status=404)
    asyncio.get_running_loop().call_later(missing_for, missing.remove)

    pushed = await client.push_job("sieve/dubbing")
    waiting = client.wait_for_jobs([pushed.id]) if many else client.wait_for_job(pushed.id)
    [result] = await asyncio.gather(waiting, return_exceptions=True)

    error = result[0].error if isinstance(result, list) else result
    if missing_for < 10:
        assert not isinstance(error, Exception)
    else:
        assert isinstance(error, NotFoundError)
        assert 10 <= now() <= 40


@pytest.mark.looptime
async def test_pushed_by_another(client: SieveClient) -> None:
    """It is final for the jobs of others."""
    with pytest.raises(NotFoundError):
        await client.wait_for_job("other")
    assert now() == 0


@pytest.mark.looptime
@pytest.mark.parametrize("many", [False, True])
async def test_runs_without_ids(*, many: bool) -> None:
    """Where runs have no ids, a growing number of restarts starts the outputs over."""

    def reply(request: RawRequest) -> Script:
        run = min(2, int(now() / 20))
        outputs = [{"data": f"{run}-{place}"} for place in range(1 + int(now() % 20 / 5))]
        document = job_document(
            "job",
            "finished" if now() >= 55 else "processing",
            run_id=None,
            restarts=[{"reason": "preemption"}] * run,
            outputs=outputs[request.offset :],
        )
        return respond(document)

    seen: list[Job] = []
    async with ScriptedServer(reply) as server, server.client() as client:
        if many:
            [outcome] = await client.wait_for_jobs(["job"], on_update=seen.append)
            job = outcome.result()
        else:
            job = await client.wait_for_job("job", on_update=seen.append)

    assert [str(data) for data in job.data] == ["2-0", "2-1", "2-2", "2-3"]
    for each in seen:
        assert len({str(data)[0] for data in each.data}) <= 1
