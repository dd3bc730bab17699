"""A process that is stopped and continued, so that all its timers are due together."""

import asyncio
import json
import os
import signal
import sys
from typing import Any

from sieve_async.testing import FakeSieve

# All kinds of waits, a wait with a deadline, and calls within timeouts of the program. These are
# long enough for a slow machine to send all requests before, and pass while the process is stopped.
PROGRAM = """
import asyncio, json, sys
from sieve_async import *

async def result_of(kind, waiting):
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

async def limited(client, number):
    async with asyncio.timeout(5):
        return await client.get_job(f"silent-{number}")

async def main():
    timeout = Timeout(request=5)
    polling = PollPolicy(min_interval=0.2, growth=0, jitter=0, outage_timeout=6)
    async with SieveClient(timeout=timeout, polling=polling) as client:
        waits = {
            "poll": one(client),
            "long poll": one(client, strategy="long_poll"),
            "many": many(client, "poll"),
            "many, long poll": many(client, "long_poll"),
            "list": many(client, "list"),
            "outputs": outputs(client),
            "deadline": client.wait_for_job("never", timeout=5),
        } | {f"limited {number}": limited(client, number) for number in range(20)}
        found = await asyncio.gather(*(result_of(kind, wait) for kind, wait in waits.items()))
        stats = client.stats
        left = len(asyncio.all_tasks()) - 1
    print(json.dumps(dict(found) | {"left": [stats.waits, stats.in_flight, stats.queued, left]}))

asyncio.run(main())
"""
EXPECTED = ["finished", "first", "second"]


async def wait_until_requested(sieve: FakeSieve, number: int) -> None:
    """Wait until the server is answering so many requests."""
    while sieve.in_flight < number:  # noqa: ASYNC110 - the server has no event for this
        await asyncio.sleep(0.01)


async def run_stopped(sieve: FakeSieve, seconds: float) -> dict[str, Any]:
    """Run the program, stop it during its requests, and end the job meanwhile."""
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
    await wait_until_requested(sieve, 22)  # the silent ones and two long polls
    program.send_signal(signal.SIGSTOP)
    job.yield_output("second")
    job.finish()
    await asyncio.sleep(seconds)
    program.send_signal(signal.SIGCONT)
    stdout, stderr = await program.communicate()
    assert (program.returncode, stderr) == (0, b"")
    found: dict[str, Any] = json.loads(stdout)
    return found


async def test_stopped_and_continued(sieve: FakeSieve) -> None:
    """Each wait ends correctly, each deadline passes, and no cancellation is lost."""
    found = await run_stopped(sieve, 7)
    assert found.pop("left") == [0, 0, 0, 0]
    assert found.pop("deadline") == "WaitTimeoutError"
    for kind in ("poll", "long poll", "many", "many, long poll", "list", "outputs"):
        assert (kind, found.pop(kind)) == (kind, EXPECTED)
    assert set(found.values()) == {"TimeoutError"}
