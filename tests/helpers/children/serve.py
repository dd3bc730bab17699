"""Program that runs a fake server; after a restart its jobs continue at their age.

It prints its URL and serves until its standard input ends, so that it never outlives a test.
"""

import argparse
import asyncio
import sys
import time
from typing import Literal, TypeAlias

from sieve_async.testing import FakeSieve

End: TypeAlias = Literal["finished", "error", "cancelled"]


def status_of(number: int) -> End:
    """The terminal status of the job with this number."""
    return "error" if number % 10 == 3 else "cancelled" if number % 10 == 7 else "finished"


async def serve(key: str, port: int, number: int, created: float, seconds: float) -> None:
    """Serve jobs that end evenly over so many seconds since their creation."""
    async with FakeSieve(port=port, api_key=key) as sieve:
        age = time.time() - created
        for each in range(number):
            left = max(0.0, seconds * (each + 1) / number - age)
            sieve.add_job(
                f"job-{each}", processing=left, status=status_of(each), outputs=[f"job-{each}"]
            )
        sys.stdout.write(f"{sieve.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--key", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--number", type=int, default=1)
    parser.add_argument("--created", type=float, default=time.time())
    parser.add_argument("--seconds", type=float, default=3600.0)
    given = parser.parse_args()
    asyncio.run(serve(given.key, given.port, given.number, given.created, given.seconds))
