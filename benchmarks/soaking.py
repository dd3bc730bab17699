"""Churn in rounds, and what is left of it when each has come to rest."""

import asyncio
import gc
import random
import resource
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.errand import Errand
from benchmarks.errands import ERRANDS
from benchmarks.leaks import Rest
from benchmarks.ledger import Ledger
from sieve_async import Limits, PollPolicy, SieveClient, SieveError

_STATM, _OPEN = Path("/proc/self/statm"), Path("/proc/self/fd")
_GRACE = 60.0  # seconds after which an errand counts as lost


class Soak:
    """A crew that runs errands at a server, in rounds.

    Args:
        url: The server.
        seed: Which errands, and which lives.
        crew: How many errands at once.
        longest: The longest life, in milliseconds.

    Attributes:
        ledger: What became of the waits.
    """

    def __init__(self, url: str, *, seed: int, crew: int, longest: int) -> None:
        self.ledger = Ledger()
        self._url = url
        self._draws = random.Random(seed)
        self._crew = crew
        self._longest = longest
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    async def round(self, client: SieveClient, seconds: float) -> Rest:
        """Run errands for so long, let the last ones end, and look at what is left."""
        until = self._loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(self._crew):
                group.create_task(self._work(client, until))
        return await self.rest()

    async def rest(self) -> Rest:
        """Look at what is left once nothing goes on."""
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0.02)  # what was dropped is stopped in the next turns of the loop
        return Rest(
            minutes=(self._loop.time() - self._began) / 60,
            waits=self.ledger.waits,
            memory=memory(),
            objects=len(gc.get_objects()),
            tasks=len(asyncio.all_tasks()) - 1,
            descriptors=descriptors(),
        )

    def open(self) -> SieveClient:
        """A client with the settings of a user, but for the speed of these lives."""
        return SieveClient(
            "key-of-the-soak",
            base_url=self._url,
            polling=PollPolicy(
                min_interval=0.1, growth=0.1, max_interval=max(0.1, self._longest / 4000)
            ),
            limits=Limits(polls_per_second=None),
        )

    async def _work(self, client: SieveClient, until: float) -> None:
        while self._loop.time() < until:
            await self._send(self._draws.choice(ERRANDS), client)

    async def _send(self, run: Callable[[Errand], Awaitable[None]], client: SieveClient) -> None:
        errand = Errand(client, self._draws, self.ledger, self._longest, self.open)
        try:
            async with asyncio.timeout(_GRACE):
                await run(errand)
        except SieveError as error:
            self.ledger.blame(f"{run.__name__}: {type(error).__name__}")
        except TimeoutError:
            self.ledger.lost += 1
            self.ledger.reasons[f"{run.__name__} hangs"] += 1


def memory() -> int:
    """The resident bytes of this process; at their peak where the system tells no more."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def descriptors() -> int:
    """How many files this process has open; zero where the system does not tell."""
    return len(list(_OPEN.iterdir())) if _OPEN.exists() else 0
