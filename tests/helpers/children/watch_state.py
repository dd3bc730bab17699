"""Program that watches jobs in a state file, and may be killed at any moment.

It prints `open`, `added`, and a line for each outcome: its id and status.
"""

import argparse
import asyncio
import sys

from sieve_async import Limits, PollPolicy, SieveClient, WatchState

# Short intervals, so that the program ends soon.
FAST = PollPolicy(min_interval=0.05, max_interval=0.5)


async def watch(url: str, key: str, path: str, number: int, mode: str) -> None:
    """Watch all jobs; with `transactions`, each outcome has an effect in the state file."""
    limits = Limits(polls_per_second=None)
    async with (
        SieveClient(key, base_url=url, polling=FAST, limits=limits) as client,
        WatchState.open(path) as state,
    ):
        _report("open")
        await state.add(f"job-{each}" for each in range(number))
        _report("added")
        async with client.resume(state) as outcomes:
            async for outcome in outcomes:
                if mode == "transactions":
                    async with outcomes.acknowledging(outcome) as transaction:
                        transaction.execute(
                            "CREATE TABLE IF NOT EXISTS effects (job_id TEXT, status TEXT)"
                        )
                        transaction.execute(
                            "INSERT INTO effects VALUES (?, ?)", (outcome.job_id, outcome.status)
                        )
                _report(f"{outcome.job_id} {outcome.status}")


def _report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("path")
    parser.add_argument("number", type=int)
    parser.add_argument("mode", choices=["transactions", "printing"])
    parser.add_argument("--key", required=True)
    given = parser.parse_args()
    asyncio.run(watch(given.url, given.key, given.path, given.number, given.mode))


if __name__ == "__main__":
    main()
