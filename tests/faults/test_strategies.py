"""Lists and long polls that are wrong, cut, slow or missing: they cost requests, and no outcome."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from helpers.asserts import assert_no_more_requests, ids_of, max_per_second, warnings_of
from helpers.http_helpers import now
from helpers.leak_checks import error_of
from helpers.list_server import ListServer, row, watch_listed
from helpers.raw_server import (
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_document,
    job_until,
    respond,
    running_job,
)
from sieve_async import (
    Job,
    Limits,
    NotFoundError,
    PollPolicy,
    RequestTimeoutError,
    RetryPolicy,
    ServerError,
    SieveClient,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

DOWN = respond({}, status=503)


def page_of(request: RawRequest, ids: list[str]) -> Script:
    """One page of jobs that are processed."""
    rows = ids if request.query["status"] == "processing" else []
    end = request.offset + request.limit
    data = [job_document(job_id) for job_id in rows[request.offset : end]]
    return respond({"data": data, "next_offset": end if end < len(rows) else -1})


async def test_next_offset_that_is_rejected() -> None:
    rejected = respond({"detail": []}, status=422)
    server = ListServer(
        lambda request: (server.running(request)[:10], 2**63 - 1),
        fault=lambda request: rejected if request.offset > 2**62 else None,
    )
    await server.watch_cheaply()


async def test_pages_without_end() -> None:
    server = ListServer(lambda request: ([row(f"x{request.offset}")], request.offset + 1))
    await server.watch_cheaply()
    assert len(server.lists) <= 50 * 20


BAD_ROWS: list[Any] = [None, 5, "j1", ["j1"], {}, {"id": "j1"}, {"status": "processing"}]
BAD_ROWS += [row("j1") | {"id": wrong} for wrong in (1, None, ["j1"], {"id": "j1"}, True)]
BAD_ROWS += [row("j1") | {"status": wrong} for wrong in (1, None, ["finished"], False)]


async def test_unreadable_rows() -> None:
    def rows(request: RawRequest) -> tuple[list[Any], int]:
        bad = BAD_ROWS[request.times % len(BAD_ROWS)]
        return [bad, *(each for each in server.running(request) if each["id"] != "j1"), bad], -1

    server = ListServer(rows)
    await server.watch_cheaply()
    others = [request for request in server.polls if request.job_id != "j1"]
    assert len(others) <= 2 * 20 + 70  # the last two are polled


@pytest.mark.parametrize("word", ["started", "error"])
async def test_status_of_rows(word: str) -> None:
    """A row with an unknown status is a running job; one with a terminal status causes a poll."""
    server = ListServer(
        lambda request: (
            [row(r["id"], "started") for r in server.running(request)]
            if word == "started"
            else [row(job_id, word) for job_id, at in server.finish_times.items() if now() >= at]
            + server.running(request),
            -1,
        )
    )
    await server.watch_cheaply()
    assert len(server.polls) <= 2 * 20 + 70


async def test_rows_with_a_wrong_end() -> None:
    """Rows that say that running jobs have ended cost no more than twice the polls."""
    server = ListServer(
        lambda request: ([row(r["id"], "finished") for r in server.running(request)], -1),
        {f"j{n}": 600.0 + n for n in range(5)},
    )
    await server.watch_cheaply(2 * 130)


async def test_rows_that_lag() -> None:
    """A list that lags by ten seconds delays an outcome by no more than that."""
    server = ListServer(
        lambda request: (
            [
                row(job_id)
                for job_id, at in server.finish_times.items()
                if now() < at + 10 and request.query.get("status") == "processing"
            ],
            -1,
        )
    )
    await server.watch_cheaply(late=23)


async def test_status_that_no_list_has(caplog: pytest.LogCaptureFixture) -> None:
    """Jobs in a status that no list shows are polled as by the policy, with one warning."""
    server = ListServer(
        lambda request: (
            [row(j, "queued") for j in server.finish_times]
            if now() < 20 and request.query.get("status") == "queued"
            else [],
            -1,
        ),
        {f"j{n}": 1200.0 + n for n in range(5)},
        word="started",
    )
    await server.watch_cheaply(270)  # one and a half of what polling needs
    assert len([line for line in warnings_of(caplog) if "started" in line]) == 1


async def test_lists_that_fail_for_a_while(sieve: FakeSieve, client: SieveClient) -> None:
    """Lists that fail for ten seconds are used again after that."""
    ends = {f"j{n}": 1800.0 + n / 10 for n in range(20)}
    for job_id, ends_at in ends.items():
        sieve.add_job(job_id, processing=ends_at, outputs=[f"of {job_id}"])

    async def fail() -> None:
        await asyncio.sleep(60)
        with sieve.fault(path="/v2/jobs", status=503) as fault:
            await asyncio.sleep(10)
        assert fault.hits

    await asyncio.gather(watch_listed(client, ends), fail())
    polls = sieve.requests.total - sieve.requests_for("/v2/jobs")
    assert polls <= 20 * 40  # a tenth of what polling needs


async def test_one_round_at_a_time() -> None:
    """Ids that come while a page is slow begin no second round beside the first."""
    reading = most = 0

    def count(change: int) -> None:
        nonlocal reading, most
        reading += change
        most = max(most, reading)

    def reply(request: RawRequest) -> Script:
        if not request.is_list:
            return respond(job_document(request.job_id, "finished" if now() >= 40 else "queued"))
        return [lambda: count(1), 7.0, lambda: count(-1), *page_of(request, [])]

    async def source() -> AsyncIterator[str]:
        for number in range(20):
            yield f"s{number}"
            await asyncio.sleep(0.6)

    async with ScriptedServer(reply) as server, server.client() as client:
        seen = [outcome async for outcome in client.as_completed(source(), strategy="list")]
    assert [outcome.ok for outcome in seen] == [True] * 20
    assert most == 1


async def test_leaving_and_watching_again() -> None:
    """A job that is left and watched again while a page is read has its outcome."""
    listed = [f"a{number}" for number in range(20)]
    others = [f"x{number}" for number in range(5)]  # those that are on no page

    def reply(request: RawRequest) -> Script:
        if request.is_list:
            return [1.0, *page_of(request, listed)]
        has_ended = request.job_id in others and now() >= 2
        return respond(job_document(request.job_id, "finished" if has_ended else "processing"))

    policy = PollPolicy(min_interval=0.2, max_interval=0.3)
    async with ScriptedServer(reply) as server, server.client(polling=policy) as client:
        async with client.as_completed(listed, strategy="list"):
            first = client.as_completed(others, strategy="list")
            await first.__aenter__()
            await asyncio.sleep(0.5)
            assert len(server.lists) == 1
            await first.aclose()
            seen = await client.wait_for_jobs(others, strategy="list", timeout=30)
        assert [outcome.ok for outcome in seen] == [True] * 5
        await assert_no_more_requests(client, server.requests)


async def test_deadline_in_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    ids = [f"a{number}" for number in range(10)]
    deadline = 200.0

    def reply(request: RawRequest) -> Script:
        if 1 <= now() < 250:
            wait = deadline + 1 - now() if request.is_list and now() >= 100 else 0.0
            return [wait, *DOWN]
        if request.is_list:
            return page_of(request, ids)
        return respond(job_document(request.job_id, "finished" if now() >= 250 else "processing"))

    async with ScriptedServer(reply) as server, server.client() as client:
        other = asyncio.create_task(client.wait_for_jobs(["p"]))
        async with client.as_completed(ids, strategy="list", timeout=deadline) as outcomes:
            seen = [await anext(outcomes)]
            await asyncio.sleep(5)  # the failure of the list comes now
            seen += [outcome async for outcome in outcomes]
        rest = await other
    assert sorted(ids_of(seen)) == ids
    assert all(isinstance(outcome.error, WaitTimeoutError) for outcome in seen)
    assert [outcome.ok for outcome in rest] == [True]
    assert any("polls fail" in line for line in warnings_of(caplog))


async def test_last_polls_during_a_round() -> None:
    """When the last polls are due while pages are read, pages are read once more after that."""
    ids = [f"a{number}" for number in range(600)]

    def reply(request: RawRequest) -> Script:
        ended = ids[:3] if now() >= 8.8 else []  # a round of two pages lasts from 8.05 to 9.05
        if request.is_list:
            return [0.5, *page_of(request, [job_id for job_id in ids if job_id not in ended])]
        status = "finished" if request.job_id in ended else "processing"
        return respond(job_document(request.job_id, status))

    settings: dict[str, Any] = {
        "polling": PollPolicy(min_interval=4, max_interval=4),
        "limits": Limits(polls_per_second=None),
    }
    async with ScriptedServer(reply) as server, server.client(**settings) as client:
        seen = await client.wait_for_jobs(ids, strategy="list", timeout=10.6)
        assert any(8 <= request.at <= 8.3 for request in server.lists)
        assert ids_of(outcome for outcome in seen if outcome.ok) == ids[:3]


async def test_last_polls_that_queue_for_the_rate() -> None:
    """Lists that say "processing" for ever put off no last poll that waits for its turn."""
    ids = [f"a{number}" for number in range(100)]

    def reply(request: RawRequest) -> Script:
        if request.is_list:
            return page_of(request, ids)
        status = "finished" if now() >= 24.9 else "processing"
        return respond(job_document(request.job_id, status))

    settings: dict[str, Any] = {
        "polling": PollPolicy(min_interval=2, max_interval=2),
        "limits": Limits(polls_per_second=20, max_connections=4),
    }
    async with ScriptedServer(reply) as server, server.client(**settings) as client:
        seen = await client.wait_for_jobs(ids, strategy="list", timeout=30)
    assert sum(outcome.ok for outcome in seen) >= 80


both = pytest.mark.parametrize("many", [True, False])


async def wait(client: SieveClient, job_id: str = "job", *, many: bool = False) -> Job:
    """Wait for a job by long polls, in a watch or alone."""
    if not many:
        return await client.wait_for_job(job_id, strategy="long_poll")
    [outcome] = await client.wait_for_jobs([job_id], strategy="long_poll")
    return outcome.result()


def data_of(job: Job) -> list[Any]:
    """The data of the outputs."""
    return [getattr(output, "data", None) for output in job.outputs]


HALF = json.dumps(job_document("job", "finished")).encode()
CUTS: dict[str, Script] = {
    "504": respond(b"<html>504 Gateway Time-out</html>", status=504),
    "closed": [Action.CLOSE],
    "reset": [Action.RESET],
    "half a response": respond(HALF, Action.CLOSE, length=len(HALF) + 1),
}


@both
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
async def test_cut_every_minute(cut: Script, *, many: bool) -> None:
    """A proxy that cuts each request after a minute ends no wait, however long it does so."""

    def reply(request: RawRequest) -> Script:
        if not request.is_await:
            return job_until(1830)
        left = 1830 - now()
        return [max(0.0, left), *finished_job("job")] if left <= 60 else [60.0, *cut]

    policy = PollPolicy(outage_timeout=300)
    async with ScriptedServer(reply) as server, server.client(polling=policy) as client:
        job = await wait(client, many=many)
    assert data_of(job) == ["of job"]
    assert 1830 <= now() <= 1831
    assert len(server.requests) <= 2 * 31 + 2
    assert max_per_second(server.times) <= 3


async def test_timeout_of_the_plain_poll() -> None:
    """The plain poll after a cut has the timeout of a request, not that of a long poll."""
    settings: dict[str, Any] = {
        "polling": PollPolicy(outage_timeout=200),
        "retry": RetryPolicy(max_attempts=1),
    }
    server = ScriptedServer(
        lambda request: [Action.CLOSE] if request.is_await else [Action.SILENCE]
    )
    async with server, server.client(**settings) as client:
        error = await error_of(wait(client))
    assert isinstance(error, RequestTimeoutError)
    assert now() <= 200 + 60 + 30 + 1


async def test_closed_idle_connection() -> None:
    """A long poll on a connection that the server had closed is repeated at once."""

    def reply(request: RawRequest) -> Script:
        if not request.is_await:
            return running_job("job")
        return [Action.CLOSE] if request.number == 2 else [30.0, *finished_job("job")]

    slow = PollPolicy(min_interval=10, max_interval=10, jitter=0)
    async with ScriptedServer(reply) as server, server.client(polling=slow) as client:
        await client.get_job("job")
        await wait(client)
    assert server.requests[0].connection == server.requests[1].connection
    assert server.requests[2].at - server.requests[1].at <= 0.1


async def test_missing_endpoint(sieve: FakeSieve, client: SieveClient) -> None:
    """That the endpoint is missing costs some requests, not one for each job."""
    ids = [sieve.add_job() for _ in range(300)]
    missing = sieve.fault(path="/v2/jobs/*/await", status=404)
    outcomes = await client.wait_for_jobs(ids, strategy="long_poll")
    assert all(outcome.ok for outcome in outcomes)
    assert missing.hits <= 64
    assert sieve.requests.total - missing.hits <= 300
    assert now() <= 5


async def test_job_that_vanishes(caplog: pytest.LogCaptureFixture) -> None:
    """A job that is gone is not found, after two more polls; the endpoint is not blamed."""

    def reply(request: RawRequest) -> Script:
        if request.job_id == "other":
            return [50.0, *finished_job("other")]
        if now() >= 20:
            return error_response(404)
        return [20.0, Action.CLOSE] if request.is_await else running_job("job")

    async with ScriptedServer(reply) as server, server.client() as client:
        error = await error_of(wait(client))
        gone_at = now()
        other = await wait(client, "other")
    assert isinstance(error, NotFoundError)
    assert gone_at <= 40
    assert other.succeeded
    assert server.requests[-1].is_await
    assert not [line for line in warnings_of(caplog) if "endpoint" in line]


async def test_early_responses() -> None:
    """An endpoint that answers at once although the job runs gets no more requests than polls."""
    server = ScriptedServer(lambda request: job_until(300, request.job_id))
    async with server, server.client() as client:
        job = await wait(client)
    assert job.succeeded
    assert now() <= 300 + 12.5
    # At the shortest intervals: 27 in ten seconds, 82 until 200 s (each 3.75 % later), then 14.
    assert len(server.requests) <= 27 + 82 + 14 + 1
    assert max_per_second(server.times) <= 3


async def test_no_lists_after_the_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """A watch that is over sends nothing, also while its outcomes wait to be taken."""
    ids = [sieve.add_job(f"{number}", processing=36_000) for number in range(10)]
    async with client.as_completed(ids, timeout=20, strategy="list"):
        await asyncio.sleep(21)
        before = len(sieve.requests)
        await asyncio.sleep(3000)

        assert len(sieve.requests) == before


async def test_pages_find_their_turn_at_a_low_rate() -> None:
    """Pages may queue behind as many polls as there are slots: lists go on."""
    ends = {f"j{number}": 600.0 if number % 2 else 0.0 for number in range(1000)}
    async with ListServer(ends=ends) as server:
        async with server.client(limits=Limits(polls_per_second=5)) as client:
            await client.wait_for_jobs([*ends], timeout=300, strategy="list")
        assert len(server.lists) >= 10


@pytest.mark.parametrize("seconds", [304, 306, 362])
async def test_deadline_soon_after_a_long_poll_began(seconds: float) -> None:
    """The plain poll before the deadline of a watch does not wait for an interval."""

    def reply(request: RawRequest) -> Script:
        return [Action.SILENCE] if request.is_await else job_until(seconds - 1.5, request.job_id)

    async with ScriptedServer(reply) as server, server.client() as client:
        [outcome] = await client.wait_for_jobs(["a"], timeout=seconds, strategy="long_poll")

    assert outcome.ok


async def test_deadline_of_a_long_poll_that_queued() -> None:
    """A long poll that a pause held back ends early enough for the plain poll."""

    def reply(request: RawRequest) -> Script:
        if request.job_id == "other":
            return error_response(503, ("Retry-After", "20"))
        return [Action.SILENCE] if request.is_await else job_until(40, request.job_id)

    settings: dict[str, Any] = {"retry": RetryPolicy(max_attempts=1)}
    async with ScriptedServer(reply) as server, server.client(**settings) as client:
        with pytest.raises(ServerError):
            await client.get_job("other")
        job = await client.wait_for_job("a", timeout=60, strategy="long_poll")

    assert job.succeeded


async def test_a_new_job_that_a_replica_does_not_know_yet() -> None:
    """Its 404 does not mean that there is no endpoint for long polls."""

    def reply(asked: RawRequest) -> Script:
        if asked.method == "POST":
            return respond({"id": "job"})
        if now() < 0.3:
            return error_response(404)
        if asked.is_await:
            return [max(0.0, 100 - now()), *finished_job("job")]
        return job_until(100)

    async with ScriptedServer(reply) as server, server.client() as client:
        await client.run("o/f", strategy="long_poll")
        assert now() < 101
        assert len(server.polls) < 8  # the push is one of them


@pytest.mark.parametrize("status", [404, 403])
async def test_a_missing_endpoint_is_found_at_a_small_rate(status: int) -> None:
    """Time in the queue is not time for which the server held a request."""

    def reply(asked: RawRequest) -> Script:
        return error_response(status) if asked.is_await else job_until(300, asked.job_id)

    limits = Limits(polls_per_second=2)
    async with ScriptedServer(reply) as server, server.client(limits=limits) as client:
        waits = (client.wait_for_job(f"j{n}", strategy="long_poll") for n in range(20))
        await asyncio.gather(*waits)
        assert len(server.awaits) <= 40
        assert len(server.polls) > 500
