"""100,000 jobs watched on a Dask cluster, one worker of which is killed.

Run it in an environment with Dask; it takes about two minutes on two cores::

    python -m pip install --group tests ".[dask]"
    PYTHONPATH=tests python tests/load/dask_cluster.py

The fake server is a process of its own, and so are the three workers.

1. 100,000 jobs end within a minute, and one worker is killed (``kill -9``) after a third of them.
   Each job must have exactly one outcome, with the status that it ended in.
2. A watch of 3,000 jobs is left early. Three seconds later no request may reach the server.

It prints one line for each, and exits with 1 if something is wrong.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections import Counter

from distributed import Client, LocalCluster

from helpers.children.serve import status_of
from helpers.leak_checks import KEY
from helpers.processes import run_server
from sieve_async import Limits
from sieve_async.integrations.dask import as_completed
from sieve_async.testing import FakeSieve

LIMITS = Limits(polls_per_second=None)


async def check_lost_worker(number: int) -> bool:
    """Watch many jobs, and kill a worker."""
    with run_server(number=number, seconds=60) as url:
        async with cluster(url) as made, Client(made, asynchronous=True) as dask_client:
            began = time.monotonic()
            found: Counter[str] = Counter()
            wrong = 0
            job_ids = [f"job-{each}" for each in range(number)]
            watch = as_completed(dask_client, job_ids, limits=LIMITS, strategy="list")
            async with watch:
                async for outcome in watch:
                    found[outcome.job_id] += 1
                    status = status_of(int(outcome.job_id.removeprefix("job-")))
                    wrong += outcome.status != status
                    if found.total() == number // 3:
                        workers = await dask_client.run(os.getpid)
                        os.kill(next(iter(workers.values())), signal.SIGKILL)
            seconds = time.monotonic() - began
    lost = sum(found[job_id] == 0 for job_id in job_ids)
    doubled = sum(times > 1 for times in found.values())
    write(
        f"{number} jobs on 3 workers, one killed: lost {lost}, doubled {doubled}, wrong {wrong}"
        f" in {seconds:.0f} s"
    )
    return not (lost or doubled or wrong)


async def check_leaving_early() -> bool:
    """Leave a watch, and count what the server is asked later."""
    with FakeSieve.in_thread(api_key=KEY) as sieve:
        async with cluster(sieve.url) as made, Client(made, asynchronous=True) as dask_client:
            job_ids = [sieve.add_job(processing=each) for each in range(3000)]
            async with as_completed(dask_client, job_ids, limits=LIMITS) as watch:
                async for _ in watch:
                    if len(sieve.requests) > len(job_ids):
                        break
            await asyncio.sleep(3.0)
            before = len(sieve.requests)
            await asyncio.sleep(10.0)
            later = len(sieve.requests) - before
    write(f"left early after {before} requests: {later} of them came 3 to 13 s later")
    return later == 0


def cluster(url: str) -> LocalCluster:
    """Three workers that find the server by their environment."""
    environment = {"SIEVE_API_KEY": KEY, "SIEVE_API_URL": url}
    return LocalCluster(
        n_workers=3,
        threads_per_worker=1,
        asynchronous=True,
        dashboard_address=":0",
        memory_limit=None,
        env=environment,
    )


def write(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(number: int) -> int:
    """Run both; the exit code."""
    is_good = await check_lost_worker(number)
    return 0 if await check_leaving_early() and is_good else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=100_000, help="how many jobs")
    sys.exit(asyncio.run(main(parser.parse_args().number)))
