"""The life of a job: ``push_job``, ``find_pushed``, ``run``, ``cancel_job`` and ``list_jobs``."""

import asyncio
import logging
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.push_server import PushPlan, PushServer
from helpers.raw_server import respond, serve
from sieve_async import Job, JobStatus, Limits, PushedJob, SieveClient, WaitTimeoutError, errors
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


INVALID: list[dict[str, Any]] = [
    *({"function": "mine"}, {"inputs": {"file": Path("a.mp4")}}, {"inputs": []}),
    *({"webhooks": "https://example.com"}, {"env": {"A": 1}}),
]
INVALID_WAITS: list[dict[str, Any]] = [
    *({"timeout": -1}, {"polling": 1}, {"strategy": "list"}, {"on_pushed": 1}, {"on_update": 1})
]


async def test_invalid_arguments(sieve: FakeSieve, client: SieveClient) -> None:
    """An invalid argument is an error before anything is sent, in a run too."""
    valid: dict[str, Any] = {"function": "me/mine"}
    for arguments in INVALID:
        for call in (client.push_job, client.run):
            with pytest.raises(errors.InvalidArgumentError):
                await call(**(valid | arguments))
    for arguments in INVALID_WAITS:
        with pytest.raises(errors.InvalidArgumentError):
            await client.run(**(valid | arguments))
    with pytest.raises(errors.InvalidArgumentError, match="AmbiguousPushError"):
        await client.find_pushed(errors.NotFoundError(404))  # type: ignore[arg-type]
    assert not sieve.requests


async def test_env_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """A server that sends values of the environment back does not bring them into an error."""
    caplog.set_level(logging.DEBUG)
    env = {"TOKEN": "canary-env"}
    echo = b'{"detail": [{"loc": ["env"], "msg": "canary-env is bad", "input": "canary-env"}]}'
    async with PushServer() as server, SieveClient(KEY, base_url=server.url) as client:
        server.plan = lambda _: PushPlan(accepts=False, status="422 Bad", body=echo)
        with pytest.raises(errors.UnprocessableEntityError) as refused:
            await client.push_job("me/mine", env=env)
        found: list[errors.SieveError] = [refused.value]
        bad = (
            PushPlan(body=b'{"env": "canary-env"'),
            PushPlan(body=b'{"id": 5}'),
            PushPlan(write=60),
        )
        for plan in bad:
            server.plan = lambda _, plan=plan: plan  # type: ignore[misc]
            with pytest.raises(errors.AmbiguousPushError) as ambiguous:
                await client.push_job("me/mine", {"secret": "in-inputs"}, env=env)
            assert ambiguous.value.accepted
            assert "in-inputs" not in f"{ambiguous.value} {ambiguous.value!r}"
            found.append(ambiguous.value)
    for error in found:
        assert "canary" not in f"{error} {error!r} {vars(error)}"
    assert "canary" not in caplog.text


async def test_find_pushed(sieve: FakeSieve, client: SieveClient) -> None:
    """The job of the push is found, and no job of another push of this client."""
    sieve.script_function("me/mine", processing=60)
    sieve.script_function("me/other", processing=60)
    first = await client.push_job("me/mine", {"n": 1})
    await client.push_job("me/mine", {"n": 2})
    await client.push_job("me/other", {"n": 1})
    sieve.fault(path="/v2/push", drop="after", times=1)
    with pytest.raises(errors.AmbiguousPushError) as raised:
        await client.push_job("me/mine", {"n": 1})
    last = await client.push_job("me/mine", {"n": 1})
    started = now()
    [found] = await client.find_pushed(pickle.loads(pickle.dumps(raised.value)))
    assert now() - started < 1
    assert found.id == sieve.pushes[3].job_id
    assert found.id not in {first.id, last.id}
    assert len(sieve.pushes) == 5
    async with SieveClient(sieve.api_key, base_url=sieve.url) as another:
        assert len(await another.find_pushed(raised.value)) == 3  # it knows of no push


