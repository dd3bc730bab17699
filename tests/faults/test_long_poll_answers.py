"""What answers to held requests mean: no such endpoint, other runs, other jobs, too early."""

import asyncio

import pytest

from helpers.asserts import max_per_second
from helpers.http_helpers import now
from helpers.leak_checks import error_of
from helpers.raw_server import (
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    finished_job,
    job_document,
    job_until,
    respond,
)
from sieve_async import (
    DecodeError,
    InputOutput,
    Job,
    Output,
    PollPolicy,
)


def data_of(outputs: tuple[Output, ...]) -> list[object]:
    """What the outputs hold."""
    return [output.data for output in outputs if isinstance(output, InputOutput)]


def outputs(*data: str) -> list[object]:
    """Outputs as the server shows them."""
    return [{"data": each} for each in data]


@pytest.mark.looptime
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("many", [True, False])
async def test_retry_after(status: int, *, many: bool) -> None:
    """A pause that the server asks for is kept by all, and the wait goes on after it."""
    ids = [f"j{n}" for n in range(5)]
    asked_for: list[float] = []

    def reply(asked: RawRequest) -> Script:
        if now() >= 10 and not asked_for:
            asked_for.append(now())
            return respond({}, status=status, headers=[("Retry-After", "30")])
        if not asked_for:
            return [10.0, Action.CLOSE]
        return [20.0, *finished_job(asked.job_id)]

    async with ScriptedServer(reply) as stage, stage.client() as client:
        if many:
            outcomes = await client.wait_for_jobs(ids, strategy="long_poll")
            assert all(outcome.ok for outcome in outcomes)
        else:
            waits = (client.wait_for_job(job_id, strategy="long_poll") for job_id in ids)
            await asyncio.gather(*waits)

    [paused_at] = asked_for
    # Those that were sent in the same moment could not know.
    assert not [a.at for a in stage.requests if paused_at + 0.1 < a.at < paused_at + 30]
    assert now() <= paused_at + 30 * 1.25 + 20 + 30


@pytest.mark.looptime
@pytest.mark.parametrize("word", ["queued", "processing", "started"])
async def test_answers_too_early(word: str) -> None:
    """An endpoint that answers at once though the job runs is asked no more often than polls."""

    def reply(asked: RawRequest) -> Script:
        return job_until(300, asked.job_id, word)

    async with ScriptedServer(reply) as stage, stage.client() as client:
        job = await client.wait_for_job("job", strategy="long_poll")

    assert job.succeeded
    assert now() <= 300 + 12.5
    assert len(stage.requests) <= 110
    assert max_per_second(stage.times) <= 3


@pytest.mark.looptime
@pytest.mark.parametrize("other", ["job-2", "jo", "", 5, None])
async def test_wrong_id(other: object) -> None:
    """The end of another job is not the end of this one."""

    def reply(asked: RawRequest) -> Script:
        if asked.is_await:
            return [5.0, *respond(job_document("job", "finished") | {"id": other})]
        return respond(job_document("job", "error" if now() >= 100 else "processing"))

    async with ScriptedServer(reply) as stage, stage.client() as client:
        job = await client.wait_for_job("job", strategy="long_poll")

    assert job.status == "error"
    assert 100 <= now() <= 130
    assert max_per_second(stage.times) <= 3


@pytest.mark.looptime
async def test_wrong_id_for_good() -> None:
    """When every answer is of another job, the wait ends with an error, not with that job."""

    def reply(_: RawRequest) -> Script:
        return finished_job("other")

    policy = PollPolicy(outage_timeout=60)
    async with ScriptedServer(reply) as stage, stage.client(polling=policy) as client:
        error = await error_of(client.wait_for_job("job", strategy="long_poll"))

    assert isinstance(error, DecodeError)
    assert 60 <= now() <= 121
    assert max_per_second(stage.times) <= 4


@pytest.mark.looptime
async def test_outputs_are_fetched_once() -> None:
    """Outputs that a look has shown are left out of what is asked for next, held or not."""
    made = ["a", "b", "c"]
    sent: list[str] = []

    def reply(asked: RawRequest) -> Script:
        if asked.is_await and now() < 90:
            return [30.0, Action.CLOSE]
        is_over = now() >= 90
        some = made if is_over else made[: int(now() // 30)]
        sent.extend(some[asked.offset :])
        state = "finished" if is_over else "processing"
        return respond(
            job_document("job", state, run_id="r1") | {"outputs": outputs(*some[asked.offset :])}
        )

    told: list[list[object]] = []
    async with ScriptedServer(reply) as stage, stage.client() as client:
        job = await client.wait_for_job(
            "job", strategy="long_poll", on_update=lambda j: told.append(data_of(j.outputs))
        )

    assert data_of(job.outputs) == made
    assert sent == made
    assert told[-1] == made
    assert told == [list(each) for each in dict.fromkeys(map(tuple, told))]
    assert [asked.offset for asked in stage.awaits] == [0, 1, 2]


@pytest.mark.looptime
@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize("again", [["x", "y", "z"], ["x"], []])
async def test_restart_while_held(again: list[str], *, many: bool) -> None:
    """A job that restarts while a request is held ends with the outputs of its last run, all."""

    def reply(asked: RawRequest) -> Script:
        if asked.is_await and now() < 30:
            return [30.0, Action.CLOSE]
        if now() < 60 and not asked.is_await:
            return respond(
                job_document("job", run_id="job-1") | {"outputs": outputs("a", "b")[asked.offset :]}
            )
        end = job_document("job", "finished", run_id="job-2")
        last = respond(end | {"outputs": outputs(*again)[asked.offset :]})
        return [max(0.0, 100 - now()), *last]

    async with ScriptedServer(reply) as stage, stage.client() as client:
        job: Job
        if many:
            [outcome] = await client.wait_for_jobs(["job"], strategy="long_poll")
            job = outcome.result()
        else:
            job = await client.wait_for_job("job", strategy="long_poll")

    assert data_of(job.outputs) == again
    assert job.run_id == "job-2"
    assert now() == pytest.approx(100, abs=1)
    assert len(stage.requests) <= 5


@pytest.mark.looptime
async def test_restarts_without_end() -> None:
    """Answers that show another run each time make no hot loop."""
    runs = iter(range(1_000_000))

    def reply(_: RawRequest) -> Script:
        state = "finished" if now() >= 100 else "processing"
        run = "last" if now() >= 100 else f"job-{next(runs)}"
        return respond(job_document("job", state, run_id=run) | {"outputs": outputs("a")})

    async with ScriptedServer(reply) as stage, stage.client() as client:
        job = await client.wait_for_job("job", strategy="long_poll")

    assert data_of(job.outputs) == ["a"]
    assert max_per_second(stage.times) <= 6
    assert len(stage.requests) <= 250
