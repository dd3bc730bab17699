"""A job given as snapshots, one for each response, and readers of its outputs."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

from helpers.raw_server import JOB, Action, Document, RawRequest, Script, ScriptedServer, respond
from sieve_async import Job, Output, PollPolicy, SieveClient

# A job document, an HTTP status, or None for a connection that closes in the middle.
Snapshot: TypeAlias = Document | int | None

EVERY_SECOND = PollPolicy(min_interval=1, max_interval=1, growth=0, jitter=0)


def serve_snapshots(*snapshots: Snapshot) -> ScriptedServer:
    """A server whose n-th response about a job is the n-th snapshot; the last one repeats.

    Args:
        snapshots: The job with all of its outputs; each response leaves out ``offset`` of them.
    """
    return ScriptedServer(
        lambda request: show_snapshot(snapshots[min(request.times, len(snapshots) - 1)], request)
    )


def show_snapshot(snapshot: Snapshot, request: RawRequest) -> Script:
    """The response that shows a snapshot."""
    if snapshot is None:
        return respond(b"{", Action.CLOSE, length=99)
    if isinstance(snapshot, int):
        return respond({}, status=snapshot)
    outputs = snapshot.get("outputs")
    rest = {"outputs": outputs[request.offset :]} if isinstance(outputs, list) else {}
    return respond(snapshot | rest)


def snapshot(status: str, run: str | None, *data: Any, **fields: Any) -> Document:
    """A job document; a field of ``...`` is left out."""
    outputs = [each if isinstance(each, list) else {"data": each} for each in data]
    document = {"id": JOB, "status": status, "run_id": run, "outputs": outputs} | fields
    return {key: value for key, value in document.items() if value is not ...}


def running(run: str | None, *data: Any, **fields: Any) -> Document:
    """A snapshot of the running job."""
    return snapshot("processing", run, *data, **fields)


def finished(run: str | None, *data: Any, **fields: Any) -> Document:
    """A snapshot of the finished job."""
    return snapshot("finished", run, *data, **fields)


def stream_job(client: SieveClient, **how: Any) -> AsyncIterator[Output]:
    """Stream the outputs of the job, polling once per second."""
    return client.stream_outputs(JOB, **({"polling": EVERY_SECOND} | how))


async def collect_outputs(outputs: AsyncIterator[Output], into: list[Any]) -> None:
    """Append the value of each output to a list, which is complete also when the stream raises."""
    async for output in outputs:
        into.append(output_value(output))  # noqa: PERF401 - a comprehension loses the values when the stream raises


def output_value(output: Output) -> Any:
    """The value of an output; a list for a nested one."""
    return [one.data for one in output] if isinstance(output, tuple) else output.data


def output_values(job: Job) -> list[Any]:
    """The values of the outputs of a job."""
    return [output_value(output) for output in job.outputs]


async def wait_through(*snapshots: Snapshot) -> tuple[Job, ScriptedServer]:
    """Wait for the job, polling once per second; return it and the server."""
    async with serve_snapshots(*snapshots) as server, server.client() as client:
        return await client.wait_for_job(JOB, polling=EVERY_SECOND, timeout=300), server


async def stream_through(*snapshots: Snapshot, **how: Any) -> tuple[list[Any], ScriptedServer]:
    """Stream the job, polling once per second; return the values and the server."""
    found: list[Any] = []
    async with serve_snapshots(*snapshots) as server, server.client() as client:
        await collect_outputs(stream_job(client, **({"timeout": 300} | how)), found)
    return found, server
