"""Iterators cancelled at every suspension point: the next step continues where it was."""

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import pytest

from helpers.asserts import assert_idle, ids_of
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
from sieve_async import SieveClient

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
            assert "".join(output.data for output in found) == RESPONSES[-1], driver


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
