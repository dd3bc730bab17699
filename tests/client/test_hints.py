"""Strategies are hints: lists and long polls that lie, hang or fail lose nothing."""

import asyncio
import random

import pytest

from helpers.asserts import max_per_second
from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.list_server import ListServer
from helpers.raw_server import (
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    job_document,
    respond,
)
from sieve_async import Limits, PollPolicy, SieveClient, Strategy, WaitTimeoutError
from sieve_async.testing import FakeSieve

LISTS = "/v2/jobs"


@pytest.mark.looptime
async def test_stale_row() -> None:
    """A row that says for ever that a job runs delays its end by two minutes at the most."""
    jobs = {f"j{n}": 100.0 + n for n in range(50)}
    server = ListServer(
        lambda request: (
            ([{"id": job_id, "status": "processing"} for job_id in jobs], -1)
            if request.query["status"] == "processing"
            else ([], -1)
        ),
        ends=jobs,
    )

    found = await server.watch()

    assert set(found) == set(jobs)
    assert all(found[job_id] - ends <= 125 for job_id, ends in jobs.items())


@pytest.mark.looptime
@pytest.mark.parametrize("fault", ["hang", "500", "403", "401", "302", "drop", "garbage", "empty"])
@pytest.mark.parametrize("seconds", [10, 120])
async def test_lists_that_fail(fault: str, seconds: float) -> None:
    """The outcomes come as with "poll"."""
    scripts: dict[str, Script] = {
        "hang": [Action.SILENCE],
        "500": error_response(500),
        "403": error_response(403),
        "401": error_response(401),
        "302": error_response(302, ("Location", "https://elsewhere.example/")),
        "drop": [Action.RESET],
        "garbage": respond(b"<html>"),
        "empty": respond({"data": [], "next_offset": -1}),
    }

    def reply(request: RawRequest) -> Script:
        if request.is_list:
            return scripts[fault]
        return respond(job_document(request.job_id, "finished" if now() >= 2 else "processing"))

    async with ScriptedServer(reply) as server, server.client() as client:
        outcomes = await client.wait_for_jobs(
            [f"j{n}" for n in range(200)], strategy="list", timeout=seconds
        )

    assert all(outcome.ok for outcome in outcomes)
    assert now() <= 10
    assert max_per_second(server.times) <= 100


@pytest.mark.looptime
async def test_random_lists() -> None:
    """Rows at random, of any status, lose and invent nothing."""
    dice = random.Random(3)
    words = ["queued", "processing", "finished", "error", "cancelled", "baking"]
    jobs = {f"j{n}": 10.0 + 3 * n for n in range(60)}

    def rows(_: RawRequest) -> tuple[list[object], int]:
        chosen = dice.sample([*jobs, "foreign"], 30)
        return [{"id": one, "status": dice.choice(words)} for one in chosen], -1

    server = ListServer(rows, ends=jobs)
    found = await server.watch()

    assert all(jobs[job_id] <= at <= jobs[job_id] + 130 for job_id, at in found.items())
    assert set(found) == set(jobs)


@pytest.mark.looptime
async def test_few_jobs_among_many(sieve: FakeSieve) -> None:
    """Lists of thousands of other jobs cost at most about what polling costs."""
    for _ in range(3000):
        sieve.add_job(processing=1e6)
    costs = {}
    strategies: tuple[Strategy, ...] = ("poll", "list")
    for strategy in strategies:
        ids = [sieve.add_job(processing=100 + n) for n in range(40)]
        async with SieveClient(KEY, base_url=sieve.url) as client:
            outcomes = await client.wait_for_jobs(ids, strategy=strategy)
            assert all(outcome.ok for outcome in outcomes)
            costs[strategy] = client.stats.bytes_received
    assert costs["list"] <= 2.2 * costs["poll"]


@pytest.mark.looptime
async def test_deadline_with_lists(sieve: FakeSieve, client: SieveClient) -> None:
    """One plain poll of each job is made just before the deadline."""
    ids = [sieve.add_job(processing=3600) for _ in range(50)]
    outcomes = await client.wait_for_jobs(ids, strategy="list", timeout=60)

    assert 60 <= now() <= 60.1
    for outcome in outcomes:
        assert isinstance(outcome.error, WaitTimeoutError)
        assert outcome.error.last is not None
    last = {request.path: request.at for request in sieve.requests}
    assert all(59 <= last[f"/v2/jobs/{job_id}"] <= 60 for job_id in ids)


