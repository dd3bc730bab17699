"""Counts requests of a client over time."""

import asyncio
import math
from types import TracebackType
from typing import Self

from helpers.http_helpers import now
from sieve_async import SieveClient


class RateMeter:
    """Counts the requests of a client in each tenth of a second, also those that reach no server.

    Args:
        client: The client.

    Attributes:
        tenths: The number of requests in each tenth of a second so far.
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
        """The number of requests in each whole second between two times since the start."""
        tenths = self._between(first, last)
        return [sum(tenths[at : at + 10]) for at in range(0, len(tenths) - 9, 10)]

    def rate(self, first: float = 0.0, last: float = math.inf) -> float:
        """Requests per second between two times."""
        tenths = self._between(first, last)
        return 10 * sum(tenths) / len(tenths)

    def peak_to_mean(self, first: float = 0.0, last: float = math.inf) -> float:
        """The largest tenth of a second divided by the mean."""
        tenths = self._between(first, last)
        return max(tenths) * len(tenths) / sum(tenths)

    def _between(self, first: float, last: float) -> list[int]:
        end = len(self.tenths) if last == math.inf else round(10 * last)
        return self.tenths[round(10 * first) : end]
