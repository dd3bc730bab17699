"""A raw server whose answers depend on what is asked and when, for the tests of both strategies."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import pytest
from wire import KEY, Do, Document, Script, Seen, Wire, answer

from sieve_async import SieveClient

Play: TypeAlias = Callable[["Asked"], Awaitable[Script]]


def now() -> float:
    """The virtual time."""
    return asyncio.get_running_loop().time()


class Asked:
    """One request, taken apart."""

    def __init__(self, seen: Seen) -> None:
        self.at = seen.at
        parts = urlsplit(seen.target)
        self.path = parts.path
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.is_list = self.path == "/v2/jobs"
        self.is_await = self.path.endswith("/await")
        self.job_id = "" if self.is_list else self.path.split("/")[3]
        self.offset = int(self.query.get("offset", 0))
        self.limit = int(self.query.get("limit", 500))


class Stage(Wire):
    """The server.

    Args:
        play: Makes the script that answers a request; it may take its time.
    """

    def __init__(self, play: Play) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self._play = play

    def client(self, **settings: Any) -> SieveClient:
        """A client of this server that holds the canary key."""
        return SieveClient(**({"api_key": KEY, "base_url": self.url} | settings))

    def awaits(self) -> list[Asked]:
        """The requests that may be held."""
        return [asked for asked in self.asked if asked.is_await]

    def lists(self) -> list[Asked]:
        """The requests for pages."""
        return [asked for asked in self.asked if asked.is_list]

    def looks(self) -> list[Asked]:
        """The plain lookups of jobs."""
        return [asked for asked in self.asked if not (asked.is_await or asked.is_list)]

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        seen = Seen(head, connection, now())
        self.requests.append(seen)
        asked = Asked(seen)
        self.asked.append(asked)
        for step in await self._play(asked):
            if isinstance(step, Do):
                await self._end(step, reader, writer)
                return False
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, (int, float)):
                await asyncio.sleep(step)
        return True


def document(job_id: str, status: str = "processing", **more: Any) -> Document:
    """A job as the server shows it; its outputs say whose they are once it has finished."""
    outputs = [{"data": f"of {job_id}"}] if status == "finished" else None
    return {"id": job_id, "status": status, "outputs": outputs} | more


def most_in_a_second(asked: Iterable[Asked]) -> int:
    """The largest number of requests in any second."""
    times = [each.at for each in asked]
    return max((sum(at <= other < at + 1 for other in times) for at in times), default=0)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the package has warned of."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("sieve_async") and record.levelno >= logging.WARNING
    ]


async def test_answers_follow_the_path() -> None:
    """Each request gets the answer of its own path, in whatever order they come."""

    async def play(asked: Asked) -> Script:
        return answer(document(asked.job_id, "finished"))

    async with Stage(play) as stage, stage.client() as client:
        jobs = await asyncio.gather(*(client.get_job(f"j{n}") for n in range(20)))

    assert [job.outputs for job in jobs] == [jobs[n].outputs for n in range(20)]
    assert [job.id for job in jobs] == [f"j{n}" for n in range(20)]
    assert len(stage.looks()) == 20
    assert all(early.at <= late.at for early, late in itertools.pairwise(stage.asked))
