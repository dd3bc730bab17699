"""Many waits for jobs with known results, a check of every outcome, and random faults."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, Self, TypeAlias

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


class LoadTest:
    """Jobs with scripted results, and the waits for them."""

    def __init__(self, sieve: FakeSieve, seed: int = 0) -> None:
        self.expected: dict[str, Expected] = {}
        self.received: defaultdict[str, list[tuple[float, JobOutcome]]] = defaultdict(list)
        self._sieve = sieve
        self._seed = seed
        self._random = random.Random(seed)

    def add(self, number: int, *, ends_in: tuple[float, float], restarts: int = 0) -> None:
        """Add jobs that end between two times, in seconds from now."""
        for _ in range(number):
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
            self.expected[job_id] = Expected(job_id, status, now() + seconds - 0.001)

    async def wait(self, client: SieveClient, mode: WaitMode, **how: Any) -> None:
        """Wait for all jobs, until each has an outcome or counts as hung."""
        async with asyncio.timeout(_HUNG_AFTER):
            if mode == "each":
                async with asyncio.TaskGroup() as waits:
                    for job_id in self.expected:
                        waits.create_task(self._wait_for_one(client, job_id, how))
            else:
                async for outcome in client.as_completed([*self.expected], **how):
                    self.received[outcome.job_id].append((now(), outcome))

    @contextlib.asynccontextmanager
    async def waiting(self, client: SieveClient, mode: WaitMode, **how: Any) -> AsyncIterator[None]:
        """Wait for all jobs during a block, which does not outlive it."""
        task = asyncio.create_task(self.wait(client, mode, **how))
        yield
        task.cancel()
        await asyncio.wait([task])

    def check(self, client: SieveClient) -> None:
        """Assert that each wait had one correct outcome and that the client is idle."""
        assert self.received.keys() == self.expected.keys()
        for job_id, [(at, outcome)] in self.received.items():
            assert self.expected[job_id].matches(outcome, at), outcome
        assert_idle(client)

    def delays(self) -> list[float]:
        """Seconds between the end of each job and its outcome."""
        return [at - self.expected[job_id].ends_at for job_id, [(at, _)] in self.received.items()]

    async def _wait_for_one(self, client: SieveClient, job_id: str, how: dict[str, Any]) -> None:
        try:
            outcome = JobOutcome(job_id, await client.wait_for_job(job_id, **how))
        except SieveError as error:
            outcome = JobOutcome(job_id, None, error.with_traceback(None))
        self.received[job_id].append((now(), outcome))


class RateMeter:
    """Counts the requests of a client in each tenth of a second, also those that fail."""

    def __init__(self, client: SieveClient) -> None:
        self.tenths: list[int] = []
        self._client = client

    async def __aenter__(self) -> Self:
        self._counting = asyncio.create_task(self._count())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._counting.cancel()
        await asyncio.wait([self._counting])

    async def _count(self) -> None:
        begun, before = now(), self._client.stats.requests
        while True:
            await asyncio.sleep(begun + (len(self.tenths) + 1) / 10 - now())
            requests = self._client.stats.requests
            self.tenths.append(requests - before)
            before = requests

    def seconds(self, first: float = 0.0) -> list[int]:
        """The number of requests in each whole second from a time since the start on."""
        tenths = self.tenths[round(10 * first) :]
        return [sum(tenths[at : at + 10]) for at in range(0, len(tenths) - 9, 10)]


# Each with the share of requests that it affects. None of them is a valid answer or a rejection:
# a 404 for a job without an earlier good answer correctly ends a wait.
FAULTS: tuple[tuple[float, Mapping[str, Any]], ...] = (
    (0.03, {"status": 500}),
    (0.02, {"status": 502, "body": "<html>Bad gateway</html>"}),
    (0.02, {"status": 503, "retry_after": 1}),
    (0.02, {"status": 504, "delay": 3.0}),
    (0.02, {"status": 408}),
    (0.02, {"status": 429}),
    (0.005, {"status": 429, "retry_after": 3, "as_date": True}),
    (0.03, {"drop": "before"}),
    (0.02, {"drop": "headers"}),
    (0.03, {"drop": "body"}),
    (0.03, {"truncate": True}),
    (0.02, {"body": "<html>Welcome to the hotel's network</html>"}),
    (0.01, {"body": b""}),
    (0.01, {"body": None, "status": 204}),
    (0.05, {"delay": 0.7}),
    (0.01, {"delay": 9.0}),
    (0.02, {"slow_body": 0.5}),
    (0.01, {"slow_body": 12.0}),
    (0.01, {"fields": {"status": None}}),
    (0.01, {"fields": {"status": "pondering"}}),
    (0.01, {"fields": {"id": "another"}}),
    (0.01, {"body": "[]"}),
)


def add_random_faults(sieve: FakeSieve, seed: int) -> None:
    """Add all faults; the seed decides which requests they affect."""
    for number, (share, fault) in enumerate(FAULTS):
        sieve.fault(probability=share, seed=1000 * seed + number, **fault)


@contextlib.asynccontextmanager
async def restarting(
    sieve: FakeSieve, up: tuple[float, float], down: tuple[float, float], seed: int = 0
) -> AsyncIterator[None]:
    """Stop and start the server at random times during a block."""
    randomizer = random.Random(seed)

    async def restart() -> None:
        while True:
            await asyncio.sleep(randomizer.uniform(*up))
            await sieve.stop()
            await asyncio.sleep(randomizer.uniform(*down))
            await sieve.start()

    task = asyncio.create_task(restart())
    yield
    task.cancel()
    await asyncio.wait([task])
