"""What tests look at when all is over: times, warnings, outcomes, and that nothing goes on."""

import asyncio
import logging
from collections.abc import Iterable, Sequence

import pytest

from sieve_async import JobOutcome, SieveClient


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


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the package has warned of."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("sieve_async") and record.levelno >= logging.WARNING
    ]


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
