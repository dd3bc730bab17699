"""How one job looks at each request in turn, and its outputs as streams hand them out."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

from faults.wire import JOB, Do, Document, Script, answer
from stage import Asked, Stage

from sieve_async import Job, Output, PollPolicy, SieveClient

# A whole job, a status of HTTP, or nothing but a cut connection.
Moment: TypeAlias = Document | int | None

EVERY_SECOND = PollPolicy(min_interval=1, max_interval=1, growth=0, jitter=0)


def telling(*moments: Moment) -> Stage:
    """A server whose n-th answer about a job is the n-th moment, and the last one for ever.

    Args:
        moments: How the job looks, with all outputs that it has; each answer leaves out as many
            of them as it is asked to.
    """
    return Stage(lambda asked: _show(moments[min(asked.times, len(moments) - 1)], asked))


def _show(moment: Moment, asked: Asked) -> Script:
    if moment is None:
        return answer(b"{", Do.FIN, length=99)
    if isinstance(moment, int):
        return answer({}, status=moment)
    outputs = moment.get("outputs")
    rest = {"outputs": outputs[asked.offset :]} if isinstance(outputs, list) else {}
    return answer(moment | rest)


def moment(status: str, run: str | None, *data: Any, **fields: Any) -> Document:
    """How the job looks at one moment; a field of ``...`` is left out."""
    outputs = [each if isinstance(each, list) else {"data": each} for each in data]
    document = {"id": JOB, "status": status, "run_id": run, "outputs": outputs} | fields
    return {key: value for key, value in document.items() if value is not ...}


def running(run: str | None, *data: Any, **fields: Any) -> Document:
    """The job while it runs."""
    return moment("processing", run, *data, **fields)


def finished(run: str | None, *data: Any, **fields: Any) -> Document:
    """The job once it has finished."""
    return moment("finished", run, *data, **fields)


def stream(client: SieveClient, **how: Any) -> AsyncIterator[Output]:
    """Stream the outputs of the job, with a look each second."""
    return client.stream_outputs(JOB, **({"polling": EVERY_SECOND} | how))


async def collect(outputs: AsyncIterator[Output], into: list[Any]) -> None:
    """Append what each output holds, so that it is known also when the stream raises."""
    async for output in outputs:
        into.append(data_of(output))  # noqa: PERF401 - a comprehension would lose what came


def data_of(output: Output) -> Any:
    """What an output holds; a list for a nested one."""
    return [one.data for one in output] if isinstance(output, tuple) else output.data


def values_of(job: Job) -> list[Any]:
    """What the outputs of a job hold."""
    return [data_of(output) for output in job.outputs]


async def waited(*moments: Moment) -> tuple[Job, Stage]:
    """The job as a wait with a look each second returns it, and the server that was asked."""
    async with telling(*moments) as server, server.client() as client:
        return await client.wait_for_job(JOB, polling=EVERY_SECOND, timeout=300), server


async def streamed(*moments: Moment, **how: Any) -> tuple[list[Any], Stage]:
    """What a stream with a look each second hands out, and the server that was asked."""
    found: list[Any] = []
    async with telling(*moments) as server, server.client() as client:
        await collect(stream(client, **({"timeout": 300} | how)), found)
    return found, server
