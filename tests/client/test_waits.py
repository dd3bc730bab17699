"""Waits for one job or build: polls, deadlines, errors, restarts, and what they share."""

import asyncio
import math
import sys
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.raw_server import (
    JOB,
    Action,
    Document,
    RawRequest,
    RawServer,
    Script,
    ScriptedServer,
    error_response,
    job_document,
    job_json,
    job_until,
    respond,
    running_job,
    serve,
    version_json,
)
from helpers.waits import ends_of
from sieve_async import (
    BuildStatus,
    FunctionVersion,
    Job,
    JobStatus,
    Limits,
    PollPolicy,
    RetryPolicy,
    SieveClient,
    Timeout,
    errors,
)
from sieve_async.testing import FakeSieve
from sieve_async.watch import scheduler

pytestmark = pytest.mark.looptime


async def test_an_hour(sieve: FakeSieve, client: SieveClient) -> None:
    """A job of an hour is seen finished within 13 s of its end, with about 450 polls."""
    sieve.add_job("long", queued=20, processing=3580, outputs=["done"])
    started = now()
    job = await client.wait_for_job("long")
    assert job.succeeded
    assert 3600 <= now() - started <= 3613
    # At the shortest intervals that the jitter allows there are 27 polls in the first ten seconds
    # of a status, then each is 3.75 % later than the last, and after 200 s they are 7.5 s apart.
    assert sieve.requests_for("long") <= (27 + 19) + (27 + 82 + 451) + 2


async def test_deadline_of_an_hour(sieve: FakeSieve, client: SieveClient) -> None:
    """A wait for a job of 24 hours ends at its deadline, and holds what it saw last."""
    sieve.add_job("day", processing=24 * 3600)
    started = now()
    with pytest.raises(errors.WaitTimeoutError) as caught:
        await client.wait_for_job("day", timeout=timedelta(hours=1))
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert 3600 <= now() - started <= 3600.1
    assert error.target == "day"
    assert error.last is not None
    assert error.last_status == JobStatus.PROCESSING
    assert error.polls == sieve.requests_for("day")
    assert error.elapsed == pytest.approx(3600, abs=0.1)
    assert error.last_error is None


async def test_last_poll_lands_before_the_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """What ends shortly before the deadline is still seen: the last pause is cut for it."""
    sieve.add_job("close", processing=99.8)
    job = await client.wait_for_job("close", timeout=100)
    assert job.succeeded


async def test_zero_is_one_poll(sieve: FakeSieve, client: SieveClient) -> None:
    """``timeout=0`` polls exactly once and at once, and returns what has ended by then."""
    sieve.add_job("ended")
    sieve.add_job("running", processing=60)
    started = now()
    ended = await client.wait_for_job("ended", timeout=0)
    with pytest.raises(errors.WaitTimeoutError) as caught:
        await client.wait_for_job("running", timeout=0)
    assert ended.succeeded
    assert caught.value.last is not None
    assert caught.value.polls == sieve.requests_for("running") == sieve.requests_for("ended") == 1
    assert now() - started < 0.1


async def test_bad_arguments(sieve: FakeSieve, client: SieveClient) -> None:
    """Invalid arguments are refused before anything is sent."""
    limits: list[Any] = [-1, -0.1, math.nan, True, "5", b"5", timedelta(seconds=-1), object()]
    for limit in limits:
        with pytest.raises(errors.InvalidArgumentError, match="timeout must be seconds"):
            await client.wait_for_job("job", timeout=limit)
    with pytest.raises(errors.InvalidArgumentError, match="PollPolicy"):
        await client.wait_for_job("job", polling=0.5)  # type: ignore[arg-type] # that is the point
    with pytest.raises(errors.InvalidArgumentError, match="callable"):
        await client.wait_for_job("job", on_update="job")  # type: ignore[arg-type] # the same
    assert not sieve.requests


