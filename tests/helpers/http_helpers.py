"""Requests to the fake server without the client, and readers of its documents."""

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


def output_data(job: Document) -> list[Any]:
    """The data of each output of a job document."""
    return [output["data"] for output in job["outputs"] or []]


def duration_between(document: Document, earlier: str, later: str) -> timedelta:
    """The time between two time fields of a document."""
    return datetime.fromisoformat(document[later]) - datetime.fromisoformat(document[earlier])


def host_and_port(sieve: FakeSieve) -> tuple[str, int]:
    """The address of the server, for plain TCP."""
    host, _, port = sieve.url.removeprefix("http://").partition(":")
    return host, int(port)


async def wait_until_in_flight(sieve: FakeSieve, number: int = 1) -> None:
    """Wait until the server is answering so many requests."""
    while sieve.in_flight < number:  # noqa: ASYNC110 - the server has no event for this
        await asyncio.sleep(0)


async def get_raw(sieve: FakeSieve, path: str) -> bytes:
    """Send one request on a new connection and read until the server closes it."""
    reader, writer = await asyncio.open_connection(*host_and_port(sieve))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {sieve.api_key}\r\n\r\n".encode())
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


def now() -> float:
    """The time of the event loop, which the fake server uses too."""
    return asyncio.get_running_loop().time()