@pytest.mark.looptime
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("seconds", [60, 20, None])
async def test_held_connection_is_dropped(*, many: bool, seconds: float | None) -> None:
    """A long poll that nothing answers costs a minute at the most, and no deadline."""

    def reply(request: RawRequest) -> Script:
        if request.is_await:
            return [Action.SILENCE]
        return respond(job_document("job", "finished" if now() >= 5 else "processing"))

    async with ScriptedServer(reply) as server, server.client() as client:
        if many:
            [outcome] = await client.wait_for_jobs(["job"], strategy="long_poll", timeout=seconds)
            assert outcome.ok
        else:
            job = await client.wait_for_job("job", strategy="long_poll", timeout=seconds)
            assert job.succeeded

    assert now() <= 60.5
    assert [request.is_await for request in server.requests[:2]] == [True, False]


@pytest.mark.looptime
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    "answer",
    [302, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 422, 429, 500, 501, 503, 505, "<html>"],
)
async def test_refused_long_polls(answer: int | str, *, many: bool) -> None:
    """Whatever ``/await`` answers, one plain poll settles it, and the requests stay few."""

    def reply(request: RawRequest) -> Script:
        if request.is_await:
            return (
                respond(answer.encode())
                if isinstance(answer, str)
                else error_response(answer, ("Location", "https://elsewhere.example/"))
            )
        return respond(job_document("job", "finished" if now() >= 50 else "processing"))

    async with ScriptedServer(reply) as server, server.client() as client:
        if many:
            [outcome] = await client.wait_for_jobs(["job"], strategy="long_poll")
            assert outcome.ok
        else:
            assert (await client.wait_for_job("job", strategy="long_poll")).succeeded

    assert 50 <= now() <= 54
    assert max_per_second(server.times) <= 6  # two for each interval
    assert len(server.awaits) <= 60
    for one, other in zip(server.requests, server.requests[1:], strict=False):
        assert not (one.is_await and other.is_await)


@pytest.mark.looptime
async def test_rejected_for_good_with_long_polls() -> None:
    """A job that does not exist is not found, with two requests."""
    async with ScriptedServer(lambda _: error_response(404)) as server, server.client() as client:
        [outcome] = await client.wait_for_jobs(["job"], strategy="long_poll")

    assert outcome.status == "NotFoundError"
    assert len(server.requests) == 2


@pytest.mark.looptime
async def test_holds_take_half_of_the_slots(sieve: FakeSieve) -> None:
    """Held requests leave half of the slots to lookups."""
    ids = [sieve.add_job(processing=600) for _ in range(20)]
    limits = Limits(max_connections=8)
    async with SieveClient(KEY, base_url=sieve.url, limits=limits) as client:
        waits = [
            asyncio.ensure_future(client.wait_for_job(job_id, strategy="long_poll"))
            for job_id in ids[:10]
        ]
        watch = asyncio.ensure_future(client.wait_for_jobs(ids[10:], strategy="long_poll"))
        for _ in range(100):
            await asyncio.sleep(5)
            assert client.stats.in_flight <= 4
            started = now()
            await client.get_job(ids[0])
            assert now() - started <= 0.1
        await asyncio.gather(*waits)
        assert all(outcome.ok for outcome in await watch)


@pytest.mark.looptime
async def test_wrong_rows_do_not_stop_confirmations() -> None:
    """A list that says that a job runs does not keep a rejected job pending."""
    gone_at = 60.0

    def reply(request: RawRequest) -> Script:
        if request.is_list:
            is_full = request.query["status"] == "processing"
            rows = [job_document(f"j{n}") for n in range(20 if is_full else 0)]
            return respond({"data": rows, "next_offset": -1})
        return error_response(404) if now() >= gone_at else respond(job_document(request.job_id))

    policy = PollPolicy(max_interval=1)
    async with ScriptedServer(reply) as server, server.client(polling=policy) as client:
        outcomes = await client.wait_for_jobs([f"j{n}" for n in range(20)], strategy="list")

    assert {outcome.status for outcome in outcomes} == {"NotFoundError"}
    assert now() <= 60 + 120 + 15