async def test_ends(sieve: FakeSieve, client: SieveClient) -> None:
    """A wait returns the job for every terminal status; ``check`` raises for the bad ones."""
    sieve.add_job("good", processing=3)
    sieve.add_job("bad", processing=3, status="error", error="Traceback\n  ...\nValueError: no")
    sieve.add_job("gone", queued=3, status="cancelled")
    good, bad, gone = await asyncio.gather(*map(client.wait_for_job, ("good", "bad", "gone")))
    assert [job.status for job in (good, bad, gone)] == ["finished", "error", "cancelled"]
    assert (await client.wait_for_job("good", check=True)) == good
    with pytest.raises(errors.JobFailedError, match="job bad failed: ValueError: no") as failed:
        await client.wait_for_job("bad", check=True)
    assert failed.value.job == bad
    with pytest.raises(errors.JobCancelledError, match="gone"):
        await client.wait_for_job("gone", check=True)


async def test_updates(sieve: FakeSieve, client: SieveClient) -> None:
    """``on_update`` gets the first state and each change of status or outputs, never one twice."""
    sieve.add_job("job", queued=30, processing=60, outputs=["a", "b"], streams=True)
    plain: list[tuple[str, tuple[object, ...]]] = []
    awaited: list[tuple[str, tuple[object, ...]]] = []

    async def later(job: Job) -> None:
        await asyncio.sleep(0.01)
        awaited.append((job.status, job.data))

    await asyncio.gather(
        client.wait_for_job("job", on_update=lambda job: plain.append((job.status, job.data))),
        client.wait_for_job("job", on_update=later),
    )
    expected = [
        ("queued", ()),
        ("processing", ()),
        ("processing", ("a",)),
        ("finished", ("a", "b")),
    ]
    assert plain == awaited == expected


async def test_update_that_raises(sieve: FakeSieve, client: SieveClient) -> None:
    """What ``on_update`` raises ends the wait unchanged, also when it is an error of ours."""
    sieve.add_job("job", processing=60)
    mine = errors.SieveError("from the callback")

    def refuse(_: Job) -> None:
        raise mine

    with pytest.raises(errors.SieveError) as caught:
        await client.wait_for_job("job", on_update=refuse)
    assert caught.value is mine
    assert sieve.requests_for("job") == 1


async def test_build(sieve: FakeSieve, client: SieveClient) -> None:
    """A build is followed through all its states until it is ready."""
    sieve.add_version("owner", "name", queued=30, building=60, pushing=30, deploying=30)
    states: list[str] = []

    def note(version: FunctionVersion) -> None:
        states.append(version.build_status)

    version = await client.wait_until_ready("owner", "name", on_update=note, check=True)
    assert version.is_ready
    assert states == ["queued", "building", "pushing", "deploying", "ready"]
    assert asyncio.get_running_loop().time() >= 150


async def test_failed_build(sieve: FakeSieve, client: SieveClient) -> None:
    """A failed build is returned; with ``check`` it is raised, and the error holds it."""
    sieve.add_version("owner", "name", "v1", building=5, status="error")
    version = await client.wait_until_ready("owner", "name")
    with pytest.raises(errors.BuildFailedError, match="v1") as failed:
        await client.wait_until_ready("owner", "name", check=True)
    assert version.build_status is BuildStatus.ERROR
    assert failed.value.version == version


@pytest.mark.parametrize("slug", ["latest", "aaaa", "aaaa-1"])
async def test_slug_is_resolved_once(sieve: FakeSieve, client: SieveClient, slug: str) -> None:
    """A wait follows the version that it saw first, also when another is deployed meanwhile."""
    sieve.add_version("owner", "name", "aaaa-1", building=100)
    waiting = asyncio.create_task(client.wait_until_ready("owner", "name", slug))
    await asyncio.sleep(10)
    sieve.add_version("owner", "name", "bbbb-2", building=1)
    version = await waiting
    assert version.id == "aaaa-1"
    assert version.is_ready
    first, *others = [entry.path.rpartition("/")[2] for entry in sieve.requests]
    assert first == slug
    assert set(others) == {"aaaa-1"}
    assert (await client.get_version("owner", "name")).id == "bbbb-2"