@pytest.mark.parametrize("is_wrapped", [True, False], ids=["wrapped", "bare"])
async def test_inputs_that_look_like_documents(*, is_wrapped: bool) -> None:
    """An input is found whether the API shows it as it was sent or inside an ``InputOutput``."""
    values: list[Any] = [{}, {"type": "fast"}, {"data": 1}, {"name": "n", "size": 3}]
    for value in [*values, {"data": {"data": None}}]:
        error = errors.AmbiguousPushError("me/mine", {"x": value}, datetime.now(UTC), False, "lost")  # noqa: FBT003
        shown = {"name": "x", "data": value} if is_wrapped else value
        other = {"id": "k", "status": "queued", "inputs": {"x": {"type": "slow"}}}
        rows = [other, {"id": "j", "status": "queued", "inputs": {"x": shown}}]
        async with serve(respond({"data": rows, "next_offset": -1})) as (_, client):
            found = await client.find_pushed(error, timeout=0)
        assert [job.id for job in found] == ["j"]


async def test_search_when_the_timer_is_early(sieve: FakeSieve, client: SieveClient) -> None:
    """A search ends in time also on a loop that fires its timers a little early."""
    sieve.script_function("me/mine")
    error = errors.AmbiguousPushError("me/mine", {}, datetime.now(UTC), False, "lost")  # noqa: FBT003
    for number in range(10):
        await asyncio.sleep(11.000002 + number / 1e6 - now() % 1)
        started = now()
        assert await client.find_pushed(error, timeout=5) == []
        assert now() - started == pytest.approx(5, abs=0.1)
    assert sieve.requests.total < 100


async def test_an_equal_push_in_flight(sieve: FakeSieve, client: SieveClient) -> None:
    """The job of an equal push, whose answer is still to come, is not taken for the lost one."""
    sieve.script_function("me/mine", processing=60)
    sieve.fault(path="/v2/push", drop="before", times=1)
    with pytest.raises(errors.AmbiguousPushError) as raised:
        await client.push_job("me/mine", {"n": 1})
    sieve.fault(path="/v2/push", delay=10, takes_effect=True, times=1)
    async with asyncio.TaskGroup() as group:
        group.create_task(client.push_job("me/mine", {"n": 1}))
        search = group.create_task(client.find_pushed(raised.value, timeout=20))
    assert len(sieve.pushes) == 1
    assert search.result() == []


@pytest.mark.parametrize("jobs", [60, pytest.param(1000, marks=pytest.mark.campaign)])
async def test_many_pushes_are_bounded_in_flight(sieve: FakeSieve, jobs: int) -> None:
    """An async generator of pushed ids feeds a watch: jobs are pushed as others come to an end."""
    sieve.script_function("me/mine", processing=3, outputs=lambda inputs: [inputs["n"]])
    limits = Limits(max_pending_jobs=20)
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
    assert most <= 21


async def test_a_run(sieve: FakeSieve, client: SieveClient) -> None:
    """A run pushes once, and returns the job as it ended."""
    sieve.script_function("me/upper", queued=2, processing=3, outputs=lambda i: [i["text"].upper()])
    order: list[str] = []

    async def on_pushed(pushed: PushedJob) -> None:
        await asyncio.sleep(0)
        order.append(f"pushed {pushed.id}")

    job = await client.run(
        "me/upper",
        {"text": "hi"},
        on_pushed=on_pushed,
        on_update=lambda seen: order.append(seen.status),
    )
    assert job.data == ("HI",)
    assert order[0] == f"pushed {job.id}"
    assert order[-1] == "finished"
    assert [push.job_id for push in sieve.pushes] == [job.id]


@pytest.mark.parametrize(
    ("status", "error"), [("error", errors.JobFailedError), ("cancelled", errors.JobCancelledError)]
)
async def test_jobs_that_do_not_finish(
    sieve: FakeSieve, client: SieveClient, status: Any, error: type[Exception]
) -> None:
    """A run raises for a job that did not finish, unless ``check`` is False."""
    sieve.script_function("me/mine", processing=1, status=status)
    with pytest.raises(error):
        await client.run("me/mine")
    assert (await client.run("me/mine", check=False)).status == status


