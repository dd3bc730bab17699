"""A program with few descriptors that waits for many jobs, and says what it was told.

It prints one JSON object: how each job ended, what was wrong, and what the waits took.
"""

import argparse
import asyncio
import json
import resource
import sys
from collections import Counter

from sieve_async import JobOutcome, PollPolicy, SieveClient, SieveError

# Of a wait that fails: looked at often, so that the program is over soon.
OFTEN = PollPolicy(min_interval=0.2, max_interval=1.0)


async def wait_for_one(client: SieveClient, job_id: str) -> JobOutcome:
    """Wait for one job by a call of its own."""
    try:
        return JobOutcome(job_id, await client.wait_for_job(job_id))
    except SieveError as error:
        return JobOutcome(job_id, None, error)


async def wait(url: str, key: str, number: int, way: str) -> dict[str, object]:
    """Wait for all jobs in one of two ways."""
    ids = [f"job-{each}" for each in range(number)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with SieveClient(key, base_url=url, polling=OFTEN) as client:
        if way == "each":
            outcomes = await asyncio.gather(*(wait_for_one(client, job_id) for job_id in ids))
        else:
            outcomes = [outcome async for outcome in client.as_completed(ids)]
    return {
        "ends": {each.job_id: str(each.job.status) for each in outcomes if each.job is not None},
        "errors": Counter(type(each.error).__name__ for each in outcomes if each.error is not None),
        "outcomes": len(outcomes),
        "tasks": len(asyncio.all_tasks()) - 1,
        "kilobytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--key", required=True)
    parser.add_argument("--number", type=int, default=1)
    parser.add_argument("--way", default="each")
    parser.add_argument("--descriptors", type=int, default=32)
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (given.descriptors, given.descriptors))
    told = asyncio.run(wait(given.url, given.key, given.number, given.way))
    sys.stdout.write(json.dumps(told))
