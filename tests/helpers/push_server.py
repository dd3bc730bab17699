"""A raw server that takes pushes, and misbehaves at any byte of one as its plan says."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import attrs


@attrs.frozen
class PushPlan:
    """What the server does with one push.

    Attributes:
        read: How many bytes of the request are read before the connection ends; None for all.
        accepts: Whether a job is started.
        status: The status line of the answer.
        body: The body of the answer; None for that of an accepted push.
        headers: Further header lines of the answer.
        write: How many bytes of the answer are sent; None for all.
        resets: Whether the connection ends with a reset.
        hangs: Whether the server is silent instead of closing.
    """

    read: int | None = None
    accepts: bool = True
    status: str = "200 OK"
    body: bytes | None = None
    headers: str = ""
    write: int | None = None
    resets: bool = False
    hangs: bool = False


@attrs.define(eq=False)
class PushServer:
    """Takes pushes by plan and lists the jobs that they started.

    Attributes:
        plan: Chooses the plan of a push by its number.
        posts: The bytes of each push that arrived, as far as they were read.
        jobs: The jobs that were started, by id.
        reused: How many pushes came on a connection that had served before.
    """

    plan: Callable[[int], PushPlan] = attrs.field(default=lambda _: PushPlan())
    posts: list[bytes] = attrs.field(factory=list)
    jobs: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    reused: int = 0
    url: str = ""
    _tasks: set[asyncio.Task[None]] = attrs.field(factory=set)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        served = 0
        try:
            while await self._one(reader, writer, served):
                served += 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    def stop(self) -> None:
        """End the connections that are silent."""
        for task in self._tasks:
            task.cancel()

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, served: int
    ) -> bool:
        first = await reader.readexactly(1)
        if first != b"P":
            head = first + await reader.readuntil(b"\r\n\r\n")
            writer.write(self._get(head.split(b" ", 2)[1].decode()))
            await writer.drain()
            return True
        self.reused += served > 0
        plan = self.plan(len(self.posts))
        number = len(self.posts)
        self.posts.append(first)
        if plan.read is not None:
            self.posts[number] += await reader.readexactly(max(0, plan.read - 1))
            await self._end(plan, reader, writer)
            return False
        head = first + await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        self.posts[number] = head + body
        writer.write(self.answer(plan, body)[: plan.write])
        await writer.drain()
        if plan.write is None and not plan.hangs:
            return True
        await self._end(plan, reader, writer)
        return False

    def answer(self, plan: PushPlan, pushed: bytes) -> bytes:
        """The complete answer to a push; starts its job."""
        body = plan.body or b"{}"
        if plan.accepts:
            job_id = f"job-{len(self.jobs)}"
            self.jobs[job_id] = json.loads(pushed) | {"created_at": datetime.now(UTC).isoformat()}
            if plan.body is None:
                body = json.dumps({"id": job_id, "status": "queued"}).encode()
        head = f"HTTP/1.1 {plan.status}\r\nContent-Length: {len(body)}\r\n{plan.headers}\r\n"
        return head.encode() + body

    def _get(self, target: str) -> bytes:
        rows = [
            {
                "id": job_id,
                "status": "queued",
                "created_at": job["created_at"],
                "inputs": {name: {"data": value} for name, value in job["inputs"].items()},
            }
            for job_id, job in self.jobs.items()
        ]
        document: object = {"data": rows[::-1], "next_offset": -1}
        path = target.partition("?")[0]
        if path.startswith("/v2/jobs/"):
            document = next(row for row in rows if path == f"/v2/jobs/{row['id']}")
        body = json.dumps(document).encode()
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def _end(
        self, plan: PushPlan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if plan.hangs:
            await reader.read()
        if plan.resets:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


@asynccontextmanager
async def push_server() -> AsyncIterator[PushServer]:
    """Run the server on a loopback port."""
    pushes = PushServer()
    server = await asyncio.start_server(pushes.handle, "127.0.0.1", 0)
    pushes.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield pushes
    finally:
        server.close()
        pushes.stop()
        await server.wait_closed()
        await asyncio.sleep(0)
