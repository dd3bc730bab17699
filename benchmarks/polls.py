"""Polls, waits, and the machinery around a request: the stage of ``poll``."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import backoff

from benchmarks.asking import API_KEY, Ask, Contender, asking, attribute, check, ids, item
from benchmarks.contenders import LOADS, bare
from benchmarks.turns import Company, Turn
from sieve_async import Job, Limits, PollPolicy, RetryPolicy, SieveClient, endpoints
from sieve_async.decode import parse_state
from sieve_async.errors import TransportError
from sieve_async.gate import Gate
from sieve_async.messages import Request, Response
from sieve_async.polling import JobFollower, Wait
from sieve_async.retry import Retrier

WAITS = 100


@asynccontextmanager
async def contending(settings: Mapping[str, Any]) -> AsyncIterator[Company]:
    """All contenders; what their names begin with says to which group they belong."""
    url, in_flight = settings["url"], settings["in_flight"]
    connector = aiohttp.TCPConnector(limit=in_flight)
    headers = {"X-API-Key": API_KEY}
    limits = Limits(max_connections=in_flight, polls_per_second=None)
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers) as session,
        SieveClient(API_KEY, base_url=url, limits=limits) as client,
    ):
        turns, notes = {}, {}
        ask = bare(session, f"{url}/v2/jobs")
        for name, contender in _polls(client, ask).items():
            await check(name, contender)
            turns[name], notes[name] = asking(contender, in_flight), 1
        for name, wait in _waits(client, ask).items():
            turns[name] = _waiting(wait)
            before = client.stats.requests
            await turns[name](1)
            notes[name] = client.stats.requests - before or WAITS
        turns |= _machinery()
        yield Company(turns, {name: notes.get(name, 0) for name in turns})


def _polls(client: SieveClient, ask: Ask) -> dict[str, Contender]:
    """One poll without the pause that follows it.

    It goes through the client's internals: ``wait_for_job`` would pause between two polls, and a
    wait of 0 s builds the model that a poll does without, for the error that it ends with.
    """
    retrier, how = client._retrier, client._asking  # noqa: SLF001
    policy = PollPolicy()

    async def poll(job_id: str) -> Any:
        return await retrier.poll(endpoints.get_job(job_id), parse_state, deadline=None)

    async def look(job_id: str) -> Any:
        follower = JobFollower(how, Wait(policy, how.clock()), job_id)
        await follower.look()
        return follower.seen

    return {
        f"processing: aiohttp + {LOADS}": Contender("processing", ask, item),
        "processing: a poll": Contender("processing", poll, attribute),
        f"queued: aiohttp + {LOADS}": Contender("queued", ask, item),
        "queued: a poll": Contender("queued", poll, attribute),
        "queued: a wait's first look": Contender("queued", look, attribute),
    }


def _waits(client: SieveClient, ask: Ask) -> dict[str, Ask]:
    """A hundred waits for one job, which has ended."""

    async def bare_ones(job_id: str) -> None:
        await asyncio.gather(*(ask(job_id) for _ in range(WAITS)))

    async def single_ones(job_id: str) -> None:
        await asyncio.gather(*(client.wait_for_job(job_id) for _ in range(WAITS)))

    async def watches(job_id: str) -> None:
        await asyncio.gather(*(client.wait_for_jobs([job_id]) for _ in range(WAITS)))

    async def one_watch(job_id: str) -> None:
        await client.wait_for_jobs([job_id] * WAITS)

    return {
        f"{WAITS} on one id: aiohttp + {LOADS}": bare_ones,
        f"{WAITS} on one id: wait_for_job(id) each": single_ones,
        f"{WAITS} on one id: wait_for_jobs([id]) each": watches,
        f"{WAITS} on one id: wait_for_jobs([id, ...])": one_watch,
    }


def _waiting(wait: Ask) -> Turn:
    async def turn(count: int) -> None:
        for id_ in ids("finished", count):
            await wait(id_)

    return turn


def _machinery() -> dict[str, Turn]:
    """What stands between a call and the network, with an answer that is there at once."""
    loop = asyncio.get_running_loop()
    response, request = Response(200, (), b"{}", str), endpoints.get_job("a")
    gate = Gate(slots=64, steady_rate=None, clock=loop.time)
    slots = asyncio.Semaphore(64)

    async def send(_: Request[Any], __: float | None) -> Response:
        return response

    def read(_: Request[Job], answer: Response) -> Response:
        return answer

    retrier = Retrier(RetryPolicy(), gate, send, loop.time)

    async def alone() -> Response:
        return read(request, await send(request, None))

    async def through_all() -> Response:
        return await retrier.call(request, read)

    async def through_gate() -> Response:
        ticket = await gate.enter()
        try:
            return await alone()
        finally:
            gate.leave(ticket or 0)

    async def through_semaphore() -> Response:
        async with slots:
            return await alone()

    decorated = backoff.on_exception(backoff.expo, TransportError, max_tries=3)(alone)
    return {
        "no network: a coroutine alone": _repeating(alone),
        "no network: through Retrier and Gate": _repeating(through_all),
        "no network: through Gate": _repeating(through_gate),
        "no network: in asyncio.Semaphore": _repeating(through_semaphore),
        "no network: in backoff.on_exception": _repeating(decorated),
    }


def _repeating(call: Callable[[], Awaitable[object]]) -> Turn:
    async def turn(count: int) -> None:
        for _ in range(count):
            await call()

    return turn
