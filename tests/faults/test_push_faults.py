"""A push is one POST, and every failure reports correctly whether a job may have started."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.network import server_context
from helpers.push_server import PushPlan, PushServer
from helpers.raw_server import (
    Action,
    RawRequest,
    RawServer,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_document,
    respond,
)
from sieve_async import Limits, PushedJob, RetryPolicy, SieveClient, WaitTimeoutError, errors

pytestmark = pytest.mark.looptime

INPUTS = {"text": "hello"}
FUNCTION = "me/mine"
# Far more attempts than the default, so that a repeated push is noticed.
EAGER = RetryPolicy(max_attempts=10, initial_delay=0.0, max_delay=0.0)
HANGS = PushPlan(write=0, hangs=True)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[PushServer, SieveClient]]:
    """A server of pushes and its client."""
    async with PushServer() as server, SieveClient(KEY, base_url=server.url, **settings) as client:
        yield server, client


async def result_of_push(client: SieveClient, **inputs: object) -> PushedJob | errors.SieveError:
    """Push once: the job, or the error."""
    try:
        return await client.push_job(FUNCTION, inputs or INPUTS)
    except errors.SieveError as error:
        return error


@pytest.mark.parametrize("end", ["close", "resets", "hangs"])
async def test_cut_responses(end: str) -> None:
    """Once the head of the response has been received, the push is known to be accepted."""
    async with serving(retry=EAGER, timeout=5.0) as (server, client):
        response = server.answer(PushPlan(), b"{}")
        head = response.index(b"\r\n\r\n") + 4
        for write in (0, 1, 9, 20, head - 1, head, head + 1, len(response) - 1):
            server.posts.clear()
            plan = PushPlan(write=write, resets=end == "resets", hangs=end == "hangs")
            server.plan = lambda _, plan=plan: plan  # type: ignore[misc]
            error = await result_of_push(client)
            assert len(server.posts) == 1, write
            assert isinstance(error, errors.AmbiguousPushError), (write, error)
            if end == "resets":
                assert write >= head or not error.accepted
            else:
                assert error.accepted == (write >= head), write
            assert ("in time" in error.reason) is (end == "hangs")


REJECTED: dict[str, type[errors.SieveError]] = {
    "400 Bad": errors.BadRequestError,
    "401 No": errors.AuthenticationError,
    "402 Pay": errors.OutOfCreditsError,
    "403 No": errors.PermissionDeniedError,
    "404 None": errors.NotFoundError,
    "422 Bad": errors.UnprocessableEntityError,
}
AMBIGUOUS = ["302 X", "307 X", "408 X", "409 X", "425 X", "500 X", "501 X", "503 X"]


@pytest.mark.parametrize("status", [*REJECTED, *AMBIGUOUS])
async def test_statuses(status: str) -> None:
    """Documented rejections are raised; everything else is ambiguous."""
    async with serving(retry=EAGER) as (server, client):
        headers = "Location: /v2/push\r\nRetry-After: 1\r\n"
        server.plan = lambda _: PushPlan(accepts=False, status=status, headers=headers)
        error = await result_of_push(client)
        assert len(server.posts) == 1
        assert type(error) is REJECTED.get(status, errors.AmbiguousPushError)
        assert not getattr(error, "accepted", False)


@pytest.mark.parametrize(
    "body", [b" ", b"garbage", b"[]", b"{}", b'{"id": 7}', b'{"id": ""}', b'{"id": "a/b"}']
)
@pytest.mark.parametrize("status", ["200 OK", "202 OK"])
async def test_accepted_but_unreadable(status: str, body: bytes) -> None:
    """A good response without an id says that there is a job, but not which."""
    async with serving(retry=EAGER) as (server, client):
        server.plan = lambda _: PushPlan(status=status, body=body)
        error = await result_of_push(client)
        assert len(server.posts) == 1
        assert isinstance(error, errors.AmbiguousPushError)
        assert error.accepted
        [job] = await client.find_pushed(error)
        assert job.id == "job-0"


async def test_large_inputs() -> None:
    """Inputs of megabytes are sent unchanged; a server that does not read them times out."""
    inputs = {"text": "x" * 5_000_000}
    async with serving() as (server, client):
        await client.push_job(FUNCTION, inputs)
        assert json.loads(server.posts[0].body)["inputs"] == inputs
    unread: Script = [Action.DONT_READ, 20.0, Action.RESET]
    async with RawServer(unread) as silent, silent.client(timeout=2) as client:
        started = now()
        error = await result_of_push(client, text="x" * 15_000_000)
        assert isinstance(error, errors.AmbiguousPushError)
        assert now() - started <= 2.1


async def test_response_that_is_too_large() -> None:
    """A response beyond the limit cannot be read."""
    async with serving(limits=Limits(max_response_bytes=1000)) as (server, client):
        server.plan = lambda _: PushPlan(body=b"x" * 2000)
        error = await result_of_push(client)
        assert isinstance(error, errors.AmbiguousPushError)
        assert (error.accepted, len(server.posts)) == (True, 1)


@pytest.mark.parametrize("pause", [None, 7])
async def test_rate_limit(pause: int | None) -> None:
    """429 starts no job: the push is sent again, after the pause of the server."""
    async with serving() as (server, client):
        headers = "" if pause is None else f"Retry-After: {pause}\r\n"
        busy = PushPlan(accepts=False, status="429 Busy", headers=headers)
        server.plan = lambda number: busy if number < 2 else PushPlan()
        assert (await client.push_job(FUNCTION, INPUTS)).id == "job-0"
        assert len(server.posts) == 3
        assert now() >= 2 * (pause or 0.5)
        server.posts.clear()
        server.plan = lambda _: busy
        with pytest.raises(errors.RateLimitError) as raised:
            await client.push_job(FUNCTION, INPUTS)
        assert raised.value.attempts == len(server.posts) == 3


async def test_ambiguous_after_a_retry() -> None:
    """The job can only have started since the last try: jobs from before are not looked for."""
    rejected_at: list[datetime] = []

    def plan(number: int) -> PushPlan:
        if number:
            return PushPlan(write=0)
        rejected_at.append(datetime.now(UTC))
        return PushPlan(accepts=False, status="429 Busy")

    async with serving() as (server, client):
        server.plan = plan
        error = await result_of_push(client)
        assert isinstance(error, errors.AmbiguousPushError)
        assert (len(server.posts), client.stats.retries) == (2, 1)
        assert client.stats.retry_tokens == 495
        assert error.started_at > rejected_at[0]


async def test_pause_that_is_too_long() -> None:
    """A push does not wait longer than the policy allows, also in a pause of another call."""
    async with serving() as (server, client):
        headers = "Retry-After: 1000\r\n"
        server.plan = lambda _: PushPlan(accepts=False, status="429 Busy", headers=headers)
        for _ in range(2):
            with pytest.raises(errors.RateLimitError) as raised:
                await client.push_job(FUNCTION, INPUTS)
            assert raised.value.retry_after == pytest.approx(1000, abs=1)
            assert (raised.value.method, raised.value.path) == ("POST", "/v2/push")
        assert now() < 0.5
        assert len(server.posts) == 1


async def test_push_that_was_not_sent() -> None:
    """In a pause that a 503 asked for, and without a slot long after it, no job was started."""

    def reply(request: RawRequest) -> Script:
        if request.times:
            return [60.0, *finished_job(request.job_id)]
        return error_response(503, ("Retry-After", "200"))

    settings: dict[str, Any] = {"retry": EAGER, "limits": Limits(max_connections=1)}
    async with ScriptedServer(reply) as server, server.client(timeout=100, **settings) as client:
        with pytest.raises(errors.ServerError):
            await client.get_job("a")
        with pytest.raises(errors.ServerError) as paused:
            await client.push_job(FUNCTION, INPUTS)
        assert paused.value.retry_after == pytest.approx(200, abs=1)
        assert (paused.value.path, paused.value.attempts) == ("/v2/push", 0)
        await asyncio.sleep(1000)
        lookup = asyncio.create_task(client.get_job("a"))
        await asyncio.sleep(1)
        with pytest.raises(errors.RequestTimeoutError, match="no slot") as late:
            await client.run(FUNCTION, INPUTS, timeout=5)
        assert (late.value.sent, late.value.attempts) == (False, 0)
        await lookup
        assert not [request for request in server.requests if request.method == "POST"]


async def test_unreachable_server() -> None:
    """A push without a connection was not sent: it is retried, and not ambiguous at the end."""
    async with SieveClient(KEY, base_url="http://127.0.0.1:1") as client:
        error = await result_of_push(client)
        assert isinstance(error, errors.ConnectError)
        assert (error.sent, error.attempts, client.stats.requests) == (False, 3, 3)
    tls = server_context(trustme.CA())
    async with RawServer(tls=tls) as server, server.client(retry=EAGER) as client:
        error = await result_of_push(client)
        assert isinstance(error, errors.TLSError)
        assert (error.sent, client.stats.requests) == (False, 1)


async def test_pooled_connections_are_not_used() -> None:
    """A push is sent on a new connection, whatever is in the pool."""
    async with serving() as (server, client):
        first = await client.push_job(FUNCTION, INPUTS)
        for _ in range(5):
            await client.get_job(first.id)
            await client.push_job(FUNCTION, INPUTS)
        assert (len(server.posts), server.reused) == (6, 0)
        assert {post.header("Content-Type") for post in server.posts} == {"application/json"}


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_interrupted_push(how: str) -> None:
    """A push in flight when the client is closed is ambiguous; a cancellation passes."""
    async with serving() as (server, client):
        server.plan = lambda _: HANGS
        push = asyncio.create_task(result_of_push(client))
        while not server.jobs:  # noqa: ASYNC110 - the server has no event for this
            await asyncio.sleep(0)
        if how == "close":
            await client.close()
            assert isinstance(await push, errors.AmbiguousPushError)
            assert isinstance(await result_of_push(client), errors.ClientClosedError)
        else:
            push.cancel()
            with pytest.raises(asyncio.CancelledError):
                await push
        assert len(server.posts) == 1


def random_plan(randomizer: random.Random) -> PushPlan:
    """A good or a bad end of a push."""
    status = randomizer.choice(["408 T", "500 E", "502 E", "503 E", "302 M", "409 C"])
    accepts = randomizer.random() < 0.5
    write, end = randomizer.randrange(80), randomizer.choice(["close", "resets", "hangs"])
    how: dict[str, Any] = {} if end == "close" else {end: True}
    plans = [
        PushPlan(),
        PushPlan(),
        PushPlan(write=write, **how),
        PushPlan(read=write, **how),
        PushPlan(accepts=accepts, status=status, headers="Location: /\r\n", body=b"<html>"),
        PushPlan(body=randomizer.choice([b"garbage", b"{}", b'{"id": null}'])),
        PushPlan(accepts=False, status="429 B", headers="Retry-After: 1\r\n"),
        PushPlan(accepts=False, status=randomizer.choice(list(REJECTED))),
    ]
    return randomizer.choice(plans)


@pytest.mark.parametrize(
    ("pushes", "seed"), [(60, 1), pytest.param(1000, 2, marks=pytest.mark.campaign)]
)
async def test_random_faults(pushes: int, seed: int) -> None:
    """The pushes that the server accepted are those that returned and those that are found."""
    randomizer = random.Random(seed)
    numbers = iter(range(pushes))
    known: list[str] = []
    ambiguous: list[errors.AmbiguousPushError] = []

    async def worker(client: SieveClient) -> None:
        for number in numbers:
            result = await result_of_push(client, number=number)
            if isinstance(result, PushedJob):
                known.append(result.id)
            elif isinstance(result, errors.AmbiguousPushError):
                ambiguous.append(result)

    async with serving(timeout=5.0) as (server, client):
        server.plan = lambda _: random_plan(randomizer)
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(worker(client))
        found = [await client.find_pushed(error, timeout=5.0) for error in ambiguous]
    ids = [job.id for jobs in found for job in jobs]
    assert sorted(known + ids) == sorted(server.jobs)
    for error, jobs in zip(ambiguous, found, strict=True):
        accepted = [id_ for id_, job in server.jobs.items() if job["inputs"] == error.inputs]
        assert [job.id for job in jobs] == accepted
        assert not error.accepted or accepted
    assert ambiguous
    assert known


async def test_cancelling_a_job_that_a_replica_does_not_know_yet() -> None:
    """``cancel_on_timeout`` tries again: else the job continues, and so do its costs."""
    cancelled: list[RawRequest] = []

    def reply(asked: RawRequest) -> Script:
        if asked.method == "POST":
            return respond({"id": "job"})
        if now() < 1.5:
            return error_response(404)
        if asked.method == "DELETE":
            cancelled.append(asked)
            return respond(b"")
        return respond(job_document("job", "cancelled" if cancelled else "processing"))

    async with ScriptedServer(reply) as server, server.client() as client:
        with pytest.raises(WaitTimeoutError) as caught:
            await client.run("o/f", timeout=1, cancel_on_timeout=True)
    assert caught.value.__notes__ == ["the job was cancelled"]
    assert len(cancelled) == 1
