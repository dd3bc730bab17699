"""Fault class L: a program that is stopped and goes on, with all its timers due together."""

import asyncio
import json
import os
import signal
import sys
from typing import Any

import pytest

from sieve_async.testing import FakeSieve

# Waits in all ways, one that has a deadline, and one that is cut off by its own program; each
# says how it ended.
PROGRAM = """
import asyncio, json, sys
from sieve_async import *

async def ended(kind, waiting):
    try:
        found = await waiting
    except BaseException as error:
        return kind, type(error).__name__
    return kind, [str(each) for each in found]

async def one(client, **how):
    job = await client.wait_for_job("job", **how)
    return [job.status, *(output.data for output in job.outputs)]

async def many(client, strategy):
    (outcome,) = await client.wait_for_jobs(["job"], strategy=strategy)
    return [outcome.result().status, *(output.data for output in outcome.job.outputs)]

async def outputs(client):
    return ["finished"] + [output.data async for output in client.stream_outputs("job")]

async def cut_off(client, number):
    async with asyncio.timeout(0.5):
        return await client.get_job(f"silent-{number}")

async def main():
    timeout = Timeout(attempt=0.5)
    polling = PollPolicy(minimum=0.2, growth=0, jitter=0, outage_timeout=1)
    async with SieveClient(timeout=timeout, polling=polling) as client:
        waits = {
            "poll": one(client),
            "long poll": one(client, strategy="long_poll"),
            "many": many(client, "poll"),
            "many, held": many(client, "long_poll"),
            "list": many(client, "list"),
            "outputs": outputs(client),
            "deadline": client.wait_for_job("never", timeout=0.5),
        } | {f"cut off {number}": cut_off(client, number) for number in range(20)}
        found = await asyncio.gather(*(ended(kind, wait) for kind, wait in waits.items()))
        stats = client.stats
        left = len(asyncio.all_tasks()) - 1
    print(json.dumps(dict(found) | {"left": [stats.waits, stats.in_flight, stats.queued, left]}))

asyncio.run(main())
"""
TRUTH = ["finished", "first", "second"]


async def until_held(sieve: FakeSieve, number: int) -> None:
    """Wait until so many requests are with the server."""
    while sieve.in_flight < number:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


async def run_stopped(sieve: FakeSieve, seconds: float) -> dict[str, Any]:
    """Run the program, stop it amid its requests, and let the job end meanwhile."""
    job = sieve.job(sieve.add_job("job", by="manual"))
    sieve.add_job("never", status=None)
    for number in range(20):
        sieve.fault(job=f"silent-{number}", delay=60)
    job.start()
    job.yield_output("first")
    environment = os.environ | {"SIEVE_API_KEY": sieve.api_key, "SIEVE_API_URL": sieve.url}
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", PROGRAM),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    await until_held(sieve, 22)  # all that are silent, and the two that wait for the end

    program.send_signal(signal.SIGSTOP)
    job.yield_output("second")
    job.finish()
    await asyncio.sleep(seconds)
    program.send_signal(signal.SIGCONT)
    printed, told = await program.communicate()

    assert (program.returncode, told) == (0, b"")
    found: dict[str, Any] = json.loads(printed)
    return found


@pytest.mark.campaign
@pytest.mark.parametrize("is_down", [False, True], ids=["reachable", "restarted"])
async def test_stopped_and_continued(sieve: FakeSieve, *, is_down: bool) -> None:
    """Each wait ends with the truth, each deadline is one, and no cancellation is lost."""
    running = asyncio.create_task(run_stopped(sieve, 1.5))
    if is_down:
        await until_held(sieve, 22)
        await asyncio.sleep(0.5)
        await sieve.stop()
        await sieve.start()

    found = await running

    assert found.pop("left") == [0, 0, 0, 0]
    assert found.pop("deadline") == "WaitTimeoutError"
    for kind in ("poll", "long poll", "many", "many, held", "list", "outputs"):
        assert (kind, found.pop(kind)) == (kind, TRUTH)
    assert set(found.values()) == {"TimeoutError"}
