"""A server in a process of its own; killed and started again, its jobs are as old as they were.

Says where it is, and serves until its standard input ends, so that it never outlives a test.
"""

import argparse
import asyncio
import sys
import time
from typing import Literal, TypeAlias

from sieve_async.testing import FakeSieve

End: TypeAlias = Literal["finished", "error", "cancelled"]


def end_of(number: int) -> End:
    """How the job of this number ends."""
    return "error" if number % 10 == 3 else "cancelled" if number % 10 == 7 else "finished"


async def serve(key: str, port: int, number: int, born: float, seconds: float) -> None:
    """Serve so many jobs, which end evenly within so many seconds from when they were born."""
    async with FakeSieve(port=port, api_key=key) as sieve:
        age = time.time() - born
        for each in range(number):
            left = max(0.0, seconds * (each + 1) / number - age)
            sieve.add_job(
                f"job-{each}", processing=left, status=end_of(each), outputs=[f"job-{each}"]
            )
        sys.stdout.write(f"{sieve.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--key", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--number", type=int, default=1)
    parser.add_argument("--born", type=float, default=time.time())
    parser.add_argument("--seconds", type=float, default=3600.0)
    given = parser.parse_args()
    asyncio.run(serve(given.key, given.port, given.number, given.born, given.seconds))