async def test_deadline_of_a_build(sieve: FakeSieve, client: SieveClient) -> None:
    """At the deadline the error holds the version that was waited for, and its last state."""
    sieve.add_version("owner", "name", "v1", building=1000)
    with pytest.raises(errors.WaitTimeoutError, match=r"latest.*last status: building") as caught:
        await client.wait_until_ready("owner", "name", timeout=60)
    assert caught.value.target == "owner/name:latest"
    assert isinstance(caught.value.last, FunctionVersion)
    assert caught.value.last.id == "v1"


@pytest.mark.parametrize(
    ("processing", "latest"),
    [(3600, 3613), (1300, 1661)],
    ids=["ends long after it", "ends during it"],
)
async def test_outage(
    sieve: FakeSieve, client: SieveClient, processing: float, latest: float
) -> None:
    """Ten minutes without a server lose nothing: it is found within a minute of its return."""
    sieve.add_job("job", processing=processing, outputs=["x"])
    started = now()
    waiting = asyncio.create_task(client.wait_for_job("job"))
    await asyncio.sleep(1000)
    await sieve.stop()
    await asyncio.sleep(600)
    await sieve.start()
    job = await waiting
    assert job.succeeded
    assert processing <= now() - started <= latest


HTML = b"<html><h1>Request blocked</h1></html>"
STATUSES = [401, 403, 404]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", ["job", "jobs"])
async def test_block_in_passing(status: int, kind: str) -> None:
    """Two seconds of rejections in the middle cost no healthy wait."""

    def reply(request: RawRequest) -> Script:
        if 10 <= now() < 12:
            return respond(HTML, status=status)
        return job_until(40, request.job_id)

    async with ScriptedServer(reply) as server, server.client() as client:
        for job in await ends_of(client, kind, ["a", "b"]):
            assert job.succeeded
    assert any(10 <= at < 12 for at in server.times)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", ["job", "jobs"])
async def test_lasting_rejection(status: int, kind: str) -> None:
    """It ends the wait after two more polls, each at least 2.5 s later."""

    def reply(request: RawRequest) -> Script:
        return running_job(request.job_id) if now() < 10 else respond(HTML, status=status)

    async with ScriptedServer(reply) as server, server.client() as client:
        [error] = await ends_of(client, kind)
        assert isinstance(error, errors.APIError)
        assert error.status == status
    rejected = [at for at in server.times if at >= 10]
    assert len(rejected) == 3
    assert all(later - earlier >= 2.5 for earlier, later in pairwise(rejected))
    assert now() <= 10 + 1 + 2 * 5


@pytest.mark.parametrize("missing_for", [8.0, 60.0])
@pytest.mark.parametrize("kind", ["job", "jobs"])
async def test_pushed_just_now(
    sieve: FakeSieve, client: SieveClient, missing_for: float, kind: str
) -> None:
    """404 is transient for ten seconds after this client has pushed the job."""
    sieve.script_function("sieve/dubbing", processing=5)
    missing = sieve.fault(path="/v2/jobs/*", status=404)
    asyncio.get_running_loop().call_later(missing_for, missing.remove)
    pushed = await client.push_job("sieve/dubbing")
    [end] = await ends_of(client, kind, [pushed.id])
    assert type(end) is (Job if missing_for < 10 else errors.NotFoundError)
    assert missing_for < 10 or 10 <= now() <= 40


async def test_not_found(sieve: FakeSieve, client: SieveClient) -> None:
    """A lookup of a version takes the beginning of an id; unknown ids end waits at once."""
    sieve.add_version("owner", "name", "abc123", gpu=True)
    for slug in ("latest", "abc", "abc123"):
        version = await client.get_version("owner", "name", slug)
        assert (version.id, version.gpu) == ("abc123", True)
    for call in (
        client.wait_for_job("other"),
        client.get_version("owner", "name", "v9"),
        client.wait_until_ready("owner", "name", "v9"),
    ):
        with pytest.raises(errors.NotFoundError):
            await call
    assert len(sieve.requests) == 6
    assert now() < 0.1