async def test_one_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """The timeout covers the push and the wait; the error names the job, which continues."""
    sieve.script_function("me/mine", processing=60)
    sieve.fault(path="/v2/push", delay=4)
    started = now()
    with pytest.raises(errors.WaitTimeoutError) as raised:
        await client.run("me/mine", timeout=10)
    assert now() - started == pytest.approx(10, abs=0.1)
    assert raised.value.elapsed == pytest.approx(10, abs=0.1)
    assert raised.value.target == sieve.pushes[0].job_id
    assert (await client.get_job(raised.value.target)).status == JobStatus.PROCESSING


async def test_a_deadline_during_the_push(sieve: FakeSieve, client: SieveClient) -> None:
    """A push that has no answer by the deadline may have started a job."""
    sieve.script_function("me/mine")
    sieve.fault(path="/v2/push", delay=20, takes_effect=True)
    started = now()
    with pytest.raises(errors.AmbiguousPushError) as raised:
        await client.run("me/mine", {"n": 1}, timeout=5)
    assert now() - started == pytest.approx(5, abs=0.1)
    assert len(await client.find_pushed(raised.value)) == len(sieve.pushes) == 1


async def test_a_pause_beyond_the_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """A push that may not be sent before the deadline is given up at once; no job was started."""
    sieve.script_function("me/mine")
    sieve.fault(path="/v2/push", status=429, retry_after=20)
    started = now()
    with pytest.raises(errors.RateLimitError):
        await client.run("me/mine", timeout=10)
    assert now() - started < 1
    assert not sieve.pushes


async def test_a_timeout_of_zero(sieve: FakeSieve, client: SieveClient) -> None:
    """Zero is a push and exactly one poll."""
    sieve.script_function("me/mine", processing=60)
    with pytest.raises(errors.WaitTimeoutError) as raised:
        await client.run("me/mine", timeout=0)
    assert raised.value.polls == 1
    assert len(sieve.requests) == 2


async def test_cancel_on_timeout(sieve: FakeSieve, client: SieveClient) -> None:
    """The job is cancelled only if the caller wants that; the error stays that of the deadline."""
    sieve.script_function("me/mine", processing=60)
    with pytest.raises(errors.WaitTimeoutError) as raised:
        await client.run("me/mine", timeout=5, cancel_on_timeout=True)
    assert raised.value.__notes__ == ["the job was cancelled"]
    assert (await client.get_job(raised.value.target)).cancelled


async def test_a_job_that_ends_at_the_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """A job that was over before it could be cancelled is the result; held polls serve a run."""
    sieve.script_function("me/mine", processing=6, outputs=["done"])
    sieve.fault(method="DELETE", delay=3, times=1)
    job = await client.run("me/mine", timeout=5, cancel_on_timeout=True, strategy="long_poll")
    assert job.data == ("done",)


@pytest.mark.parametrize("fault", [{"status": 500}, {"delay": 1000}])
async def test_a_job_that_cannot_be_cancelled(
    sieve: FakeSieve, client: SieveClient, fault: dict[str, Any]
) -> None:
    """When cancelling fails, the deadline is the error all the same, soon."""
    sieve.script_function("me/mine", processing=3600)
    sieve.fault(method="DELETE", **fault)
    started = now()
    with pytest.raises(errors.WaitTimeoutError) as raised:
        await client.run("me/mine", timeout=5, cancel_on_timeout=True)
    assert "could not be cancelled" in raised.value.__notes__[0]
    assert now() - started < 20


async def test_what_on_pushed_raises(sieve: FakeSieve, client: SieveClient) -> None:
    """It ends the run before any poll; the job continues."""
    sieve.script_function("me/mine", processing=60)

    def on_pushed(_pushed: PushedJob) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await client.run("me/mine", on_pushed=on_pushed)
    assert len(sieve.requests) == 1
    assert (await client.get_job(sieve.pushes[0].job_id)).status == JobStatus.PROCESSING


async def test_cancelling_the_task(sieve: FakeSieve, client: SieveClient) -> None:
    """A cancellation passes, and never touches the remote job."""
    sieve.script_function("me/mine", processing=60)
    task = asyncio.create_task(client.run("me/mine", cancel_on_timeout=True))
    await asyncio.sleep(5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await client.get_job(sieve.pushes[0].job_id)).status == JobStatus.PROCESSING


