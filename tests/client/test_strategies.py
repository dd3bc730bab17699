"""Strategies are hints: right ones, those that lie, hang or fail, and what bounds their cost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from helpers.asserts import max_per_second
from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.list_server import ListServer, row
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    job_document,
    job_until,
    respond,
    running_job,
)
from helpers.waits import ends_of
from sieve_async import Job, Limits, NotFoundError, PollPolicy, SieveClient, WaitTimeoutError
from sieve_async.testing import FakeSieve, LoggedRequest

pytestmark = pytest.mark.looptime


async def test_listed_too_late(sieve: FakeSieve, client: SieveClient) -> None:
    """Jobs that ended before the start are delivered soon, whichever way they ended."""
    ends = {"good": "finished", "bad": "error", "gone": "cancelled"}
    for job_id, end in ends.items():
        sieve.add_job(job_id, status=end, outputs=["x"])  # type: ignore[arg-type] # three of them
    ids = [*ends, *(sieve.add_job(outputs=[n]) for n in range(27))]
    outcomes = await client.wait_for_jobs(ids, strategy="list")
    assert [outcome.job_id for outcome in outcomes] == ids
    assert [str(outcome.job and outcome.job.status) for outcome in outcomes[:3]] == [*ends.values()]
    assert all(outcome.ok for outcome in outcomes[3:])
    assert sieve.requests.total <= 40
    assert now() <= 3


async def test_vanishing(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that vanishes is not found in the end, once that was confirmed; the others continue."""
    ids = [sieve.add_job(processing=200) for _ in range(10)]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(client.wait_for_jobs(ids, strategy="list"))
        await asyncio.sleep(50)
        sieve.remove_job(ids[4])
    outcomes = waiting.result()
    assert isinstance(outcomes.pop(4).error, NotFoundError)
    assert all(outcome.ok for outcome in outcomes)
    assert 3 <= sieve.requests_for(ids[4]) <= 6


async def test_jobs_end_while_pages_are_read(sieve: FakeSieve) -> None:
    """Pages that shift while they are read cost requests, never a wrong or a lost outcome."""
    processing = {f"j{n}": 1 + (n * 7919) % 977 / 27 for n in range(600)}
    for job_id, seconds in processing.items():
        sieve.add_job(job_id, queued=seconds / 3, processing=seconds, outputs=[job_id])
    ends: dict[str, float] = {}
    limits = Limits(polls_per_second=40)
    async with (
        SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client,
        client.as_completed(processing, strategy="list") as outcomes,
    ):
        async for outcome in outcomes:
            assert outcome.job_id not in ends
            assert outcome.result().data == (outcome.job_id,)
            ends[outcome.job_id] = now()
    assert ends.keys() == processing.keys()
    assert all(at >= processing[job_id] for job_id, at in ends.items())
    assert sieve.requests.total <= 600 * 1.7
    assert max_per_second([entry.at for entry in sieve.requests]) <= 40


async def test_rate_counts_pages(sieve: FakeSieve) -> None:
    """``polls_per_second`` binds pages and polls together, and lets the watch get on."""
    ids = [sieve.add_job(processing=10 + n / 50) for n in range(300)]
    limits = Limits(polls_per_second=10)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        outcomes = await client.wait_for_jobs(ids, strategy="list")
    assert all(outcome.ok for outcome in outcomes)
    assert max_per_second([entry.at for entry in sieve.requests]) <= 10
    assert now() <= 300 / 10 * 1.5 + 20


async def test_stale_row() -> None:
    """A row that says for ever that a job runs delays its end by two minutes at the most."""
    jobs = {f"j{n}": 100.0 + n for n in range(10)}
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


@pytest.mark.parametrize("fault", ["hang", "500", "403", "401", "302", "drop", "garbage", "empty"])
async def test_lists_that_fail(fault: str) -> None:
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
        ids = [f"j{n}" for n in range(100)]
        outcomes = await client.wait_for_jobs(ids, strategy="list", timeout=10)
    assert all(outcome.ok for outcome in outcomes)
    assert now() <= 10
    assert max_per_second(server.times) <= 100


async def test_deadline_with_lists(sieve: FakeSieve, client: SieveClient) -> None:
    """One plain poll of each job is made just before the deadline."""
    ids = [sieve.add_job(processing=3600) for _ in range(20)]
    outcomes = await client.wait_for_jobs(ids, strategy="list", timeout=60)
    assert 60 <= now() <= 60.1
    for outcome in outcomes:
        assert isinstance(outcome.error, WaitTimeoutError)
        assert outcome.error.last is not None
    before = sieve.requests_for("/v2/jobs")
    [late] = await client.wait_for_jobs([sieve.add_job()], strategy="list", timeout=0.9)
    assert late.ok
    assert sieve.requests_for("/v2/jobs") == before  # so short a watch reads no lists
    last = {request.path: request.at for request in sieve.requests}
    assert all(59 <= last[f"/v2/jobs/{job_id}"] <= 60 for job_id in ids)


