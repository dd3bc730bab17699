"""Program with few file descriptors that waits for many jobs.

It prints one JSON object: the status of each job, the errors, and the cost.
"""

import argparse
import asyncio
import json
import resource
import sys
from collections import Counter

from sieve_async import JobOutcome, PollPolicy, SieveClient, SieveError

# Short intervals, so that the program ends soon.
FAST = PollPolicy(min_interval=0.2, max_interval=1.0)


async def wait_for_one(client: SieveClient, job_id: str) -> JobOutcome:
    """Wait for one job by a call of its own."""
    try:
        return JobOutcome(job_id, await client.wait_for_job(job_id))
    except SieveError as error:
        return JobOutcome(job_id, None, error)


async def wait(url: str, key: str, number: int, mode: str) -> dict[str, object]:
    """Wait for all jobs, by one call for each or by one watch."""
    ids = [f"job-{each}" for each in range(number)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with SieveClient(key, base_url=url, polling=FAST) as client:
        if mode == "each":
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
    parser.add_argument("--mode", default="each")
    parser.add_argument("--descriptors", type=int, default=32)
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (given.descriptors, given.descriptors))
    summary = asyncio.run(wait(given.url, given.key, given.number, given.mode))
    sys.stdout.write(json.dumps(summary))
