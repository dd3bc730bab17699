"""Assertions and small observations that many tests share."""

import asyncio
import logging
from collections.abc import Iterable, Sequence

import pytest

from sieve_async import JobOutcome, SieveClient


async def yield_to_loop(iterations: int) -> None:
    """Run the event loop for so many iterations."""
    for _ in range(iterations):
        await asyncio.sleep(0)


def max_per_second(times: Sequence[float]) -> int:
    """The largest number of times within any one second."""
    largest = first = 0
    for last, time in enumerate(times):
        while times[first] <= time - 1:
            first += 1
        largest = max(largest, last - first + 1)
    return largest


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Warnings and errors that the package has logged."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("sieve_async") and record.levelno >= logging.WARNING
    ]


def ids_of(outcomes: Iterable[JobOutcome]) -> list[str]:
    """The job ids of outcomes, in order."""
    return [outcome.job_id for outcome in outcomes]


def assert_idle(client: SieveClient) -> None:
    """Assert that the client waits for nothing and has no request in flight or queued."""
    stats = client.stats
    assert (stats.waits, stats.in_flight, stats.queued) == (0, 0, 0)


async def assert_no_more_requests(
    client: SieveClient, requests: Sequence[object], seconds: float = 60
) -> None:
    """Assert that the client is idle and sends no request for so many seconds."""
    await yield_to_loop(20)
    assert_idle(client)
    before = len(requests)
    await asyncio.sleep(seconds)
    assert len(requests) == before