async def test_single_poll_in_a_pause(sieve: FakeSieve, client: SieveClient) -> None:
    """With ``timeout=0`` a wait does not outlast a pause of an hour, and says so."""
    sieve.fault(status=429, retry_after=3600, times=1)
    job_id = sieve.add_job()
    with pytest.raises(errors.RateLimitError):
        await client.get_job(job_id)
    with pytest.raises(errors.WaitTimeoutError) as caught:
        await client.wait_for_job(job_id, timeout=0)
    assert isinstance(caught.value.last_error, errors.RateLimitError)
    assert caught.value.polls == 0
    assert now() < 1


def run_json(request: RawRequest, outputs: list[str], **fields: Any) -> Script:
    """A script of the document of a run, without the outputs that are held already."""
    document: Document = job_json(outputs=[{"data": data} for data in outputs], **fields)
    document["outputs"] = document["outputs"][request.offset :]
    return respond(document)


async def test_lagging_replica_without_run_ids() -> None:
    """Outputs of the first run are not taken for those of the second, whatever comes between."""
    first = [f"first-{number}" for number in range(5)]
    second = [f"second-{number}" for number in range(6)]

    def reply(request: RawRequest) -> Script:
        number = request.times
        if number == 0 or (number % 2 and number < 9):
            return run_json(request, first, status="processing", run_id=None, restarts=[])
        status = "processing" if number < 9 else "finished"
        return run_json(request, second[:number], status=status, run_id=None, restarts=[{}])

    async with ScriptedServer(reply) as server, server.client() as client:
        job = await client.wait_for_job(JOB, timeout=120)
    assert job.data == tuple(second)


async def test_last_errors() -> None:
    """The last error of a wait or a watch holds no frames of the polls."""
    async with serve([Action.CLOSE]) as (_, client):
        with pytest.raises(errors.WaitTimeoutError) as caught:
            await client.wait_for_job(JOB, timeout=30)
        outcomes = await client.wait_for_jobs(["a", "b"], timeout=30)
    for error in (caught.value, *(outcome.error for outcome in outcomes)):
        assert isinstance(error, errors.WaitTimeoutError)
        assert isinstance(error.last_error, errors.ConnectError)
        assert error.last_error.__traceback__ is None
    assert [outcome.error and outcome.error.__traceback__ for outcome in outcomes] == [None, None]


async def test_documents_of_pending_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the most recent pending jobs the last document is kept, of the others the status."""
    monkeypatch.setattr(scheduler, "_MAX_DOCUMENTS", 20)
    server = ScriptedServer(lambda asked: respond(job_document(asked.job_id, note="x")))
    async with server, server.client() as client:
        outcomes = await client.wait_for_jobs([f"{place}" for place in range(30)], timeout=5)
    found = [one.error for one in outcomes if isinstance(one.error, errors.WaitTimeoutError)]
    assert [error.last_status for error in found] == ["processing"] * 30
    kept = [error.last for error in found if isinstance(error.last, Job)]
    assert sum("note" in job.extra for job in kept) == 20


async def test_documents_of_a_watch_that_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take no room from the documents of jobs that are pending."""
    monkeypatch.setattr(scheduler, "_MAX_DOCUMENTS", 20)

    def reply(asked: RawRequest) -> Script:
        is_down = asked.job_id == "a" and asked.times > 0
        return respond(job_document(asked.job_id, note="x"), status=503 if is_down else 200)

    policy = PollPolicy(min_interval=100, max_interval=100)
    async with ScriptedServer(reply) as server, server.client(polling=policy) as client:
        waiting = asyncio.create_task(client.wait_for_jobs(["a"], timeout=20))
        await asyncio.sleep(1)
        for number in range(5):
            async with client.as_completed([f"{number}-{place}" for place in range(10)]):
                await asyncio.sleep(1)
        [outcome] = await waiting
    assert isinstance(outcome.error, errors.WaitTimeoutError)
    assert isinstance(outcome.error.last, Job)
    assert outcome.error.last.extra == {"note": "x"}


