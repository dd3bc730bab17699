"""Many waits for jobs with known results, and a check of every outcome."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import attrs

from helpers.asserts import assert_idle
from helpers.http_helpers import now
from sieve_async import JobOutcome, SieveClient, SieveError
from sieve_async.testing import FakeSieve

# One wait for each job, or one watch of all jobs.
WaitMode: TypeAlias = Literal["each", "all"]
End: TypeAlias = Literal["finished", "error", "cancelled"]

_ENDS: tuple[End, ...] = ("finished", "error", "cancelled")
# Seconds of loop time after which a wait without an outcome counts as hung.
_HUNG_AFTER = 4 * 3600.0


@attrs.frozen
class Expected:
    """The result of a job and the loop time of its end."""

    job_id: str
    status: End
    ends_at: float

    def matches(self, outcome: JobOutcome, at: float) -> bool:
        """Whether an outcome is correct and was not too early."""
        job = outcome.job
        if job is None or at < self.ends_at:
            return False
        outputs = [getattr(output, "data", None) for output in job.outputs]
        return (
            (job.id, outcome.job_id, job.status) == (self.job_id, self.job_id, self.status)
            and outputs == ([self.job_id] if self.status == "finished" else [])
            and bool(job.error) == (self.status == "error")
        )


@attrs.frozen
class Violations:
    """Counts of wrong results; all must be zero."""

    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    hung: int = 0


class LoadTest:
    """Jobs with scripted results, and the waits for them.

    Args:
        sieve: The server.
        seed: Determines the results.
    """

    def __init__(self, sieve: FakeSieve, seed: int = 0) -> None:
        self.expected: dict[str, Expected] = {}
        self.received: defaultdict[str, list[tuple[float, JobOutcome]]] = defaultdict(list)
        self._sieve = sieve
        self._seed = seed
        self._random = random.Random(seed)
        self._hung = 0

    def add(self, number: int, *, ends_in: tuple[float, float], restarts: int = 0) -> list[str]:
        """Add jobs that end between two times, in seconds from now; return their ids."""
        added = [self._add(ends_in, restarts) for _ in range(number)]
        self.expected |= {each.job_id: each for each in added}
        return [each.job_id for each in added]

    def _add(self, ends_in: tuple[float, float], restarts: int) -> Expected:
        seconds = round(self._random.uniform(*ends_in), 3)
        status = self._random.choices(_ENDS, (8, 1, 1))[0]
        job_id = f"job-{self._seed}-{len(self.expected)}-{self._random.getrandbits(32):08x}"
        queued = self._random.uniform(0, seconds / 2)
        self._sieve.add_job(
            job_id,
            queued=queued,
            processing=(seconds - queued) / (restarts + 1),
            restarts=restarts,
            status=status,
            outputs=[job_id],
        )
        return Expected(job_id, status, now() + seconds - 0.001)

    async def wait(
        self, client: SieveClient, way: WaitMode, ids: Sequence[str] | None = None, **how: Any
    ) -> None:
        """Wait for all jobs, or for some, until each has an outcome or counts as hung."""
        wanted = list(self.expected) if ids is None else list(ids)
        run = self._wait_for_each if way == "each" else self._watch_all
        try:
            async with asyncio.timeout(_HUNG_AFTER):
                await run(client, wanted, how)
        except TimeoutError:
            self._hung += sum(job_id not in self.received for job_id in wanted)

    def violations(self) -> Violations:
        """Count wrong results."""
        received = self.received
        wrong = [
            job_id
            for job_id, outcomes in received.items()
            for at, outcome in outcomes
            if job_id not in self.expected or not self.expected[job_id].matches(outcome, at)
        ]
        return Violations(
            lost=len(self.expected.keys() - received.keys()) - self._hung,
            duplicated=sum(len(outcomes) > 1 for outcomes in received.values()),
            wrong=len(wrong),
            hung=self._hung,
        )

    def check(self, client: SieveClient) -> None:
        """Assert that each wait had one correct outcome and that the client is idle."""
        assert self.violations() == Violations()
        assert_idle(client)

    def delays(self) -> list[float]:
        """Seconds between the end of each job and its outcome."""
        return [
            at - self.expected[job_id].ends_at for job_id, ((at, _), *_) in self.received.items()
        ]

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
        self.received[job_id].append((now(), outcome))

    async def _watch_all(
        self, client: SieveClient, ids: Sequence[str], how: dict[str, Any]
    ) -> None:
        async for outcome in client.as_completed(ids, **how):
            self.received[outcome.job_id].append((now(), outcome))
