"""A server whose answers about one job are scripted, and cut by the ``offset`` of the request."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from wire import JOB, Document, Seen, Wire

from sieve_async import Output, PollPolicy, SieveClient

# A whole job, a status of HTTP, or nothing but a cut connection.
Moment: TypeAlias = Document | int | None

EVERY_SECOND = PollPolicy(minimum=1, maximum=1, growth=0, jitter=0)


class Scripted(Wire):
    """The server: the n-th request gets the n-th moment, and the last moment goes on for ever.

    Args:
        moments: How the job looks, with all outputs that it has; each answer leaves out as many
            of them as it is asked to.
    """

    def __init__(self, *moments: Moment) -> None:
        super().__init__()
        self._moments: Sequence[Moment] = moments

    @property
    def offsets(self) -> list[str | None]:
        """The ``offset`` of each request as it stood on the wire; None where there was none."""
        return [_offset(seen) for seen in self.requests]

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        seen = Seen(head, connection, asyncio.get_running_loop().time())
        moment = self._moments[min(len(self.requests), len(self._moments) - 1)]
        self.requests.append(seen)
        if moment is None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
            writer.close()
            return False
        status, body = (moment, b"{}") if isinstance(moment, int) else (200, _body(moment, seen))
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        return True


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
    """Stream the outputs of the scripted job, with a look each second."""
    return client.stream_outputs(JOB, **({"polling": EVERY_SECOND} | how))


async def collect(outputs: AsyncIterator[Output], into: list[Any]) -> None:
    """Append what each output holds, so that it is known also when the stream raises."""
    async for output in outputs:
        into.append(data_of(output))  # noqa: PERF401 - a comprehension would lose what came


def data_of(output: Output) -> Any:
    """What an output holds; a list for a nested one."""
    return [one.data for one in output] if isinstance(output, tuple) else output.data


def _offset(seen: Seen) -> str | None:
    query = parse_qs(urlsplit(seen.target).query, keep_blank_values=True)
    return query["offset"][0] if "offset" in query else None


def _body(document: Document, seen: Seen) -> bytes:
    outputs = document.get("outputs")
    if isinstance(outputs, list):
        document = document | {"outputs": outputs[int(_offset(seen) or 0) :]}
    return json.dumps(document).encode()


async def test_answers_leave_out_what_is_asked_for() -> None:
    """Each moment is shown once, without the outputs that the request leaves out."""
    async with (
        Scripted(running("r", 1, 2), 503, finished("r", 1, [{"data": 2}], 3)) as server,
        server.client() as client,
    ):
        first = await client.get_job(JOB, offset=1)
        last = await client.get_job(JOB, offset=1)

    assert [data_of(output) for output in first.outputs] == [2]
    assert [data_of(output) for output in last.outputs] == [[2], 3]
    assert server.offsets == ["1", "1", "1"]
