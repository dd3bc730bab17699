"""Many waits at one server whose truth is known, and what each of them was told."""

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import attrs
from asking import now
from checks import check_quiet

from sieve_async import JobOutcome, SieveClient, SieveError
from sieve_async.testing import FakeSieve

# One wait for each job, or one watch of all.
Way: TypeAlias = Literal["each", "all"]
End: TypeAlias = Literal["finished", "error", "cancelled"]

_ENDS: tuple[End, ...] = ("finished", "error", "cancelled")
# After this long, in seconds of the loop, who was told nothing is taken for hung.
_HUNG = 4 * 3600.0


@attrs.frozen
class Fate:
    """How a job ends, and when by the loop's clock."""

    job_id: str
    ends: End
    ends_at: float

    def is_told_by(self, outcome: JobOutcome, at: float) -> bool:
        """Whether this is the truth, and could be known at that time."""
        job = outcome.job
        if job is None or at < self.ends_at:
            return False
        outputs = [getattr(output, "data", None) for output in job.outputs]
        return (
            (job.id, outcome.job_id, job.status) == (self.job_id, self.job_id, self.ends)
            and outputs == ([self.job_id] if self.ends == "finished" else [])
            and bool(job.error) == (self.ends == "error")
        )


@attrs.frozen
class Toll:
    """What became of the waits; nothing but zeros is good."""

    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    hung: int = 0


class Storm:
    """Jobs whose ends are scripted, and the waits for them.

    Args:
        sieve: The server.
        seed: Which ends, out of all that there might be.
    """

    def __init__(self, sieve: FakeSieve, seed: int = 0) -> None:
        self.fates: dict[str, Fate] = {}
        self.told: defaultdict[str, list[tuple[float, JobOutcome]]] = defaultdict(list)
        self._sieve = sieve
        self._seed = seed
        self._dice = random.Random(seed)
        self._hung = 0

    def add(self, number: int, *, ends_in: tuple[float, float], restarts: int = 0) -> list[str]:
        """Add jobs that end at some time between two, in seconds from now; return their ids."""
        added = [self._add(ends_in, restarts) for _ in range(number)]
        self.fates |= {fate.job_id: fate for fate in added}
        return [fate.job_id for fate in added]

    def _add(self, ends_in: tuple[float, float], restarts: int) -> Fate:
        seconds = round(self._dice.uniform(*ends_in), 3)
        ends = self._dice.choices(_ENDS, (8, 1, 1))[0]
        job_id = f"job-{self._seed}-{len(self.fates)}-{self._dice.getrandbits(32):08x}"
        queued = self._dice.uniform(0, seconds / 2)
        self._sieve.add_job(
            job_id,
            queued=queued,
            processing=(seconds - queued) / (restarts + 1),
            restarts=restarts,
            status=ends,
            outputs=[job_id],
        )
        return Fate(job_id, ends, now() + seconds - 0.001)

    async def wait(
        self, client: SieveClient, way: Way, ids: Sequence[str] | None = None, **how: Any
    ) -> None:
        """Wait for all jobs, or for some, until each has been told of or hangs."""
        wanted = list(self.fates) if ids is None else list(ids)
        told = self._wait_for_each if way == "each" else self._watch_all
        try:
            async with asyncio.timeout(_HUNG):
                await told(client, wanted, how)
        except TimeoutError:
            self._hung += sum(job_id not in self.told for job_id in wanted)

    def toll(self) -> Toll:
        """Count what went wrong."""
        told = self.told
        wrong = [
            job_id
            for job_id, all_told in told.items()
            for at, outcome in all_told
            if job_id not in self.fates or not self.fates[job_id].is_told_by(outcome, at)
        ]
        return Toll(
            lost=len(self.fates.keys() - told.keys()) - self._hung,
            duplicated=sum(len(all_told) > 1 for all_told in told.values()),
            wrong=len(wrong),
            hung=self._hung,
        )

    def check(self, client: SieveClient) -> None:
        """Each wait was told the truth once, and nothing goes on."""
        assert self.toll() == Toll()
        check_quiet(client)

    def delays(self) -> list[float]:
        """How long after its end each job was told of."""
        return [at - self.fates[job_id].ends_at for job_id, ((at, _), *_) in self.told.items()]

    async def _wait_for_each(
        self, client: SieveClient, ids: Sequence[str], how: dict[str, Any]
    ) -> None:
        async with asyncio.TaskGroup() as waits:
            for job_id in ids:
                waits.create_task(self._wait_for_one(client, job_id, how))

    async def _wait_for_one(self, client: SieveClient, job_id: str, how: dict[str, Any]) -> None:
        try:
            outcome = JobOutcome(job_id, await client.wait_for_job(job_id, **how))
        except SieveError as error:
            outcome = JobOutcome(job_id, None, error.with_traceback(None))
        self.told[job_id].append((now(), outcome))

    async def _watch_all(
        self, client: SieveClient, ids: Sequence[str], how: dict[str, Any]
    ) -> None:
        async for outcome in client.as_completed(ids, **how):
            self.told[outcome.job_id].append((now(), outcome))


class Meter:
    """Counts what a client asks in each tenth of a second, also where no server hears it.

    Args:
        client: Whose requests.

    Attributes:
        tenths: How many requests went in each tenth of a second so far.
    """

    def __init__(self, client: SieveClient) -> None:
        self.tenths: list[int] = []
        self._client = client

    async def __aenter__(self) -> Self:
        self._counting = asyncio.create_task(self._count())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._counting.cancel()
        await asyncio.wait([self._counting])

    async def _count(self) -> None:
        begun, before = now(), self._client.stats.requests
        while True:
            await asyncio.sleep(begun + (len(self.tenths) + 1) / 10 - now())
            requests = self._client.stats.requests
            self.tenths.append(requests - before)
            before = requests

    def seconds(self, first: float = 0.0, last: float = math.inf) -> list[int]:
        """How many requests went in each whole second between two, from when it began."""
        tenths = self._between(first, last)
        return [sum(tenths[at : at + 10]) for at in range(0, len(tenths) - 9, 10)]

    def rate(self, first: float = 0.0, last: float = math.inf) -> float:
        """Requests per second between two times."""
        tenths = self._between(first, last)
        return 10 * sum(tenths) / len(tenths)

    def peak_to_mean(self, first: float = 0.0, last: float = math.inf) -> float:
        """How many times the mean the fullest tenth of a second has."""
        tenths = self._between(first, last)
        return max(tenths) * len(tenths) / sum(tenths)

    def _between(self, first: float, last: float) -> list[int]:
        end = len(self.tenths) if last == math.inf else round(10 * last)
        return self.tenths[round(10 * first) : end]
