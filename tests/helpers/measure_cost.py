"""Program that measures the memory and the time that hostile responses cost.

Each case runs in a forked process of its own, so that cases do not hide each other's memory.
"""

import asyncio
import json
import os
import resource
import sys
import time
from typing import Any

from sieve_async import RetryPolicy, SieveClient, SieveError, Timeout

_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss


class StallMeter:
    """Measures the longest loop iteration, in CPU seconds, so that other load does not count."""

    longest = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        before = time.process_time()
        while True:
            await asyncio.sleep(0)
            now = time.process_time()
            self.longest = max(self.longest, now - before)
            before = now


def peak_memory() -> int:
    """Peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


async def measure(url: str, case: str) -> dict[str, Any]:
    """Make one call or one wait; return its result and its cost."""
    before, meter = peak_memory(), StallMeter()
    settings: dict[str, Any] = {
        "retry": RetryPolicy(max_attempts=1),
        "timeout": Timeout(request=30),
    }
    async with SieveClient("a-key", base_url=url, **settings) as client:
        measuring = asyncio.create_task(meter.run())
        method, _, job_id = case.partition(" ")
        call = client.get_job(job_id) if method == "get" else client.wait_for_job(job_id, timeout=0)
        try:
            result = (await call).id
        except SieveError as error:
            result = type(error).__name__
        await asyncio.sleep(0)  # one more iteration after the response
        measuring.cancel()
    return {
        "case": case,
        "result": result,
        "mebibytes": (peak_memory() - before) / 2**20,
        "milliseconds": meter.longest * 1000,
    }


def main(url: str, *cases: str) -> None:
    """Measure each case in a process of its own; print one line of JSON per case."""
    asyncio.run(measure(url, "get good"))
    for case in cases:
        if (child := os.fork()) == 0:
            sys.stdout.write(f"{json.dumps(asyncio.run(measure(url, case)))}\n")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