async def test_document_of_a_job_that_a_callback_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result of a job is complete, however many are polled while a callback has it."""
    monkeypatch.setattr(scheduler, "_MAX_DOCUMENTS", 20)

    def reply(asked: RawRequest) -> Script:
        ended = asked.job_id == "0" and asked.times
        return respond(job_document(asked.job_id, "error" if ended else "processing", note="x"))

    async def on_update(job: Job) -> None:
        await asyncio.sleep(60 if job.is_terminal else 0)

    async with ScriptedServer(reply) as server, server.client() as client:
        watch = client.as_completed(["0"], on_update=on_update)
        ending = asyncio.create_task(watch.take(within=None))
        await asyncio.sleep(5)
        await client.wait_for_jobs([f"{place}" for place in range(1, 30)], timeout=5)
        [outcome] = await ending
    assert outcome.job.extra == {"note": "x"}


async def test_no_timeouts(sieve: FakeSieve) -> None:
    """``None`` is no limit: a response may take a day."""
    day = 24 * 3600.0
    unlimited = Timeout(connect=None, request=None)
    async with (
        RawServer([day, *respond(job_json())]) as server,
        server.client(timeout=unlimited) as client,
    ):
        assert (await client.get_job(JOB)).id == JOB
    async with RawServer([Action.CLOSE]) as server, server.client(timeout=unlimited) as client:
        with pytest.raises(errors.ConnectError):
            await client.get_job(JOB)
    sieve.add_job("job", processing=5)
    async with SieveClient(KEY, base_url=sieve.url, timeout=unlimited) as client:
        with pytest.raises(errors.WaitTimeoutError):
            await client.wait_for_job("job", timeout=0)


async def test_close_ends_waits(sieve: FakeSieve) -> None:
    """Closing the client ends its waits with ``ClientClosedError``, whatever they are doing."""
    sieve.add_job("job", processing=600)
    client = SieveClient(sieve.api_key, base_url=sieve.url)
    waits = [asyncio.create_task(client.wait_for_job("job")) for _ in range(20)]
    await asyncio.sleep(0)  # all of them ask or queue
    sleeping = asyncio.create_task(client.wait_for_job("job"))
    await asyncio.sleep(5)
    assert client.stats.waits == 21
    asking = [asyncio.create_task(client.get_job("job")) for _ in range(20)]
    await asyncio.sleep(0)
    await client.close()
    await client.close()
    outcomes = await asyncio.gather(*waits, sleeping, *asking, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {errors.ClientClosedError}
    assert client.closed
    assert client.stats.waits == client.stats.in_flight == client.stats.queued == 0
    with pytest.raises(errors.ClientClosedError):
        await client.wait_for_job("job")


@pytest.mark.parametrize(
    ("status", "pause", "seconds"), [(429, 6, 10), (503, 60, 120), (503, 1800, 3500)]
)
async def test_polls_go_on_after_a_pause(status: int, pause: int, seconds: float) -> None:
    """A pause is not the duration of a poll: polls continue until the deadline."""

    def reply(request: RawRequest) -> Script:
        if request.times == 1:
            return error_response(status, ("Retry-After", str(pause)))
        return job_until(pause + 2.0, request.job_id)

    async with ScriptedServer(reply) as server, server.client() as client:
        job = await client.wait_for_job("job", timeout=seconds)

    assert job.succeeded
    assert now() <= pause + 2 + 12.5


async def test_polls_go_on_after_an_outage() -> None:
    """A poll whose tries took long is not the last one."""

    def reply(request: RawRequest) -> Script:
        return [Action.SILENCE] if 1 < now() < 85 else job_until(100, request.job_id)

    async with ScriptedServer(reply) as server, server.client() as client:
        job = await client.wait_for_job("job", timeout=180)

    assert job.succeeded


async def test_build_after_a_pause() -> None:
    """The same for builds."""
    pauses = iter([error_response(429, ("Retry-After", "6"))])

    def reply(_: RawRequest) -> Script:
        state = "ready" if now() > 7 else "building"
        return next(pauses, respond(version_json(build_status=state)))

    async with ScriptedServer(reply) as server, server.client() as client:
        await client.wait_until_ready("owner/name", timeout=10)


async def test_polls_after_queueing_for_the_rate() -> None:
    """Waits that queued for their first poll are polled to the end."""

    def reply(request: RawRequest) -> Script:
        is_late = int(request.job_id) >= 190
        return job_until(22 if is_late else 0, request.job_id)

    limits = Limits(polls_per_second=10)
    async with ScriptedServer(reply) as server, server.client(limits=limits) as client:
        waits = (client.wait_for_job(f"{number}", timeout=30) for number in range(200))
        jobs = await asyncio.gather(*waits)

    assert all(job.succeeded for job in jobs)


async def test_polls_are_counted() -> None:
    """Failed polls count as others do, each once, whatever the number of its tries."""

    def reply(request: RawRequest) -> Script:
        return error_response(503) if request.times % 4 else job_until(1000)

    once = RetryPolicy(max_attempts=1)
    async with ScriptedServer(reply) as server, server.client(retry=once) as client:
        with pytest.raises(errors.WaitTimeoutError) as caught:
            await client.wait_for_job("job", timeout=60)
        assert caught.value.polls == len(server.requests) >= 10
        [outcome] = await client.wait_for_jobs(["job"], timeout=60)
        assert outcome.polls == len(server.requests) - caught.value.polls >= 10


async def test_a_deep_result_for_a_callback() -> None:
    """Outputs nested deeper than Python can compare reach the caller's function and the caller."""
    pytest.importorskip("orjson")
    depth = sys.getrecursionlimit()
    body = b'{"id": "%b", "status": "%b", "outputs": [%b]}'

    def reply(asked: RawRequest) -> Script:
        total = 2 if now() > 3 else 1
        output = b'{"data": ' + b"[" * depth + b"]" * depth + b"}"
        outputs = b", ".join([output] * (total - asked.offset))
        return respond(body % (JOB.encode(), b"finished" if now() > 5 else b"processing", outputs))

    seen: list[int] = []
    async with ScriptedServer(reply) as server, server.client() as client:
        job = await client.wait_for_job(JOB, on_update=lambda each: seen.append(len(each.outputs)))
    assert len(job.outputs) == 2
    assert seen == [1, 2, 2]


