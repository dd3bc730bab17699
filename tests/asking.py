"""Asking the embedded server as a plain HTTP client would."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sieve_async.testing import FakeSieve

Document: TypeAlias = dict[str, Any]
Get: TypeAlias = Callable[[str], Awaitable[Document]]

JOB_KEYS = (
    "id function_id organization_id function status created_at started_at completed_at inputs "
    "outputs error visibility run_id children restarts"
)
VERSION_KEYS = (
    "id build_status queued_at built_at ready_at compute_type python_packages system_packages "
    "cuda_version gpu split minimum_replicas maximum_replicas inputs outputs current_workers "
    "environment_variables stream_output function_dependencies"
)


def data_of(job: Document) -> list[Any]:
    """Unwrap the outputs of a job."""
    return [output["data"] for output in job["outputs"] or []]


def time_between(document: Document, earlier: str, later: str) -> timedelta:
    """Subtract two times of a document."""
    return datetime.fromisoformat(document[later]) - datetime.fromisoformat(document[earlier])


def address_of(sieve: FakeSieve) -> tuple[str, int]:
    """Split the URL for those who speak plain TCP."""
    host, _, port = sieve.url.removeprefix("http://").partition(":")
    return host, int(port)


async def held(sieve: FakeSieve, number: int = 1) -> None:
    """Wait until so many requests are with the server."""
    while sieve.in_flight < number:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)


async def raw(sieve: FakeSieve, path: str) -> bytes:
    """Ask on a connection of its own, and read until the server closes it."""
    reader, writer = await asyncio.open_connection(*address_of(sieve))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {sieve.api_key}\r\n\r\n".encode())
    everything = await reader.read()
    writer.close()
    await writer.wait_closed()
    return everything


def now() -> float:
    """Read the loop's clock, from which the server takes its own."""
    return asyncio.get_running_loop().time()
