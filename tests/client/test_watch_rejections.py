"""Watches where the server refuses: the key, the lists, or to hold a request."""

import asyncio
from itertools import pairwise

import pytest

from helpers.asserts import assert_no_more_requests
from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.raw_server import RawRequest, Script, ScriptedServer, job_document, respond
from sieve_async import AuthenticationError, JobOutcome, Limits, PollPolicy, SieveClient, Strategy
from sieve_async.testing import FakeSieve

REFUSED = respond({"detail": "no"}, status=401)


def running(asked: RawRequest) -> Script:
    """A job that runs, or a page of such jobs."""
    if not asked.is_list:
        return respond(job_document(asked.job_id))
    is_full = asked.query["status"] == "processing"
    data = [job_document(f"a{number}") for number in range(50 if is_full else 0)]
    return respond({"data": data, "next_offset": -1})


async def end_of(client: SieveClient, job_id: str, *, is_many: bool) -> bool:
    """Whether a job is seen to finish, by a watch of many or by a wait for the one."""
    if is_many:
        outcomes = await client.wait_for_jobs([job_id], strategy="long_poll", timeout=60)
        return outcomes[0].ok
    return (await client.wait_for_job(job_id, strategy="long_poll", timeout=60)).succeeded


# Held requests


@pytest.mark.looptime
@pytest.mark.parametrize("status", [405, 501])
@pytest.mark.parametrize("worked", [200, 408])
@pytest.mark.parametrize("is_many", [False, True])
async def test_long_polls_that_work_no_more(status: int, worked: int, is_many: bool) -> None:  # noqa: FBT001
    """Where requests are held no more, a plain look follows each try, and soon none is tried."""
    is_broken = False

    def play(asked: RawRequest) -> Script:
        nonlocal is_broken
        if asked.is_await:
            if is_broken and len(stage.requests) < 300:
                return respond({"detail": "no"}, status=status)
            is_broken = True
            if worked == 408:
                return [30.0, *respond({"detail": "not yet"}, status=408)]
            return respond(job_document(asked.job_id))
        return respond(job_document(asked.job_id, "finished" if now() >= 50 else "processing"))

    async with ScriptedServer(play) as stage, stage.client() as client:
        assert await end_of(client, "a", is_many=is_many)

        await assert_no_more_requests(client, stage.requests)
    assert len(stage.awaits) == 1 + 3
    assert not any(one.is_await and two.is_await for one, two in pairwise(stage.requests[1:]))
    assert 50 <= stage.requests[-1].at <= 54
    assert len(stage.requests) <= 100


@pytest.mark.looptime
@pytest.mark.parametrize("is_many", [False, True])
async def test_confirmation_is_not_held(is_many: bool) -> None:  # noqa: FBT001
    """A look that confirms a refusal is none that the server may hold."""
    refused: list[float] = []

    def play(asked: RawRequest) -> Script:
        if asked.job_id == "first":  # it takes the only place of held requests, for a while
            return [5.8, *respond(job_document("first", "finished"))]
        if now() >= 5 and not refused:
            refused.append(now())
            return REFUSED
        return respond(job_document(asked.job_id, "finished" if now() >= 20 else "processing"))

    limits = Limits(max_connections=2)
    async with ScriptedServer(play) as stage, stage.client(limits=limits) as client:
        first = asyncio.create_task(client.wait_for_job("first", strategy="long_poll"))
        await asyncio.sleep(1)

        assert await end_of(client, "second", is_many=is_many)

        assert (await first).succeeded
    late = [asked for asked in stage.requests if asked.job_id == "second" and asked.at >= 5]
    assert [asked.is_await for asked in late[:3]] == [False, False, True]


@pytest.mark.looptime
async def test_held_requests_end_with_the_key() -> None:
    """Requests that are held for other calls end as soon as it is clear that the key is refused."""

    def play(asked: RawRequest) -> Script:
        if asked.job_id.startswith("n"):
            return REFUSED
        return [30.0, *running(asked)]

    ids = [f"a{number}" for number in range(8)]
    async with ScriptedServer(play) as stage, stage.client() as client:
        held = asyncio.create_task(client.wait_for_jobs(ids, strategy="long_poll"))
        await asyncio.sleep(1)
        assert client.stats.in_flight == 8

        refused = await client.wait_for_jobs(["n1", "n2"])
        seen = await held

        assert errors_of(refused + seen) == {AuthenticationError}
        assert now() <= 2
        await assert_no_more_requests(client, stage.requests)


