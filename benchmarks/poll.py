"""The cost of polls: of jobs that are not terminal, of whole waits, and of many waits for one job.

All ask the same server over loopback, in short blocks that alternate. The client has its default
settings, but for the poll rate and for intervals as short as they may be.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from benchmarks import clients, harness
from benchmarks.server import POLLS, serving
from sieve_async import Job, PollPolicy, SieveClient, endpoints
from sieve_async.decode import PolledState, parse_state

_PACKAGES = ("sieve-async", "aiohttp", "backoff", "orjson")
_HEADER = ("group", "", "requests", "us", "middle 80 %", "to the first of the group")
_IN_FLIGHT = 64
_INTERVAL = 0.05
_MANY = 100
_TERMINAL = frozenset({"finished", "error", "cancelled"})
_BARE, _POLLED = f"a poll: aiohttp + {clients.PARSER}", "a poll: request and state"


@asynccontextmanager
async def candidates(settings: Mapping[str, Any]) -> AsyncIterator[Mapping[str, harness.Candidate]]:
    """All candidates; their names begin with their group."""
    url, in_flight = settings["url"], _IN_FLIGHT
    fast = PollPolicy(min_interval=_INTERVAL, growth=0, max_interval=_INTERVAL)
    async with (
        clients.open_session(in_flight) as session,
        clients.open_client(url, in_flight, polling=fast) as client,
    ):
        get = clients.bare(session, f"{url}/v2/jobs")
        lookup = clients.Lookup("processing", get, clients.id_item)
        await clients.verify(_BARE, lookup)
        # What each wait does for a poll: all but the schedule.
        poll = clients.Lookup(
            "processing", lambda job_id: _poll(client, job_id), clients.id_attribute
        )
        await clients.verify(_POLLED, poll)
        found = {
            _BARE: harness.Candidate(clients.lookups(lookup, in_flight), 1),
            _POLLED: harness.Candidate(clients.lookups(poll, in_flight), 1),
            "a poll: the first of as_completed": harness.Candidate(_first_polls(client), 1),
        }
        for name, wait in _waits(client, get).items():
            found[f"a poll of {POLLS}: {name}"] = harness.Candidate(_polls(wait), 1, POLLS)
        for name, share in _shared_waits(client, get).items():
            before = client.stats.requests
            await share(*clients.new_ids("compact", 1))
            count = client.stats.requests - before or _MANY
            key = f"a wait of {_MANY} for one job: {name}"
            found[key] = harness.Candidate(_one_by_one(share), count, _MANY)
        yield found


def _poll(client: SieveClient, job_id: str) -> Awaitable[PolledState[Job]]:
    return client._call(endpoints.get_job(job_id), parse_state)  # noqa: SLF001 - no public way


def _first_polls(client: SieveClient) -> harness.Block:
    """Watch so many running jobs until each was polled once; then stop."""
    rare = PollPolicy(min_interval=3600, max_interval=3600)

    async def block(count: int) -> None:
        polls = client.stats.polls + count
        async with client.as_completed(list(clients.new_ids("processing", count)), polling=rare):
            while client.stats.polls < polls or client.stats.in_flight:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.001)

    return block


def _waits(
    client: SieveClient, get: clients.Get
) -> dict[str, Callable[[list[str]], Awaitable[object]]]:
    """Ways to wait for many jobs, each of which needs so many polls."""

    async def loop(job_id: str) -> None:
        while (await get(job_id))["status"] not in _TERMINAL:  # noqa: ASYNC110 - users write this
            await asyncio.sleep(_INTERVAL)

    async def loops(job_ids: list[str]) -> None:
        await asyncio.gather(*map(loop, job_ids))

    async def single_waits(job_ids: list[str]) -> None:
        await asyncio.gather(*map(client.wait_for_job, job_ids))

    return {
        f"loops with aiohttp + {clients.PARSER}": loops,
        "wait_for_job each": single_waits,
        "wait_for_jobs": client.wait_for_jobs,
    }


def _polls(wait: Callable[[list[str]], Awaitable[object]]) -> harness.Block:
    """So many polls, all jobs at once."""

    async def block(count: int) -> None:
        await wait(list(clients.new_ids("polled", -(-count // POLLS))))

    return block


def _shared_waits(client: SieveClient, get: clients.Get) -> dict[str, clients.Get]:
    """A hundred waits for one job that is terminal already."""

    def repeat(wait: clients.Get) -> clients.Get:
        return lambda job_id: asyncio.gather(*(wait(job_id) for _ in range(_MANY)))

    return {
        f"aiohttp + {clients.PARSER}": repeat(get),
        "wait_for_job(id) each": repeat(client.wait_for_job),
        "wait_for_jobs([id]) each": repeat(lambda job_id: client.wait_for_jobs([job_id])),
        "wait_for_jobs([id, ...])": lambda job_id: client.wait_for_jobs([job_id] * _MANY),
    }


def _one_by_one(wait: clients.Get) -> harness.Block:
    async def block(count: int) -> None:
        for job_id in clients.new_ids("compact", -(-count // _MANY)):
            await wait(job_id)

    return block


def report(results: harness.Results) -> str:
    """The table, by group."""
    rows = [_HEADER]
    for key in results.times:
        group, _, name = key.partition(": ")
        median, low, high = harness.spread([1e6 * seconds for seconds in results.cpu(key)])
        first = next(other for other in results.times if other.startswith(f"{group}: "))
        ratio = "1" if key == first else str(results.ratio(key, first))
        times = (f"{median:.1f}", f"{low:.1f}-{high:.1f}", ratio)
        rows.append((group, name, f"{results.notes[key]}", *times))
    legend = "requests: for one poll, or for all waits\nus: processor time of the client for one"
    return f"{harness.table(rows, left=2)}\n{legend}; the median of all rounds"


def main(arguments: Sequence[str] | None = None) -> list[harness.Target]:
    """Measure and print."""
    quick = harness.parser_of("poll", __doc__).parse_args(arguments).quick
    plan = harness.Plan(1, 0.0, 20) if quick else harness.Plan(20, 0.06, 128, warm_up=64)
    with serving() as url, harness.open_worker("benchmarks.poll", {"url": url}) as worker:
        results = harness.compare([worker], plan)
    print(harness.in_one_line(harness.versions(_PACKAGES)))
    print(report(results))
    ratio = results.ratio(_POLLED, _BARE).median
    return [harness.at_least("a poll that is not terminal, to bare aiohttp", ratio, 1.5)]


if __name__ == "__main__":
    harness.finish(main())