async def test_cancelling(sieve: FakeSieve, client: SieveClient) -> None:
    """A running job is cancelled, and returned as it is then; one that is over, as it ended."""
    sieve.add_job("j", processing=60)
    sieve.add_job("over", outputs=["done"])
    job = await client.cancel_job("j")
    assert (job.id, job.cancelled) == ("j", True)
    assert [request.method for request in sieve.requests] == ["DELETE", "GET"]
    assert (await client.cancel_job("over")).data == ("done",)


async def test_a_refused_cancellation(sieve: FakeSieve, client: SieveClient) -> None:
    """Rejecting a job that is not terminal is an error that holds the job."""
    sieve.add_job("j", queued=60)
    sieve.fault(method="DELETE", status=400)
    with pytest.raises(errors.JobNotCancellableError) as raised:
        await client.cancel_job("j")
    assert raised.value.job.status == "queued"
    assert len(sieve.requests) == 2


async def test_answers_without_an_object() -> None:
    """What stands in the answer to a cancellation is of no interest: the job is looked up."""
    cancelled = respond({"id": "j", "status": "cancelled"})
    for body in (b"", b"ok", b"[]", b"null"):
        async with serve(respond(body), cancelled) as (_, client):
            assert (await client.cancel_job("j")).cancelled


async def test_it_is_retried(sieve: FakeSieve, client: SieveClient) -> None:
    """Cancelling twice is cancelling once: what may pass is tried again."""
    sieve.add_job("j", processing=60)
    sieve.fault(method="DELETE", status=503, times=1)
    sieve.fault(method="DELETE", drop="after", times=1)
    assert (await client.cancel_job("j")).cancelled


async def test_refused_cancellations(sieve: FakeSieve, client: SieveClient) -> None:
    """Any other rejection is raised as it is; an invalid id is never sent."""
    for status in (401, 403, 404, 409, 422):
        sieve.fault(method="DELETE", status=status, times=1)
        with pytest.raises(errors.APIError, match=str(status)):
            await client.cancel_job("j")
    with pytest.raises(errors.InvalidArgumentError):
        await client.cancel_job("../push")
    assert len(sieve.requests) == 5


async def ids_of(client: SieveClient, **filters: Any) -> list[str]:
    """The ids of a list."""
    return [job.id async for job in client.list_jobs(**filters)]


async def test_all_jobs(sieve: FakeSieve, client: SieveClient) -> None:
    """All pages are read, and each id comes once, also when jobs are added meanwhile."""
    made = {sieve.add_job(processing=60) for _ in range(600)}
    listed = []
    async for job in client.list_jobs():
        listed.append(job.id)
        if len(listed) == 500:
            for _ in range(50):
                sieve.add_job(processing=60)
    assert len(listed) == len(set(listed))
    assert set(listed) == made
    assert len(sieve.requests) == 2


async def test_filters(sieve: FakeSieve, client: SieveClient) -> None:
    """The filters are those of the API."""
    sieve.add_job("a", function="me/mine", processing=60)
    sieve.add_job("b", function="me/mine")
    sieve.add_job("c", function="me/other", processing=60)
    assert sorted(await ids_of(client)) == ["a", "b", "c"]
    assert sorted(await ids_of(client, status="processing")) == ["a", "c"]
    assert sorted(await ids_of(client, function="me/mine")) == ["a", "b"]
    assert await ids_of(client, function="me/mine", status="finished") == ["b"]
    with pytest.raises(errors.NotFoundError):
        await ids_of(client, function="me/unknown")


async def test_limits(sieve: FakeSieve, client: SieveClient) -> None:
    """No more is listed than was asked for, and no more pages are read."""
    for _ in range(501):
        sieve.add_job(processing=60)
    for limit, requests in ((0, 0), (1, 1), (500, 1), (501, 2)):
        before = len(sieve.requests)
        assert len(await ids_of(client, limit=limit)) == limit
        assert len(sieve.requests) - before == requests


