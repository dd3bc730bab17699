"""A raw storage host: it serves one content, correctly or as a script says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

import attrs


@attrs.define
class StorageRequest:
    """One request as it arrived; header names are in lower case."""

    target: str
    headers: Mapping[str, str]
    raw: bytes = attrs.field(repr=False)

    @property
    def first_byte(self) -> int | None:
        """Where the asked range begins; None if the whole content was asked for."""
        asked = self.headers.get("range")
        return None if asked is None else int(asked.removeprefix("bytes=").partition("-")[0])


Answer: TypeAlias = Callable[
    ["StorageServer", StorageRequest, asyncio.StreamWriter], Awaitable[None]
]


@attrs.define(eq=False)
class StorageServer:
    """Answers each request by the next scripted answer, and correctly when there is none."""

    content: bytes
    etag: str | None = '"v1"'
    headers: dict[str, str] = attrs.field(factory=dict)
    script: list[Answer] = attrs.field(factory=list)
    requests: list[StorageRequest] = attrs.field(factory=list)
    url: str = ""
    open_connections: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request on one connection."""
        self.open_connections += 1
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
            first, *lines = raw.decode("latin-1").split("\r\n")
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines if line)
            }
            request = StorageRequest(first.split(" ")[1], headers, raw)
            self.requests.append(request)
            answer = self.script.pop(0) if self.script else serve
            await answer(self, request, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.open_connections -= 1

    def head(self, status: str, **headers: object) -> bytes:
        """The head of an answer with the content's own headers; underscores become dashes."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        etag = {} if self.etag is None else {"ETag": self.etag}
        merged = {**etag, **self.headers, "Connection": "close", **given}
        lines = [f"{name}: {value}" for name, value in merged.items() if value is not None]
        return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1")


async def serve(
    server: StorageServer, request: StorageRequest, writer: asyncio.StreamWriter
) -> None:
    """Answer correctly, ranges too."""
    start, size = request.first_byte, len(server.content)
    if start is None or request.headers.get("if-range") not in {None, server.etag}:
        writer.write(server.head("200 OK", Content_Length=size) + server.content)
    elif start >= size:
        writer.write(server.head("416 No", Content_Length=0, Content_Range=f"bytes */{size}"))
    else:
        head = server.head(
            "206 Partial Content",
            Content_Length=size - start,
            Content_Range=f"bytes {start}-{size - 1}/{size}",
        )
        writer.write(head + server.content[start:])


def cut_after(size: int) -> Answer:
    """Announce the whole content, send so many bytes of it, and close."""

    async def answer(
        server: StorageServer, request: StorageRequest, writer: asyncio.StreamWriter
    ) -> None:
        start = request.first_byte or 0
        left = len(server.content) - start
        if start:
            last = len(server.content) - 1
            span = f"bytes {start}-{last}/{len(server.content)}"
            head = server.head("206 Partial Content", Content_Length=left, Content_Range=span)
        else:
            head = server.head("200 OK", Content_Length=left)
        writer.write(head + server.content[start : start + size])

    return answer


def reply(status: str, body: bytes = b"", **headers: object) -> Answer:
    """Answer with this status, body and these headers, whatever was asked."""

    async def answer(
        server: StorageServer, _request: StorageRequest, writer: asyncio.StreamWriter
    ) -> None:
        length = {"Content_Length": len(body), **headers}
        writer.write(server.head(status, **length) + body)

    return answer


@asynccontextmanager
async def storage_server(content: bytes, etag: str | None = '"v1"') -> AsyncIterator[StorageServer]:
    """Run a storage host on a loopback port."""
    storage = StorageServer(content, etag)
    server = await asyncio.start_server(storage.handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    storage.url = f"http://{host}:{port}"
    try:
        yield storage
    finally:
        server.close()
        while storage.open_connections:  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0)
        await server.wait_closed()