async def test_outage_without_end() -> None:
    """Without ``outage_timeout`` a wait continues, however long nothing valid comes."""
    endless = PollPolicy(outage_timeout=None)

    def reply(_: RawRequest) -> Script:
        return error_response(503) if now() < 20_000 else job_until(0)

    async with ScriptedServer(reply) as server, server.client(polling=endless) as client:
        assert (await client.wait_for_job("job")).succeeded


async def test_silence_is_the_last_error() -> None:
    """A poll that took too long is what a wait saw last, unless the deadline cut it off."""
    for seconds, expected in ((100, errors.RequestTimeoutError), (20, type(None))):
        async with ScriptedServer(lambda _: [Action.SILENCE]) as server, server.client() as client:
            with pytest.raises(errors.WaitTimeoutError) as caught:
                await client.wait_for_job("job", timeout=seconds)
            assert type(caught.value.last_error) is expected


async def test_nudge_during_a_poll() -> None:
    """The next poll follows at once: the answer in flight may be older than the event."""

    def reply(request: RawRequest) -> Script:
        return [2.0, *job_until(101, request.job_id)]

    slow = PollPolicy(min_interval=60, max_interval=60, jitter=0)
    async with ScriptedServer(reply) as server, server.client(polling=slow) as client:
        waiting = asyncio.create_task(client.wait_for_job("job"))
        await asyncio.sleep(1)
        assert client.nudge("job")
        await asyncio.sleep(2)
        assert server.times == [pytest.approx(0), pytest.approx(2)]
        await waiting