async def test_a_cancelled_step_loses_nothing(sieve: FakeSieve, client: SieveClient) -> None:
    sieve.add_job("j")
    sieve.fault(path="/v2/jobs", delay=10, times=1)
    listing = client.list_jobs()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await anext(listing)
    job: Job = await anext(listing)
    assert job.id == "j"


async def test_a_next_offset_that_leads_nowhere() -> None:
    """A list is never cut short without an error; an empty page is the last one.

    The jobs of the page come before the error, which is none where no further page is needed.
    """
    rows = [{"id": "j", "status": "queued"}]
    offsets: tuple[object, ...] = (0, "500", 500.0, True, {})
    for next_offset in offsets:
        async with serve(respond({"data": rows, "next_offset": next_offset})) as (_, client):
            listing = client.list_jobs()
            assert (await anext(listing)).id == "j"
            with pytest.raises(errors.DecodeError, match="next_offset"):
                await anext(listing)
            assert await ids_of(client, limit=1) == ["j"]
    for end in (None, -1, 0):
        async with serve(respond({"data": [], "next_offset": end})) as (_, client):
            assert await ids_of(client) == []


async def test_timeout_of_a_callback_cancels_no_job(sieve: FakeSieve, client: SieveClient) -> None:
    """Only the deadline of the run itself cancels its job."""
    sieve.add_job("other", processing=600)

    async def on_update(_: Job) -> None:
        await client.wait_for_job("other", timeout=1)

    with pytest.raises(WaitTimeoutError, match="other"):
        await client.run("sieve/demo", {}, on_update=on_update, timeout=60, cancel_on_timeout=True)

    assert not [entry for entry in sieve.requests if entry.method == "DELETE"]


@pytest.mark.parametrize(
    ("value", "echoed"),
    [
        ("first\nsecond", r"first\nsecond"),
        ("geheimnisvoll-ä", "geheimnisvoll-%C3%A4"),
        ("geheimnisvoll-ä", "geheimnisvoll-%E4"),
        ("中文密码", r"\u4e2d\u6587\u5bc6\u7801"),
        ("🔑🔑🔑🔑", r"\ud83d\udd11" * 4),
        ("admin-1234", "admin-1234"),
    ],
)
async def test_env_in_another_spelling(value: str, echoed: str) -> None:
    """Values of the environment are hidden however a text of a server spells them."""
    async with PushServer() as server, SieveClient(KEY, base_url=server.url) as client:
        server.plan = lambda _: PushPlan(status="400 Bad", body=f"bad: {echoed}".encode())
        with pytest.raises(errors.BadRequestError) as refused:
            await client.push_job("me/mine", env={"USER": "admin", "KEY": value})

    assert refused.value.detail == "bad: [env]"


async def test_long_env() -> None:
    """Long values of the environment are hidden, too."""
    value = "".join(f"{number:x}/" for number in range(20_000))
    echo = f'{{"detail": "bad: {value} is no key"}}'.encode()
    async with PushServer() as server, SieveClient(KEY, base_url=server.url) as client:
        await client.push_job("me/mine", env={"KEY": value})
        server.plan = lambda _: PushPlan(accepts=False, status="400 Bad", body=echo)
        with pytest.raises(errors.BadRequestError) as refused:
            await client.push_job("me/mine", env={"KEY": value})

    assert refused.value.detail.endswith("bad: [env]")


@pytest.mark.parametrize(("end", "shown"), [("", "[env]"), ("?", None)])
async def test_env_with_many_backslashes(end: str, shown: str | None) -> None:
    """A text may double them, and differ at the end: it is not tried in all combinations."""
    value = r"BEGIN\nKEY" * 40 + r"\\\\" * 10
    echoed = value.replace("\\", "\\\\")
    text = f"{echoed[:-50]}{end}" if end else echoed
    async with PushServer() as server, SieveClient(KEY, base_url=server.url) as client:
        server.plan = lambda _: PushPlan(status="400 Bad", body=f"bad: {text}".encode())
        with pytest.raises(errors.BadRequestError) as refused:
            await client.push_job("me/mine", env={"KEY": value})

    assert refused.value.detail.startswith(f"bad: {shown or 'BEGIN'}")
