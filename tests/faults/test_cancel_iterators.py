"""Iterators cancelled at every suspension point: the next step continues where it was."""

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

# The outputs of the job in each response; a script for a failing one.
RESPONSES: list[Script | str] = [
    "",
    "ab",
    error_response(503),
    [b"HTTP/1.1 200 OK\r\nContent-Le", Action.RESET],
    "abc",
    error_response(429, ("Retry-After", "3")),
    "abcde",
]


def streaming(request: RawRequest) -> Script:
    """A job whose outputs come one after the other, each response in two pieces."""
    now = RESPONSES[min(request.times, len(RESPONSES) - 1)]
    if not isinstance(now, str):
        return now
    outputs = [{"data": one} for one in now[request.offset :]]
    status = "finished" if now is RESPONSES[-1] else "processing"
    (whole,) = respond(job_json(status=status, outputs=outputs))
    assert isinstance(whole, bytes)
    return [whole[:-9], 0.25, whole[-9:]]


def finishing(request: RawRequest) -> Script:
    """Jobs that end one after the other, with failures, and lists of the running ones."""
    if request.is_list:
        rows = [{"id": job_id, "status": "processing"} for job_id in IDS[request.times :]]
        return [0.1, *respond({"data": rows, "next_offset": -1})]
    if request.times == 1:
        return error_response(502)
    return [
        0.1,
        *(finished_job(request.job_id) if request.times > 2 else running_job(request.job_id)),
    ]


def output_data(output: Output) -> Any:
    """The data of an output."""
    assert not isinstance(output, tuple)
    return output.data


async def collect(iterator: AsyncIterator[Any], into: list[Any]) -> None:
    """Append every item to a list."""
    async for one in iterator:
        into.append(one)  # noqa: PERF401 - a comprehension loses the items on a cancellation


Begin: TypeAlias = Callable[[SieveClient], Any]


async def cancel_and_continue(
    begin: Begin, client: SieveClient, driver: CancellationDriver
) -> list[Any]:
    """The items of an iterator of which one step was cancelled and then taken again."""
    found: list[Any] = []
    async with begin(client) as iterator:
        task = await driver.run(lambda: collect(iterator, found))
        if driver.is_cancelled:
            assert task.cancelled()
            assert driver.cancelling == 1
            await collect(iterator, found)
    assert_idle(client)
    return found


@pytest.mark.parametrize("when", CancelWhen)
async def test_cancelled_stream_step(when: CancelWhen) -> None:
    """No output is lost or repeated."""
    for driver in each_suspension(when, at_least=15):
        async with ScriptedServer(streaming) as server, server.client() as client:
            found = await cancel_and_continue(lambda one: one.stream_outputs(JOB), client, driver)

            assert "".join(map(output_data, found)) == RESPONSES[-1], driver


@pytest.mark.parametrize("when", CancelWhen)
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_cancelled_watch_step(strategy: Any, when: CancelWhen) -> None:
    """No outcome is lost or repeated."""
    for driver in each_suspension(when, at_least=3):
        async with ScriptedServer(finishing) as server, server.client() as client:
            found = await cancel_and_continue(
                lambda one: one.as_completed(IDS, strategy=strategy), client, driver
            )

            assert sorted(ids_of(found)) == IDS, driver
            assert all(outcome.ok for outcome in found)


async def wait_for_all(client: SieveClient, strategy: Any) -> list[JobOutcome]:
    """Wait for all jobs by ``wait_for_jobs``."""
    try:
        return await client.wait_for_jobs(IDS, strategy=strategy)
    finally:
        assert_idle(client)  # as soon as the call has ended


async def iterate(client: SieveClient, strategy: Any) -> list[JobOutcome]:
    """Wait for all jobs by ``as_completed``."""
    try:
        async with client.as_completed(IDS, strategy=strategy) as outcomes:
            return [outcome async for outcome in outcomes]
    finally:
        assert_idle(client)


Consume: TypeAlias = Callable[[SieveClient, Any], Awaitable[list[JobOutcome]]]


class Trigger:
    """Cancels a task some loop iterations after a request.

    Args:
        request: The number of the request, from one; zero is the start of the call.
        delay: The number of iterations.
    """

    def __init__(self, request: int, delay: int) -> None:
        self._request = request
        self._delay = delay
        self._requests = 0
        self.task: asyncio.Task[Any] | None = None
        self.has_cancelled = False

    def note_request(self) -> None:
        """Count a request."""
        self._requests += 1
        if self._requests == self._request:
            self.count_down(self._delay)

    def begin(self, task: "asyncio.Task[Any]") -> None:
        """Set the task to cancel."""
        self.task = task
        if self._request == 0:
            self.count_down(self._delay)

    def count_down(self, left: int) -> None:
        """Cancel after so many iterations."""
        if left:
            asyncio.get_running_loop().call_soon(self.count_down, left - 1)
        elif self.task is not None:
            self.has_cancelled = self.task.cancel()


@pytest.mark.parametrize("consume", [wait_for_all, iterate])
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_cancelled_watch(strategy: Any, consume: Consume) -> None:
    """A cancelled watch ends at once, leaves no task, and sends nothing more."""
    limits = Limits(max_connections=2, polls_per_second=None)
    cancelled = 0
    for request, delay in itertools.product([0, 1, 4, 11], [*range(6), 9, 14]):
        trigger = Trigger(request, delay)

        def reply(request: RawRequest, trigger: Trigger = trigger) -> Script:
            trigger.note_request()
            return finishing(request)

        async with ScriptedServer(reply) as server, server.client(limits=limits) as client:
            task = asyncio.ensure_future(consume(client, strategy))
            trigger.begin(task)
            await asyncio.wait([task])

            assert task.cancelled() is trigger.has_cancelled
            cancelled += trigger.has_cancelled
            assert_idle(client)
            await yield_to_loop(3)
            others = asyncio.all_tasks() - server._tasks - {asyncio.current_task()}
            assert others == set()
            before = len(server.requests)
            await asyncio.sleep(60)
            assert len(server.requests) == before
    assert cancelled >= 20