@pytest.mark.parametrize("kind", ["job, long_poll", "jobs, long_poll"])
@pytest.mark.parametrize("seconds", [20, None])
async def test_held_connection_is_dropped(kind: str, seconds: float | None) -> None:
    """A long poll that nothing answers costs a minute at the most, and no deadline."""

    def reply(request: RawRequest) -> Script:
        if request.is_await:
            return [Action.SILENCE]
        return respond(job_document("job", "finished" if now() >= 5 else "processing"))

    async with ScriptedServer(reply) as server, server.client() as client:
        [job] = await ends_of(client, kind, ["job"], timeout=seconds)
        assert job.succeeded
    assert now() <= 60.5
    assert [request.is_await for request in server.requests[:2]] == [True, False]


@pytest.mark.parametrize("kind", ["job, long_poll", "jobs, long_poll"])
async def test_refused_long_polls(kind: str) -> None:
    """Whatever ``/await`` answers, one plain poll settles it, and the requests stay few."""
    elsewhere = ("Location", "https://elsewhere.example/")
    answers = [error_response(status, elsewhere) for status in (302, 401, 403, 404, 422, 429, 500)]
    for answer in (*answers, respond(b"<html>")):
        end = now() + 50

        def reply(request: RawRequest, answer: Script = answer, end: float = end) -> Script:
            return answer if request.is_await else job_until(end)

        async with ScriptedServer(reply) as server, server.client() as client:
            [job] = await ends_of(client, kind, ["job"])
            assert job.succeeded
        assert end <= now() <= end + 4
        assert max_per_second(server.times) <= 6  # two for each interval
        assert len(server.awaits) <= 27 + 44 + 1  # in ten seconds 0.375 s apart, then 3.75 % later
        for one, other in zip(server.requests, server.requests[1:], strict=False):
            assert not (one.is_await and other.is_await)


async def test_wrong_rows_do_not_stop_confirmations() -> None:
    """A list that says that a job runs does not keep a rejected job pending."""
    gone_at = 60.0

    def reply(request: RawRequest) -> Script:
        if request.is_list:
            is_full = request.query["status"] == "processing"
            rows = [job_document(f"j{n}") for n in range(5 if is_full else 0)]
            return respond({"data": rows, "next_offset": -1})
        return error_response(404) if now() >= gone_at else respond(job_document(request.job_id))

    policy = PollPolicy(max_interval=1)
    async with ScriptedServer(reply) as server, server.client(polling=policy) as client:
        outcomes = await client.wait_for_jobs([f"j{n}" for n in range(5)], strategy="list")
    assert {outcome.status for outcome in outcomes} == {"NotFoundError"}
    assert now() <= 60 + 120 + 15


async def test_one_poll(sieve: FakeSieve, client: SieveClient) -> None:
    """A timeout of zero is one plain poll, not a long poll."""
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
    assert (
        sorted(entry.path for entry in sieve.requests)
        == ["/v2/jobs/ended"] * 2 + ["/v2/jobs/running"] * 2
    )


def most_held(sieve: FakeSieve) -> int:
    """How many requests were held at once, at the most."""
    held = [entry for entry in sieve.requests if entry.path.endswith("/await")]
    return max((_others(held, entry.at) for entry in held), default=0)


def _others(held: Sequence[LoggedRequest], at: float) -> int:
    return sum(entry.at <= at < entry.at + entry.took for entry in held)


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("single", [True, False])
async def test_half_of_the_slots(sieve: FakeSieve, slots: int, *, single: bool) -> None:
    """Held requests take at most half of the slots; the rest is polled, and lookups continue."""
    ids = [sieve.add_job(processing=50 + 10 * n) for n in range(6)]
    sieve.add_job("other", processing=3600)

    async def wait(client: SieveClient) -> list[Job]:
        if single:
            waits = (client.wait_for_job(job_id, strategy="long_poll") for job_id in ids)
            return await asyncio.gather(*waits)
        outcomes = await client.wait_for_jobs(ids, strategy="long_poll")
        return [outcome.result() for outcome in outcomes]

    limits = Limits(max_connections=slots)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        waiting = asyncio.create_task(wait(client))
        took = []
        while not waiting.done():
            await asyncio.sleep(7)
            asked_at = now()
            await client.get_job("other")
            took.append(now() - asked_at)
        jobs = await waiting
    assert [job.id for job in jobs] == ids
    assert all(job.succeeded for job in jobs)
    assert most_held(sieve) == slots // 2
    assert sieve.max_in_flight <= slots
    assert max(took) < 0.5
    assert now() <= 100 * 1.1 + 1 + 7


