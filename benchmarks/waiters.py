"""One run of ``memory``, in a process of its own: so many waits, and what the process grows by.

Prints one JSON object. All jobs have been looked at once when the memory is measured, and all waits
wait for their next look, which is far away.
"""

import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import attrs

from benchmarks.asking import API_KEY, ids
from benchmarks.contenders import loads
from sieve_async import Limits, PollPolicy, SieveClient

_CONNECTIONS = 64
_PAUSE = 3600.0
_WORD = "queued"  # jobs without outputs: those are kept by whom it may concern
_TERMINAL = frozenset({"finished", "error", "cancelled"})
_PAGE = resource.getpagesize()


@attrs.frozen
class Memory:
    """What the process grew by, in bytes.

    Attributes:
        now: While all wait.
        most: At its largest.
        seconds: Of the processor, until all wait.
    """

    now: int
    most: int
    seconds: float


class _Gauge:
    """Measures from the time on when it is made."""

    def __init__(self) -> None:
        gc.collect()
        self._before, self._began = _resident(), time.process_time()

    def read(self) -> Memory:
        seconds = time.process_time() - self._began
        gc.collect()
        most = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Memory(_resident() - self._before, most - self._before, seconds)


def _resident() -> int:
    return _PAGE * int(Path("/proc/self/statm").read_text("ascii").split()[1])


async def _tasks(url: str, job_ids: Sequence[str], *, keep: bool) -> Memory:
    """What users write: a task for each job, which polls and sleeps.

    Args:
        url: Where the server is.
        job_ids: Whom to wait for.
        keep: Whether a task still has the last answer while it sleeps, as loops do whose variable
            lives on; or keeps nothing and asks only if one of a few slots is free, so that it takes
            as little as a task can.
    """
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
    looks = 0
    slots = nullcontext() if keep else asyncio.Semaphore(_CONNECTIONS)
    headers = {"X-API-Key": API_KEY}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def look(job_id: str) -> Any:
            nonlocal looks
            async with slots, session.get(f"{url}/v2/jobs/{job_id}") as response:
                response.raise_for_status()
                job = loads(await response.read())
            looks += 1
            return job if keep or job["status"] in _TERMINAL else None

        async def wait(job_id: str) -> Any:
            while True:
                job = await look(job_id)
                if job is not None and job["status"] in _TERMINAL:
                    return job
                await asyncio.sleep(_PAUSE)

        await look(*ids(_WORD, 1))  # what is lazy is there
        looks = 0
        gauge = _Gauge()
        tasks = [asyncio.create_task(wait(job_id)) for job_id in job_ids]
        await _until(lambda: looks == len(job_ids))
        memory = gauge.read()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return memory


async def _watch(url: str, job_ids: Sequence[str]) -> Memory:
    """The same with the SDK."""
    limits = Limits(max_connections=_CONNECTIONS, polls_per_second=None)
    polling = PollPolicy(min_interval=_PAUSE, max_interval=_PAUSE)
    async with SieveClient(API_KEY, base_url=url, limits=limits, polling=polling) as client:
        await client.get_job(*ids(_WORD, 1))
        gauge = _Gauge()
        outcomes = client.as_completed(job_ids)
        task = asyncio.create_task(anext(outcomes))
        await _until(lambda: client.stats.requests > len(job_ids) and not client.stats.in_flight)
        if client.stats.waits != len(job_ids):
            raise RuntimeError(f"{client.stats.waits} waits go on")
        memory = gauge.read()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await outcomes.aclose()
    return memory


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - as rarely as possible, to disturb nobody
        await asyncio.sleep(0.05)


_Way: TypeAlias = Callable[[str, Sequence[str]], Any]
WAYS: dict[str, _Way] = {
    "tasks that sleep and poll": lambda url, job_ids: _tasks(url, job_ids, keep=True),
    "the same, as lean as can be": lambda url, job_ids: _tasks(url, job_ids, keep=False),
    "as_completed": _watch,
}


def _run(way: str, url: str, jobs: str) -> None:
    memory = asyncio.run(WAYS[way](url, list(ids(_WORD, int(jobs)))))
    print(json.dumps(attrs.asdict(memory)))


if __name__ == "__main__":
    _run(*sys.argv[1:])
