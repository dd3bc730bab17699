"""Fault class K: a step of an iterator that was cancelled can be taken again; workers that end."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from helpers.asserts import assert_idle, ids_of, yield_to_loop
from helpers.cancellation import CancellationDriver, CancelWhen, each_suspension
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_json,
    respond,
    running_job,
)
from sieve_async import JobOutcome, Limits, Output, SieveClient

pytestmark = pytest.mark.looptime

IDS = ["job-1", "job-2", "job-3", "job-4"]
STRATEGIES = "poll", "long_poll", "list"

# How a job that makes outputs looks, one request after the other.
LIFE: list[Script | str] = [
    "",
    "ab",
    error_response(503),
    [b"HTTP/1.1 200 OK\r\nContent-Le", Action.RESET],
    "abc",
    error_response(429, ("Retry-After", "3")),
    "abcde",
]


def living(asked: RawRequest) -> Script:
    """The job whose outputs come one after the other, each answer in two pieces."""
    now = LIFE[min(asked.times, len(LIFE) - 1)]
    if not isinstance(now, str):
        return now
    outputs = [{"data": one} for one in now[asked.offset :]]
    status = "finished" if now is LIFE[-1] else "processing"
    (whole,) = respond(job_json(status=status, outputs=outputs))
    assert isinstance(whole, bytes)
    return [whole[:-9], 0.25, whole[-9:]]


def mixed(asked: RawRequest) -> Script:
    """Jobs that end one after the other, with failures in between, and lists of those that run."""
    if asked.is_list:
        rows = [{"id": job_id, "status": "processing"} for job_id in IDS[asked.times :]]
        return [0.1, *respond({"data": rows, "next_offset": -1})]
    if asked.times == 1:
        return error_response(502)
    return [0.1, *(finished_job(asked.job_id) if asked.times > 2 else running_job(asked.job_id))]


def data_of(output: Output) -> Any:
    """What an output holds."""
    assert not isinstance(output, tuple)
    return output.data


async def take(iterator: AsyncIterator[Any], into: list[Any]) -> None:
    """Take all that comes."""
    async for one in iterator:
        into.append(one)  # noqa: PERF401 - a comprehension would lose what came


Begin: TypeAlias = Callable[[SieveClient], Any]


async def interrupted(begin: Begin, client: SieveClient, stepper: CancellationDriver) -> list[Any]:
    """What an iterator hands out when one of its steps is cancelled, and then taken again."""
    found: list[Any] = []
    async with begin(client) as iterator:
        task = await stepper.run(lambda: take(iterator, found))
        if stepper.is_cancelled:
            assert task.cancelled()
            assert stepper.cancelling == 1
            await take(iterator, found)
    assert_idle(client)
    return found


@pytest.mark.parametrize("when", CancelWhen)
async def test_outputs_after_a_cancelled_step(when: CancelWhen) -> None:
    """Wherever a step of a stream is cancelled, the next one goes on: no output twice or lost."""
    for stepper in each_suspension(when, at_least=15):
        async with ScriptedServer(living) as stage, stage.client() as client:
            found = await interrupted(lambda one: one.stream_outputs(JOB), client, stepper)

            assert "".join(map(data_of, found)) == LIFE[-1], stepper


@pytest.mark.parametrize("when", CancelWhen)
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_outcomes_after_a_cancelled_step(strategy: Any, when: CancelWhen) -> None:
    """Wherever a step of a watch is cancelled, the next one goes on: no outcome twice or lost."""
    for stepper in each_suspension(when, at_least=3):
        async with ScriptedServer(mixed) as stage, stage.client() as client:
            found = await interrupted(
                lambda one: one.as_completed(IDS, strategy=strategy), client, stepper
            )

            assert sorted(ids_of(found)) == IDS, stepper
            assert all(outcome.ok for outcome in found)


async def gather(client: SieveClient, strategy: Any) -> list[JobOutcome]:
    """Wait for all jobs."""
    try:
        return await client.wait_for_jobs(IDS, strategy=strategy)
    finally:
        assert_idle(client)  # at once: the workers have ended before the call has


async def iterate(client: SieveClient, strategy: Any) -> list[JobOutcome]:
    """Take all outcomes, in a block."""
    try:
        async with client.as_completed(IDS, strategy=strategy) as outcomes:
            return [outcome async for outcome in outcomes]
    finally:
        assert_idle(client)


Consume: TypeAlias = Callable[[SieveClient, Any], Awaitable[list[JobOutcome]]]


class Tripwire:
    """Cancels a task some turns of the loop after a request has come.

    Args:
        request: After which request, counted from one; nought is the start of the call.
        delay: How many turns after it.
    """

    def __init__(self, request: int, delay: int) -> None:
        self._request = request
        self._delay = delay
        self._requests = 0
        self.task: asyncio.Task[Any] | None = None
        self.has_cancelled = False

    def note_request(self) -> None:
        """Take note of one more request."""
        self._requests += 1
        if self._requests == self._request:
            self.count_down(self._delay)

    def begin(self, task: "asyncio.Task[Any]") -> None:
        """Take note that the call begins."""
        self.task = task
        if self._request == 0:
            self.count_down(self._delay)

    def count_down(self, left: int) -> None:
        """Cancel after so many turns."""
        if left:
            asyncio.get_running_loop().call_soon(self.count_down, left - 1)
        elif self.task is not None:
            self.has_cancelled = self.task.cancel()


@pytest.mark.parametrize("consume", [gather, iterate])
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_cancelled_while_workers_are_anywhere(strategy: Any, consume: Consume) -> None:
    """Wherever the workers of a watch are when its caller is cancelled: they end, it is at once."""
    limits = Limits(max_connections=2, polls_per_second=None)
    cancelled = 0
    for request, delay in itertools.product([0, 1, 2, 4, 7, 11], range(16)):
        tripwire = Tripwire(request, delay)

        def reply(asked: RawRequest, wire: Tripwire = tripwire) -> Script:
            wire.note_request()
            return mixed(asked)

        async with ScriptedServer(reply) as stage, stage.client(limits=limits) as client:
            task = asyncio.ensure_future(consume(client, strategy))
            tripwire.begin(task)
            await asyncio.wait([task])

            assert task.cancelled() is tripwire.has_cancelled
            cancelled += tripwire.has_cancelled
            assert_idle(client)
            await yield_to_loop(3)
            others = asyncio.all_tasks() - stage._tasks - {asyncio.current_task()}
            assert others == set()
            before = len(stage.requests)
            await asyncio.sleep(60)
            assert len(stage.requests) == before
    assert cancelled >= 70
