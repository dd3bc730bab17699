"""A program that asks a hostile server, and says what each answer has cost; run by the tests.

Each case has a process of its own, forked off when all is imported, so that what one takes does
not hide what another takes.
"""

import asyncio
import json
import os
import resource
import sys
import time
from typing import Any

from sieve_async import RetryPolicy, SieveClient, SieveError, Timeout

_UNIT = 1 if sys.platform == "darwin" else 1024  # of what the system says about memory


class Heart:
    """Beats in each turn of the loop, and notes how much work the longest turn was.

    Work is counted in seconds of the processor: what else the machine does is no stall of ours.
    """

    longest = 0.0

    async def beat(self) -> None:
        """Beat until it is cancelled."""
        before = time.process_time()
        while True:
            await asyncio.sleep(0)
            now = time.process_time()
            self.longest = max(self.longest, now - before)
            before = now


def most_memory() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


async def ask(url: str, case: str) -> dict[str, Any]:
    """Ask once, as a call and as a wait do, and say what came of it."""
    before, heart = most_memory(), Heart()
    settings: dict[str, Any] = {
        "retry": RetryPolicy(max_attempts=1),
        "timeout": Timeout(request=30),
    }
    async with SieveClient("a-key", base_url=url, **settings) as client:
        beating = asyncio.create_task(heart.beat())
        way, _, job_id = case.partition(" ")
        call = client.get_job(job_id) if way == "get" else client.wait_for_job(job_id, timeout=0)
        try:
            result = (await call).id
        except SieveError as error:
            result = type(error).__name__
        await asyncio.sleep(0)  # one more beat, after what came last
        beating.cancel()
    return {
        "case": case,
        "result": result,
        "mebibytes": (most_memory() - before) / 2**20,
        "milliseconds": heart.longest * 1000,
    }


def main(url: str, *cases: str) -> None:
    """Ask for each case in a process of its own, and print a line of JSON about it."""
    asyncio.run(ask(url, "get good"))
    for case in cases:
        if (child := os.fork()) == 0:
            sys.stdout.write(f"{json.dumps(asyncio.run(ask(url, case)))}\n")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
