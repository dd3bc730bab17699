"""``push_job`` and ``find_pushed`` on a client."""

import asyncio
import logging
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from helpers.leak_checks import KEY
from helpers.push_server import PushPlan, push_server
from helpers.raw_server import respond, serve
from sieve_async import (
    AmbiguousPushError,
    InvalidArgumentError,
    JobStatus,
    Limits,
    NotFoundError,
    OutOfCreditsError,
    SieveClient,
    UnprocessableEntityError,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


async def test_a_push(sieve: FakeSieve, client: SieveClient) -> None:
    """A push sends what was given, and returns what the API answers."""
    sieve.script_function("me/mine", processing=5)
    hook = {"type": "job.complete", "url": "https://example.com/hook"}

    pushed = await client.push_job(
        "me/mine", {"text": "hi"}, webhooks=[hook], env={"TOKEN": "canary-env"}
    )

    [push] = sieve.pushes
    assert (push.job_id, push.function, push.inputs) == (pushed.id, "me/mine", {"text": "hi"})
    assert push.env == {"TOKEN": "canary-env"}
    assert [(each.type, each.url) for each in push.webhooks] == [(hook["type"], hook["url"])]
    assert pushed.status == JobStatus.QUEUED
    assert pushed.run_id
    assert (await client.get_job(pushed.id)).inputs["text"].data == "hi"


@pytest.mark.parametrize(
    "arguments",
    [
        {"function": "mine"},
        {"inputs": {"file": Path("a.mp4")}},
        {"inputs": []},
        {"webhooks": "https://example.com"},
        {"env": {"A": 1}},
    ],
)
async def test_invalid_arguments(
    sieve: FakeSieve, client: SieveClient, arguments: dict[str, Any]
) -> None:
    """An invalid argument is an error before anything is sent, in a run too."""
    valid: dict[str, Any] = {"function": "me/mine"}

    for call in (client.push_job, client.run):
        with pytest.raises(InvalidArgumentError):
            await call(**(valid | arguments))

    assert not sieve.requests


async def test_refusals(sieve: FakeSieve, client: SieveClient) -> None:
    """What the API refuses is raised with its own text, after one request."""
    with pytest.raises(NotFoundError, match="Function not found"):
        await client.push_job("me/unknown")
    sieve.script_function("me/mine")
    sieve.fault(path="/v2/push", status=402, times=1)
    with pytest.raises(OutOfCreditsError):
        await client.push_job("me/mine")

    assert len(sieve.requests) == 2


async def test_env_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """A server that sends values of the environment back does not bring them into an error."""
    caplog.set_level(logging.DEBUG)
    env = {"TOKEN": "canary-env"}
    echo = b'{"detail": [{"loc": ["env"], "msg": "canary-env is bad", "input": "canary-env"}]}'
    async with push_server() as server, SieveClient(KEY, base_url=server.url) as client:
        server.plan = lambda _: PushPlan(accepts=False, status="422 Bad", body=echo)
        with pytest.raises(UnprocessableEntityError) as refused:
            await client.push_job("me/mine", env=env)
        server.plan = lambda _: PushPlan(body=b'{"env": "canary-env"')
        with pytest.raises(AmbiguousPushError) as ambiguous:
            await client.push_job("me/mine", {"secret": "in-inputs"}, env=env)

    for error in (refused.value, ambiguous.value):
        assert "canary" not in f"{error} {error!r} {vars(error)}"
    assert "in-inputs" not in f"{ambiguous.value} {ambiguous.value!r}"
    assert "canary" not in caplog.text


async def test_ambiguous_errors_are_values(sieve: FakeSieve, client: SieveClient) -> None:
    """The error says what was pushed and when, and pickles: another process can search."""
    sieve.script_function("me/mine", processing=60)
    sieve.fault(path="/v2/push", drop="after", times=1)

    with pytest.raises(AmbiguousPushError) as raised:
        await client.push_job("me/mine:latest", {"text": "hi"})

    error = pickle.loads(pickle.dumps(raised.value))
    assert (error.function, error.inputs) == ("me/mine:latest", {"text": "hi"})
    assert error.__cause__ is None
    assert [job.id for job in await client.find_pushed(error)] == [sieve.pushes[0].job_id]


async def test_find_pushed(sieve: FakeSieve, client: SieveClient) -> None:
    """The job of the push is found, and no job of another push of this client."""
    sieve.script_function("me/mine", processing=60)
    sieve.script_function("me/other", processing=60)
    first = await client.push_job("me/mine", {"n": 1})
    await client.push_job("me/mine", {"n": 2})
    await client.push_job("me/other", {"n": 1})
    sieve.fault(path="/v2/push", drop="after", times=1)
    with pytest.raises(AmbiguousPushError) as raised:
        await client.push_job("me/mine", {"n": 1})
    last = await client.push_job("me/mine", {"n": 1})

    [found] = await client.find_pushed(raised.value)

    assert found.id == sieve.pushes[3].job_id
    assert found.id not in {first.id, last.id}
    assert len(sieve.pushes) == 5
    async with SieveClient(sieve.api_key, base_url=sieve.url) as another:
        assert len(await another.find_pushed(raised.value)) == 3  # it knows of no push


@pytest.mark.parametrize(
    "value", [{}, {"type": "fast"}, {"data": 1}, {"name": "n", "size": 3}, {"data": {"data": None}}]
)
@pytest.mark.parametrize("is_wrapped", [True, False], ids=["wrapped", "bare"])
async def test_inputs_that_look_like_documents(value: Any, *, is_wrapped: bool) -> None:
    """An input is found whether the API shows it as it was sent or inside an ``InputOutput``."""
    error = AmbiguousPushError("me/mine", {"x": value}, datetime.now(UTC), False, "lost")  # noqa: FBT003
    shown = {"name": "x", "data": value} if is_wrapped else value
    other = {"id": "k", "status": "queued", "inputs": {"x": {"type": "slow"}}}
    rows = [other, {"id": "j", "status": "queued", "inputs": {"x": shown}}]
    async with serve(respond({"data": rows, "next_offset": -1})) as (_, client):
        found = await client.find_pushed(error, timeout=0)

    assert [job.id for job in found] == ["j"]


async def test_a_job_is_found_at_once(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that is listed is found by the first look."""
    loop = asyncio.get_running_loop()
    sieve.script_function("me/mine", processing=60)
    sieve.fault(path="/v2/push", drop="after", times=1)
    with pytest.raises(AmbiguousPushError) as raised:
        await client.push_job("me/mine", {"n": 1})
    started = loop.time()

    assert len(await client.find_pushed(raised.value)) == 1
    assert loop.time() - started < 0.5


async def test_an_equal_push_in_flight(sieve: FakeSieve, client: SieveClient) -> None:
    """The job of an equal push, whose answer is still to come, is not taken for the lost one."""
    sieve.script_function("me/mine", processing=60)
    sieve.fault(path="/v2/push", drop="before", times=1)
    with pytest.raises(AmbiguousPushError) as raised:
        await client.push_job("me/mine", {"n": 1})
    sieve.fault(path="/v2/push", delay=10, takes_effect=True, times=1)

    async with asyncio.TaskGroup() as group:
        group.create_task(client.push_job("me/mine", {"n": 1}))
        search = group.create_task(client.find_pushed(raised.value, timeout=20))

    assert len(sieve.pushes) == 1
    assert search.result() == []


async def test_nothing_was_pushed(sieve: FakeSieve, client: SieveClient) -> None:
    """Where no job was started, the search ends with nothing when its time is over."""
    loop = asyncio.get_running_loop()
    sieve.script_function("me/mine", processing=60)
    sieve.fault(path="/v2/push", drop="before", times=1)
    with pytest.raises(AmbiguousPushError) as raised:
        await client.push_job("me/mine", {"n": 1})
    started = loop.time()

    assert await client.find_pushed(raised.value, timeout=12) == []
    assert loop.time() - started == pytest.approx(12, abs=0.5)
    before = len(sieve.requests)
    assert await client.find_pushed(raised.value, timeout=0) == []
    assert len(sieve.requests) == before + 1
    assert not sieve.pushes


async def test_what_cannot_be_searched_for(sieve: FakeSieve, client: SieveClient) -> None:
    """Only an ambiguous push is searched for."""
    with pytest.raises(InvalidArgumentError, match="AmbiguousPushError"):
        await client.find_pushed(NotFoundError(404))  # type: ignore[arg-type]
    assert not sieve.requests


async def test_a_job_that_is_not_known_yet(sieve: FakeSieve, client: SieveClient) -> None:
    """Just after its push, 404 does not end the wait for a job; for another job it does."""
    sieve.script_function("me/mine", processing=5)
    pushed = await client.push_job("me/mine")
    sieve.fault(job=pushed.id, status=404, times=3)

    job = await client.wait_for_job(pushed.id)

    assert job.succeeded
    with pytest.raises(NotFoundError):
        await client.wait_for_job("unknown")


@pytest.mark.parametrize("jobs", [200, pytest.param(1000, marks=pytest.mark.campaign)])
async def test_many_pushes_are_bounded_in_flight(sieve: FakeSieve, jobs: int) -> None:
    """An async generator of pushed ids feeds a watch: jobs are pushed as others come to an end."""
    sieve.script_function("me/mine", processing=3, outputs=lambda inputs: [inputs["n"]])
    limits = Limits(max_pending_jobs=50)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        running: set[str] = set()
        most = 0

        async def pushed_ids() -> Any:
            nonlocal most
            for number in range(jobs):
                pushed = await client.push_job("me/mine", {"n": number})
                running.add(pushed.id)
                most = max(most, len(running))
                yield pushed.id

        results: list[int] = []
        async with client.as_completed(pushed_ids()) as watch:
            async for outcome in watch:
                running.discard(outcome.job_id)
                results += outcome.result().data

    assert sorted(results) == list(range(jobs))
    assert len(sieve.pushes) == jobs
    assert most <= 51
