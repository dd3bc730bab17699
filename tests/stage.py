"""A raw server that answers by what is asked, how often and when, and not by whose turn it is.

It is for tests that need answers which the embedded server never gives: cut, contradictory, or
of another job. Where good answers and whole errors will do, use the embedded server.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qs, urlsplit

import attrs
from asking import now
from faults.closed_world import KEY
from faults.wire import Document, PolledState, Script, Wire, answer


@attrs.frozen
class Asked(PolledState):
    """One request, taken apart.

    Attributes:
        times: How often its job was asked for before, in whatever way; or a list, if it is one.
    """

    times: int

    @cached_property
    def _parts(self) -> SplitResult:
        return urlsplit(self.target)

    @property
    def is_list(self) -> bool:
        """Whether a page of a list is asked for."""
        return self._parts.path == "/v2/jobs"

    @property
    def is_await(self) -> bool:
        """Whether the answer may be held until the job ends."""
        return self._parts.path.endswith("/await")

    @property
    def job_id(self) -> str:
        """The job that is asked for; nothing if it is a list."""
        return job_id_of(self)

    @cached_property
    def query(self) -> dict[str, str]:
        """The first value of each parameter."""
        values = parse_qs(self._parts.query, keep_blank_values=True)
        return {name: first for name, (first, *_) in values.items()}

    @property
    def offset(self) -> int:
        """How many outputs or rows are to be left out."""
        return int(self.query.get("offset", 0))

    @property
    def limit(self) -> int:
        """How many rows there may be on a page."""
        return int(self.query.get("limit", 500))


def job_id_of(seen: PolledState) -> str:
    """The job that is asked for; nothing if it is a list."""
    path = seen.target.partition("?")[0]
    return path.removeprefix("/v2/jobs").lstrip("/").partition("/")[0]


Reply: TypeAlias = Callable[[Asked], Script]


class Stage(Wire):
    """The server.

    Args:
        reply: Decides what to do about a request.

    Attributes:
        asked: The requests so far, taken apart.
        asked_for: How often each job was asked for; under no name, how often a list was.
        in_flight: How many requests are being answered.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.asked_for = Counter[str]()
        self.in_flight = 0
        self._reply = reply

    @property
    def awaits(self) -> list[Asked]:
        """The requests that may be held."""
        return [asked for asked in self.asked if asked.is_await]

    @property
    def lists(self) -> list[Asked]:
        """The requests for pages."""
        return [asked for asked in self.asked if asked.is_list]

    @property
    def looks(self) -> list[Asked]:
        """The plain lookups of jobs."""
        return [asked for asked in self.asked if not (asked.is_await or asked.is_list)]

    @property
    def offsets(self) -> list[str | None]:
        """The ``offset`` of each request as it stood on the wire; None where there was none."""
        return [asked.query.get("offset") for asked in self.asked]

    def _script_for(self, seen: PolledState) -> Script:
        job_id = job_id_of(seen)
        asked = Asked(seen.head, seen.connection, seen.at, self.asked_for[job_id])
        self.asked.append(asked)
        self.asked_for[job_id] += 1
        return self._reply(asked)

    async def _play(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        self.in_flight += 1
        try:
            return await super()._play(script, reader, writer)
        finally:
            self.in_flight -= 1


def document(job_id: str, status: str = "processing", **more: Any) -> Document:
    """A job as the server shows it; its outputs say whose they are once it has finished."""
    outputs = [{"data": f"of {job_id}"}] if status == "finished" else None
    return {"id": job_id, "status": status, "outputs": outputs} | more


def running(job_id: str) -> Script:
    """The script of an answer for a job that runs."""
    return answer(document(job_id))


def ended(job_id: str) -> Script:
    """The script of an answer for a job that has finished."""
    return answer(document(job_id, "finished"))


def until(ends_at: float, job_id: str = "job", word: str = "processing") -> Script:
    """The script of an answer for a job that has this status until it finishes."""
    return answer(document(job_id, "finished" if now() >= ends_at else word))


def failing(status: int, *headers: tuple[str, str]) -> Script:
    """The script of an error answer, which repeats the key."""
    body = json.dumps({"detail": f"no, and {KEY} is your key"}).encode()
    return answer(body, status=status, headers=headers)