def is_list(request: LoggedRequest) -> bool:
    """Whether a page of jobs was asked for."""
    return request.path == "/v2/jobs"


async def test_lists_that_cost_too_much_are_off_for_ten_minutes(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """Among thousands of other jobs two are polled; lists are tried again every ten minutes."""
    for _ in range(1000):
        sieve.add_job(processing=1e6)
    ids = [sieve.add_job(processing=1900) for _ in range(2)]
    outcomes = await client.wait_for_jobs(ids, strategy="list")
    assert all(outcome.ok for outcome in outcomes)
    rounds: list[float] = []
    for request in filter(is_list, sieve.requests):
        if not rounds or request.at - rounds[-1] > 60:
            rounds.append(request.at)
    assert 3 <= len(rounds) <= 4
    assert all(600 <= later - earlier <= 620 for earlier, later in pairwise(rounds))


@pytest.mark.parametrize(("count", "pause", "delay"), [(20, 0.02, 0.01), (100, 0.2, 0.5)])
async def test_ids_that_come_little_by_little(
    sieve: FakeSieve, client: SieveClient, count: int, pause: float, delay: float
) -> None:
    """The first round waits for the ids that are still to come, and counts those that come then."""
    sieve.fault(path="/v2/jobs", delay=delay)
    ids = [sieve.add_job(processing=60) for _ in range(400)]

    async def source() -> AsyncIterator[str]:
        for number, job_id in enumerate(ids, 1):
            yield job_id
            if number % count == 0:
                await asyncio.sleep(pause)

    outcomes = await client.wait_for_jobs(source(), strategy="list")
    assert all(outcome.ok for outcome in outcomes)
    polls = [request for request in sieve.requests if not is_list(request)]
    assert len(polls) < 4 * len(ids)  # by polls alone it is more than 20 for each job


async def test_round_that_costs_too_much_stops(sieve: FakeSieve, client: SieveClient) -> None:
    """A round stops when it has read twice the bytes of one poll of each job."""
    for _ in range(1500):
        sieve.add_job(processing=1e6)
    ids = [sieve.add_job(processing=30) for _ in range(10)]
    outcomes = await client.wait_for_jobs(ids, strategy="list")
    assert all(outcome.ok for outcome in outcomes)
    assert len([request for request in sieve.requests if is_list(request)]) <= 2


async def test_new_jobs_wait_three_seconds_for_their_first_round(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """A new job is seen after three seconds at the most, however rare the rounds are."""
    old = [sieve.add_job(processing=3000) for _ in range(20)]
    sieve.add_job("new", status="finished")

    async def ids() -> AsyncIterator[str]:
        for job_id in old:
            yield job_id
        await asyncio.sleep(130)
        yield "new"

    rare = PollPolicy(min_interval=60, max_interval=60, growth=0, jitter=0)
    async with client.as_completed(ids(), strategy="list", polling=rare) as outcomes:
        first = await anext(outcomes)
    assert first.job_id == "new"
    assert 130 <= now() <= 133.5


async def test_rounds_follow_the_poll_interval(sieve: FakeSieve) -> None:
    """A round follows the last at the mean poll interval of the listed jobs."""
    policy = PollPolicy(min_interval=7, max_interval=7, growth=0, jitter=0)
    ids = [sieve.add_job(processing=300) for _ in range(50)]
    async with SieveClient(sieve.api_key, base_url=sieve.url, polling=policy) as client:
        await client.wait_for_jobs(ids, strategy="list")
    pages = [request.at for request in sieve.requests if is_list(request)]
    gaps = [later - earlier for earlier, later in pairwise(pages) if later - earlier > 1]
    assert len(gaps) > 30
    assert all(gap == pytest.approx(7, abs=0.1) for gap in gaps)


async def test_missing_jobs_are_polled_once(sieve: FakeSieve, client: SieveClient) -> None:
    policy = PollPolicy(min_interval=20, max_interval=20, growth=0, jitter=0)
    listed, lost = ([sieve.add_job(processing=300) for _ in range(10)] for _ in range(2))
    for ids_of_rows, pages in ((listed + lost, 2), (listed, None)):
        rows = [{"id": job_id, "status": "processing"} for job_id in ids_of_rows]
        sieve.fault(path="/v2/jobs", body={"data": rows, "next_offset": -1}, times=pages)

    async def ids() -> AsyncIterator[str]:
        for job_id in (*listed, *lost):
            yield job_id
        for _ in range(30):
            await asyncio.sleep(4)
            yield sieve.add_job(status="finished")  # each begins a round

    outcomes = await client.wait_for_jobs(ids(), strategy="list", polling=policy)
    assert all(outcome.ok for outcome in outcomes)
    assert len(outcomes) == 50
    assert all(sieve.requests_for(job_id) <= 300 / 20 + 3 for job_id in lost)


async def test_round_that_fails_says_nothing(sieve: FakeSieve) -> None:
    """Jobs that a broken round does not list are not missing: they are polled when they are due."""
    policy = PollPolicy(min_interval=20, max_interval=20, growth=0, jitter=0)
    ids = [sieve.add_job(processing=300) for _ in range(20)]
    async with (
        SieveClient(sieve.api_key, base_url=sieve.url, polling=policy) as client,
        client.as_completed(ids, strategy="list"),
    ):
        await asyncio.sleep(10)
        sieve.fault(path="/v2/jobs", status=400)
        await asyncio.sleep(15)
        lists = list(filter(is_list, sieve.requests))
        assert max(request.at for request in lists) == pytest.approx(20, abs=0.5)
        assert len(lists) == len(sieve.requests)
        await asyncio.sleep(10)  # 1.5 intervals and 1 s after the list that showed them
        assert len(sieve.requests) >= len(lists) + len(ids)


async def test_offset_that_does_not_grow(sieve: FakeSieve, client: SieveClient) -> None:
    """A list whose next page is always the same one is read once."""
    ids = [sieve.add_job(processing=10) for _ in range(20)]
    sieve.fault(path="/v2/jobs", body={"data": [], "next_offset": 500})
    outcomes = await client.wait_for_jobs(ids, strategy="list")
    assert all(outcome.ok for outcome in outcomes)
    assert len([request for request in sieve.requests if is_list(request)]) <= 4


async def test_a_hold_that_expired_is_no_error() -> None:
    """A request that was held as long as we hold it is no failed poll."""

    def reply(request: RawRequest) -> Script:
        return [Action.SILENCE] if request.is_await else job_until(1000, request.job_id)

    async with ScriptedServer(reply) as server, server.client() as client:
        with pytest.raises(WaitTimeoutError) as caught:
            await client.wait_for_job("a", timeout=70, strategy="long_poll")

    assert caught.value.last_error is None


@pytest.mark.parametrize(
    ("status", "has_worked", "tries"),
    [(404, False, 1), (404, True, 3), (403, False, 3), (503, False, 4)],
)
async def test_tries_of_a_missing_endpoint(status: int, tries: int, *, has_worked: bool) -> None:
    """A 404 where it has never worked is believed at once, else three rejections; a 503 is none."""
    refused: list[float] = []

    def reply(request: RawRequest) -> Script:
        if not request.is_await:
            return job_until(300, request.job_id)
        if has_worked and now() < 5:
            return [5.0, *job_until(300, request.job_id)]
        refused.append(now())
        return error_response(status)

    async with ScriptedServer(reply) as server, server.client() as client:
        assert (await client.wait_for_job("job", strategy="long_poll")).succeeded
        assert min(len(refused), 4) == tries


async def test_a_nudged_hold_that_was_never_sent() -> None:
    """It shows no endpoint: the first 404 for one that was sent switches to polling."""

    def reply(asked: RawRequest) -> Script:
        if asked.job_id == "slow":
            return [Action.SILENCE]
        return error_response(404) if asked.is_await else running_job(asked.job_id)

    async with (
        ScriptedServer(reply) as server,
        SieveClient(KEY, base_url=server.url, limits=Limits(max_connections=2)) as client,
    ):
        slow = [asyncio.create_task(client.get_job("slow")) for _ in range(2)]
        await asyncio.sleep(1)
        wait = asyncio.create_task(client.wait_for_job(JOB, strategy="long_poll", timeout=60))
        await asyncio.sleep(5)
        client.nudge(JOB)
        await asyncio.sleep(1)
        for task in slow:
            task.cancel()
        await asyncio.wait([*slow, wait])
        assert len(server.awaits) == 1


@pytest.mark.parametrize("given_at", [0.0, 59.2], ids=["at once", "late"])
async def test_last_polls_of_jobs_that_lists_have_spared(given_at: float) -> None:
    """An old list costs no end, though no poll has shown how long one takes, and for late ids."""
    ends = {f"j{number}": now() + 5 for number in range(5)}

    async def ids() -> AsyncIterator[str]:
        await asyncio.sleep(given_at)
        for job_id in ends:
            yield job_id

    def old_rows(asked: RawRequest) -> tuple[list[Any], Any]:
        return [row(job_id) for job_id in ends if asked.query["status"] == "processing"], -1

    def slowly(asked: RawRequest) -> Script | None:
        return None if asked.is_list else [0.3, *job_until(ends[asked.job_id], asked.job_id)]

    async with ListServer(old_rows, ends, fault=slowly) as server, server.client() as client:
        outcomes = await client.wait_for_jobs(ids(), strategy="list", timeout=60)
    assert [(outcome.ok, outcome.polls) for outcome in outcomes] == [(True, 1)] * 5
