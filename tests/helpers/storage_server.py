"""A raw storage host: it serves one content, correctly or as a script says."""

from collections.abc import Callable
from typing import TypeAlias

from helpers.raw_server import Action, RawRequest, RawServer, Script

Answer: TypeAlias = Callable[["StorageServer", RawRequest], Script]


class StorageServer(RawServer):
    """Answers each request by the next scripted answer, and correctly when there is none."""

    def __init__(self, content: bytes, etag: str | None = '"v1"') -> None:
        super().__init__()
        self.content = content
        self.etag = etag
        self.sent_headers: dict[str, str] = {}
        self.script: list[Answer] = []

    def _script_for(self, request: RawRequest) -> Script:
        answer = self.script.pop(0) if self.script else serve
        return [*answer(self, request), Action.CLOSE]

    def head(self, status: str, **headers: object) -> bytes:
        """The head of an answer with the content's own headers; underscores become dashes."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        merged = {"ETag": self.etag, **self.sent_headers, "Connection": "close", **given}
        lines = [f"{name}: {value}" for name, value in merged.items() if value is not None]
        return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1")

    def rest(self, start: int) -> bytes:
        """The head of a correct answer with the content from a byte on."""
        size = len(self.content)
        span = f"bytes {start}-{size - 1}/{size}"
        return self.head("206 Partial Content", Content_Length=size - start, Content_Range=span)


def serve(server: StorageServer, request: RawRequest) -> Script:
    """Answer correctly, ranges too."""
    start, size = request.first_byte, len(server.content)
    if start is None or request.header("if-range") not in {None, server.etag}:
        return [server.head("200 OK", Content_Length=size) + server.content]
    if start >= size:
        return [server.head("416 No", Content_Length=0, Content_Range=f"bytes */{size}")]
    return [server.rest(start) + server.content[start:]]


def cut_after(size: int) -> Answer:
    """Announce the whole content, send so many bytes of it, and close."""

    def answer(server: StorageServer, request: RawRequest) -> Script:
        start = request.first_byte or 0
        whole = server.head("200 OK", Content_Length=len(server.content))
        head = server.rest(start) if start else whole
        return [head + server.content[start : start + size]]

    return answer


def reply(status: str, body: bytes = b"", **headers: object) -> Answer:
    """Answer with this status, body and these headers, whatever was requested."""

    def answer(server: StorageServer, _: RawRequest) -> Script:
        return [server.head(status, **{"Content_Length": len(body), **headers}) + body]

    return answer