# The key


def errors_of(outcomes: list[JobOutcome]) -> set[type[object]]:
    """Of which kinds the errors are."""
    return {type(outcome.error) for outcome in outcomes}


@pytest.mark.looptime
@pytest.mark.parametrize("is_revoked", [False, True])
async def test_first_looks_are_refused(is_revoked: bool) -> None:  # noqa: FBT001
    """First looks that are refused end no job that was seen before, unless one confirms it."""
    ids = [f"a{number}" for number in range(50)]

    def play(asked: RawRequest) -> Script:
        if asked.job_id.startswith("n") or (is_revoked and now() >= 10):
            return REFUSED
        return respond(job_document(asked.job_id, "finished" if now() >= 60 else "processing"))

    async with ScriptedServer(play) as stage, stage.client() as client:
        others = asyncio.create_task(client.wait_for_jobs(ids))
        await asyncio.sleep(10)

        refused = await client.wait_for_jobs(["n1", "n2", "n3"])
        seen = await others

        assert errors_of(refused) == {AuthenticationError}
        assert errors_of(seen) == {AuthenticationError if is_revoked else type(None)}
        assert (now() <= 15) is is_revoked
        await assert_no_more_requests(client, stage.requests)


@pytest.mark.looptime
@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_revoked_key_ends_all_calls(sieve: FakeSieve, strategy: Strategy) -> None:
    """A key that is revoked ends the jobs of all calls, seen or not, with few requests."""
    ids = [sieve.add_job(f"a{number}", processing=3600) for number in range(100)]
    async with SieveClient(KEY, base_url=sieve.url) as client:
        calls = [
            asyncio.create_task(client.wait_for_jobs(ids, strategy=strategy)),
            asyncio.create_task(client.wait_for_jobs(ids[:50], polling=PollPolicy(min_interval=3))),
        ]
        await asyncio.sleep(60)
        sieve.revoke_key()
        calls.append(asyncio.create_task(client.wait_for_jobs(["x", "y"])))

        seen = [outcome for call in calls for outcome in await call]

        assert len(seen) == 152
        assert errors_of(seen) == {AuthenticationError}
        assert sieve.requests.by_status[401] <= 20
        assert now() <= 100
        await assert_no_more_requests(client, sieve.requests)


@pytest.mark.looptime
async def test_one_confirmation(sieve: FakeSieve, client: SieveClient) -> None:
    """For all jobs that were seen before, one look confirms that the key is refused."""
    ids = [sieve.add_job(f"a{number}", processing=3600) for number in range(20)]
    waiting = asyncio.create_task(client.wait_for_jobs(ids))
    await asyncio.sleep(60)
    sieve.revoke_key()

    seen = await waiting

    assert errors_of(seen) == {AuthenticationError}
    assert sieve.requests.by_status[401] == 2


# The lists


@pytest.mark.looptime
@pytest.mark.parametrize("status", [401, 404, 400])
async def test_one_list_is_refused(status: int) -> None:
    """One list that is refused after others have worked does not turn them off for good."""
    is_refused = False

    def play(asked: RawRequest) -> Script:
        nonlocal is_refused
        if asked.is_list and now() >= 30 and not is_refused:
            is_refused = True
            return respond({"detail": "no"}, status=status)
        return running(asked)

    ids = [f"a{number}" for number in range(50)]
    async with ScriptedServer(play) as stage, stage.client() as client:
        seen = await client.wait_for_jobs(ids, strategy="list", timeout=400)

    assert len(seen) == 50
    assert sum(30 <= asked.at < 400 for asked in stage.lists) >= 20
    if status in {401, 404}:  # which may pass
        assert len(stage.polls) <= 2 * 50  # the last ones included
