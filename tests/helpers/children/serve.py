"""Program that runs a fake server.

It prints its URL and serves until its standard input ends, so that it never outlives a test.
"""

import argparse
import asyncio
import sys
from typing import Literal, TypeAlias

from sieve_async.testing import FakeSieve

End: TypeAlias = Literal["finished", "error", "cancelled"]


def status_of(number: int) -> End:
    """The terminal status of the job with this number."""
    return "error" if number % 10 == 3 else "cancelled" if number % 10 == 7 else "finished"


async def serve(key: str, number: int, seconds: float) -> None:
    """Serve jobs that end evenly over so many seconds."""
    async with FakeSieve(api_key=key) as sieve:
        for each in range(number):
            left = seconds * (each + 1) / number
            sieve.add_job(
                f"job-{each}", processing=left, status=status_of(each), outputs=[f"job-{each}"]
            )
        sys.stdout.write(f"{sieve.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--key", required=True)
    parser.add_argument("--number", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3600.0)
    given = parser.parse_args()
    asyncio.run(serve(given.key, given.number, given.seconds))
