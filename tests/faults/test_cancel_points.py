"""Fault class K: every call is cancelled at every point where it lets the loop go on."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs
import pytest

from helpers.asserts import assert_idle, ids_of, yield_to_loop
from helpers.cancellation import CancelWhen, each_suspension
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    Reply,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_json,
    respond,
    respond_chunked,
    running_job,
    version_json,
)
from sieve_async import (
    FunctionVersion,
    Job,
    Limits,
    RetryPolicy,
    SieveClient,
    Timeout,
)

pytestmark = pytest.mark.looptime

Call: TypeAlias = Callable[[SieveClient], Awaitable[Any]]

IDS = ["job-1", "job-2", "job-3", "job-4"]
OTHER = "the-other-job"
# A cancellation from within the step that suspends is delivered in the next turn, and seen by who
# counts turns in the one after.
ONE_TURN = 2


def in_turn(*scripts: Script, then: Script | None = None) -> Reply:
    """Answer each job with one script after the other; the last one goes on, and all others end."""

    def reply(asked: RawRequest) -> Script:
        if asked.job_id == OTHER:
            return finished_job(OTHER)
        if asked.times < len(scripts):
            return scripts[asked.times]
        return scripts[-1] if then is None else then

    return reply


def told(status: str, run: str | None = None, *outputs: str) -> Script:
    """The script of an answer about the job, in two pieces with a pause between them."""
    document = job_json(status=status, run_id=run, outputs=[{"data": one} for one in outputs])
    (whole,) = respond(document)
    assert isinstance(whole, bytes)
    return [whole[:-9], 0.25, whole[-9:]]


BODY = json.dumps(job_json()).encode()
IN_PIECES = [step for one in respond_chunked(BODY) for step in (one, 0.1)]
HEADERS_LATE: Script = [2.0, *IN_PIECES]


def build(status: str) -> Script:
    """The script of an answer about a version."""
    return respond(version_json(build_status=status))


async def get_job(client: SieveClient) -> None:
    """Look up the job."""
    assert (await client.get_job(JOB)).succeeded


async def get_version(client: SieveClient) -> None:
    """Look up the version."""
    assert (await client.get_version("o", "f")).is_ready


async def wait_for_job(client: SieveClient, **how: Any) -> None:
    """Wait for the job, with a callback that takes its time."""

    async def on_update(_: Job) -> None:
        await asyncio.sleep(0.1)

    assert (await client.wait_for_job(JOB, on_update=on_update, timeout=900, **how)).succeeded


async def wait_by_long_polls(client: SieveClient) -> None:
    """Wait for the job by requests that the server holds."""
    await wait_for_job(client, strategy="long_poll")


async def wait_until_ready(client: SieveClient) -> None:
    """Wait for the version, with a callback that takes its time."""

    async def on_update(_: FunctionVersion) -> None:
        await asyncio.sleep(0.1)

    assert (await client.wait_until_ready("o", "f", on_update=on_update)).is_ready


async def get_behind_another(client: SieveClient) -> None:
    """Queue for the only slot."""
    other = asyncio.create_task(client.get_job(OTHER))
    try:
        await asyncio.sleep(0)
        await get_job(client)
    finally:
        other.cancel()
        other.add_done_callback(lambda one: one.cancelled() or one.exception())


async def stream_outputs(client: SieveClient) -> None:
    """Take all outputs of the job."""
    async with client.stream_outputs(JOB, on_restart="continue", timeout=900) as outputs:
        assert len([output async for output in outputs]) == 5


def watching(strategy: Any) -> Call:
    """Take all outcomes of a watch."""

    async def watch(client: SieveClient) -> None:
        async with client.as_completed(IDS, strategy=strategy, timeout=900) as outcomes:
            assert sorted(ids_of([one async for one in outcomes])) == IDS

    return watch


async def wait_for_jobs(client: SieveClient) -> None:
    """Gather all outcomes of a watch."""
    assert ids_of(await client.wait_for_jobs([*IDS, "not/an/id"])) == [*IDS, "not/an/id"]


def lists(asked: RawRequest) -> Script:
    """Jobs that end one after the other, and lists of those that run."""
    if asked.is_list:
        rows = [{"id": job_id, "status": "processing"} for job_id in IDS[asked.times :]]
        return [0.1, *respond({"data": rows, "next_offset": -1})]
    return [0.1, *finished_job(asked.job_id)]


def one_by_one(asked: RawRequest) -> Script:
    """Jobs that end after two looks, whose answers take their time."""
    return [0.1, *(finished_job(asked.job_id) if asked.times > 1 else running_job(asked.job_id))]


@attrs.frozen
class Scenario:
    """A call, and a server that leads it through many phases."""

    call: Call
    reply: Reply
    settings: dict[str, Any] = attrs.field(factory=dict)
    most_turns: int = ONE_TURN


HELD = error_response(429, ("Retry-After", "3"))
CUT: Script = [b"HTTP/1.1 200 OK\r\nContent-Le", Action.RESET]
SILENT = {"timeout": Timeout(request=20), "retry": RetryPolicy(initial_delay=3)}
LIFE = [
    told("queued", "r1"),
    told("processing", "r1", "a"),
    error_response(503),
    CUT,
    [Action.SILENCE],
    HELD,
    told("processing", "r2"),
    error_response(404),
    told("processing", "r2"),
    error_response(401),
    told("finished", "r2", "a", "b"),
]
SCENARIOS: dict[str, Scenario] = {
    "get_job": Scenario(get_job, in_turn(HEADERS_LATE)),
    "get_job, retried": Scenario(get_job, in_turn(error_response(503), CUT, IN_PIECES)),
    "get_job, silent": Scenario(get_job, in_turn([Action.SILENCE], IN_PIECES), SILENT),
    "get_job, held back": Scenario(get_job, in_turn(HELD, IN_PIECES)),
    "get_job, queued": Scenario(
        get_behind_another,
        lambda asked: [2.0, *finished_job(asked.job_id)],
        {"limits": Limits(max_connections=1)},
    ),
    "get_version": Scenario(get_version, in_turn(CUT, error_response(503), build("ready"))),
    "wait_for_job": Scenario(wait_for_job, in_turn(*LIFE), SILENT),
    "wait_for_job, long_poll": Scenario(
        wait_by_long_polls,
        in_turn(
            [30.0, *error_response(408)],
            [9.0, *told("processing", "r1", "a")],
            [9.0, *error_response(502)],
            *LIFE[:3],
            [40.0, Action.RESET],
            *LIFE[4:],
        ),
        SILENT,
    ),
    "wait_until_ready": Scenario(
        wait_until_ready,
        in_turn(build("queued"), error_response(503), build("building"), build("ready")),
    ),
    "stream_outputs": Scenario(
        stream_outputs,
        in_turn(
            told("queued", "r1"),
            told("processing", "r1", "a", "b"),
            error_response(503),
            HELD,
            told("processing", "r2"),
            told("processing", "r2", "c"),
            told("finished", "r2", "d", "e"),
        ),
    ),
    # Whoever leaves waits for the workers, each of which ends within a turn.
    "as_completed": Scenario(watching("poll"), one_by_one, most_turns=5),
    "as_completed, long_poll": Scenario(watching("long_poll"), one_by_one, most_turns=5),
    "as_completed, sweep": Scenario(watching("list"), lists, most_turns=5),
    "wait_for_jobs": Scenario(wait_for_jobs, one_by_one, most_turns=5),
}


async def check_left(client: SieveClient, stage: ScriptedServer) -> None:
    """No slot, task or socket is left, and the client gives right answers."""
    assert_idle(client)
    session = client._transport._session
    assert session is None or session.connector is None or not session.connector._acquired
    await yield_to_loop(3)  # the server takes note of new connections
    others = asyncio.all_tasks() - stage._tasks - {asyncio.current_task()}
    assert others == set()
    assert (await client.get_job(OTHER)).id == OTHER


@pytest.mark.parametrize("when", CancelWhen)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_cancelled_at_each_point(name: str, when: CancelWhen) -> None:
    """Wherever a cancellation comes, it passes at once as what it is, and nothing is left."""
    scenario = SCENARIOS[name]
    for stepper in each_suspension(when, at_least=3):
        async with (
            ScriptedServer(scenario.reply) as stage,
            stage.client(**scenario.settings) as client,
        ):
            task = await stepper.run(lambda: scenario.call(client))
            if not stepper.is_cancelled:
                assert task.result() is None
                continue

            assert task.cancelled(), stepper
            assert stepper.cancelling == 1
            assert stepper.turns <= scenario.most_turns, stepper
            await check_left(client, stage)
