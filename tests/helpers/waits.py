"""Every kind of wait, with results and errors returned alike."""

from collections.abc import Sequence
from typing import Any

from helpers.raw_server import JOB
from sieve_async import SieveClient, SieveError

# What is waited for, and the strategy.
KINDS = ("job", "job, long_poll", "version", "stream", "jobs", "jobs, long_poll", "jobs, list")


async def ends_of(
    client: SieveClient, kind: str, ids: Sequence[str] = (JOB,), **settings: Any
) -> list[Any]:
    """How a wait of this kind ended: the job, version, outputs or error; one for each of many."""
    target, _, strategy = kind.partition(", ")
    if strategy:
        settings["strategy"] = strategy
    if target == "jobs":
        outcomes = await client.wait_for_jobs(ids, **settings)
        return [outcome.error or outcome.job for outcome in outcomes]
    try:
        if target == "job":
            return [await client.wait_for_job(ids[0], **settings)]
        if target == "version":
            return [await client.wait_until_ready("o", "f", **settings)]
        async with client.stream_outputs(ids[0], **settings) as outputs:
            return [[output async for output in outputs]]
    except SieveError as error:
        return [error]
