"""For the tests of many jobs: a raw server that answers by who is asked for, and small tools."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from wire import KEY, Do, Script, Seen, Wire, answer, job

from sieve_async import JobOutcome, SieveClient

# From a job id, and how often it was asked for before, to what the server does.
Reply: TypeAlias = Callable[[str, int], Script]


class Town(Wire):
    """A raw server that answers by who is asked for, and not by whose turn it is."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.asked = Counter[str]()
        self.in_flight = self.most_in_flight = 0
        self._reply = reply

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        seen = Seen(head, connection, now())
        self.requests.append(seen)
        job_id = seen.target.partition("?")[0].rpartition("/")[2]
        script = self._reply(job_id, self.asked[job_id])
        self.asked[job_id] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._play(script, reader, writer)
        finally:
            self.in_flight -= 1

    async def _play(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
            elif isinstance(step, Do):
                await self._end(step, reader, writer)
                return False
            elif isinstance(step, (int, float)):
                await asyncio.sleep(step)
        return True


def failing(status: int, *headers: tuple[str, str]) -> Script:
    """The script of an error answer, which repeats the key."""
    body = json.dumps({"detail": f"no, and {KEY} is your key"}).encode()
    return answer(body, status=status, headers=headers)


def running(job_id: str) -> Script:
    """The script of an answer for a job that runs."""
    return answer(job(id=job_id, status="processing", outputs=[]))


def ended(job_id: str) -> Script:
    """The script of an answer for a job that has finished."""
    return answer(job(id=job_id))


def now() -> float:
    """The virtual time."""
    return asyncio.get_running_loop().time()


async def turns(number: int) -> None:
    """Let the loop turn so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


def most_in_a_second(times: Sequence[float]) -> int:
    """The largest number of times that lie within any one second."""
    most = first = 0
    for last, time in enumerate(times):
        while times[first] <= time - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def ids_of(outcomes: Iterable[JobOutcome]) -> list[str]:
    """The ids of outcomes, in their order."""
    return [outcome.job_id for outcome in outcomes]


def check_quiet(client: SieveClient) -> None:
    """Nothing is watched or asked any more."""
    stats = client.stats
    assert (stats.waits, stats.in_flight, stats.queued) == (0, 0, 0)


async def check_silence(client: SieveClient, requests: Sequence[object], watch: float = 60) -> None:
    """Nothing is watched, and nothing more is asked for a minute."""
    await turns(20)
    check_quiet(client)
    before = len(requests)

    await asyncio.sleep(watch)

    assert len(requests) == before


async def test_seconds() -> None:
    """The busiest second is found wherever it begins."""
    assert most_in_a_second([]) == 0
    assert most_in_a_second([0, 0.6, 0.9, 1.2, 1.5, 3]) == 4
