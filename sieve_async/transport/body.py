"""Reads bodies within bounds, whichever way the answer came.

aiohttp's decompressor is driven here rather than by its HTTP parser: there, a coding that is not
installed or a stream that ends early costs the whole answer, its status included.
"""

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import aiohttp

# Status, headers as they stood on the wire, and body.
Answer: TypeAlias = tuple[int, tuple[tuple[bytes, bytes], ...], bytes]

MAX_ERROR_BODY = 64 * 1024
_STEP = 256 * 1024  # bytes that one step may decompress to

_CONTENT_ENCODING = aiohttp.hdrs.CONTENT_ENCODING
_PLAIN = frozenset({"", "identity"})
_ZLIB = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_ZLIB_METHOD = 8  # the low four bits of a zlib stream; some servers send "deflate" without it


class TooLargeError(Exception):
    """A body is larger than it may be."""


class ContentEncodingError(Exception):
    """A body has a coding that was not asked for, or its compression is broken."""


async def read_body(
    status: int, content: aiohttp.StreamReader, headers: Any, limit: int, protocol: Any
) -> bytes:
    """The whole body of a good answer, the beginning of any other.

    Args:
        status: The HTTP status.
        content: The body.
        headers: The headers, a multidict.
        limit: The size of a good body in bytes.
        protocol: aiohttp's protocol of the connection.

    Raises:
        TooLargeError: A good answer is larger than the limit.
        ContentEncodingError: A good answer cannot be decompressed.
    """
    is_good = 200 <= status < 300
    body = read_nowait(content, headers, limit) if is_good else None
    if body is not None:
        return body
    with _broken_off(content, protocol):
        return await (read(content, headers, limit) if is_good else read_prefix(content, headers))


@contextmanager
def _broken_off(content: aiohttp.StreamReader, protocol: Any) -> Iterator[None]:
    """End a body with its connection: aiohttp lets its reader wait after a malformed chunk."""

    def break_off(_: object = None) -> None:
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection was closed"))

    closed = getattr(protocol, "closed", None)
    if closed is None:
        break_off()
        yield
        return
    closed.add_done_callback(break_off)
    try:
        yield
    finally:
        closed.remove_done_callback(break_off)
        closed.remove_done_callback(_retrieve)  # once for each connection, not for each body
        closed.add_done_callback(_retrieve)


def _retrieve(closed: "asyncio.Future[None]") -> None:
    """Keep asyncio from logging how the connection ended."""
    if not closed.cancelled():
        closed.exception()


def read_nowait(content: aiohttp.StreamReader, headers: Any, limit: int) -> bytes | None:
    """The body if it is complete and not compressed, as nearly every one is; else None.

    Waiting for a body takes 1 us even when there is nothing to wait for.

    Raises:
        TooLargeError: It is larger than the limit.
    """
    if not content.is_eof() or _CONTENT_ENCODING in headers:
        return None
    body = content.read_nowait()
    if len(body) > limit:
        raise TooLargeError
    return body


async def read(content: aiohttp.StreamReader, headers: Any, limit: int) -> bytes:
    """The whole body.

    Raises:
        TooLargeError: It is larger than the limit, before or after decompression.
        ContentEncodingError: It cannot be decompressed.
    """
    source = _source(content, headers, limit)
    if int(headers.get(aiohttp.hdrs.CONTENT_LENGTH, 0)) > limit:
        raise TooLargeError
    body = io.BytesIO()  # hands over its buffer in the end: the body is not held twice
    while piece := await source.readany():
        body.write(piece)
        if body.tell() > limit:
            raise TooLargeError
    return body.getvalue()


async def read_prefix(content: aiohttp.StreamReader, headers: Any) -> bytes:
    """At most 64 KiB of the body of an error answer; if it is broken, what comes before."""
    body = io.BytesIO()
    try:
        source = _source(content, headers, MAX_ERROR_BODY)
        while body.tell() < MAX_ERROR_BODY and (piece := await source.readany()):
            body.write(piece)
    except (TooLargeError, ContentEncodingError):
        pass
    return body.getvalue()[:MAX_ERROR_BODY]


def _source(
    content: aiohttp.StreamReader, headers: Any, limit: int
) -> "aiohttp.StreamReader | _Decompressed":
    coding = ", ".join(headers.getall(_CONTENT_ENCODING, ())).strip().lower()
    if coding in _PLAIN:
        return content
    if coding in _ZLIB:
        return _Decompressed(content, _ZLIB[coding], limit)
    raise ContentEncodingError("the body is coded in a way that was not asked for")


class _Decompressed:
    """A compressed body, decompressed in small steps; the loop turns between them."""

    def __init__(self, content: aiohttp.StreamReader, coding: str, limit: int) -> None:
        self._content = content
        self._coding = coding
        self._limit = limit
        self._received = 0
        self._decompressor: Any = None
        self._has_more = False

    async def readany(self) -> bytes:
        """The next piece; empty at the end."""
        while True:
            if self._has_more:
                data = b""
            elif not (data := await self._content.readany()):
                return b""
            self._received += len(data)
            if self._received > self._limit:
                raise TooLargeError
            piece = self._step(data)
            if len(piece) >= _STEP:
                await asyncio.sleep(0)
            if piece:
                return piece

    def _step(self, data: bytes) -> bytes:
        if self._decompressor is None:
            self._decompressor = _decompressor(self._coding, data[0])
        try:
            piece: bytes = self._decompressor.decompress_sync(data, _STEP)
        except Exception:  # noqa: BLE001 - the classes depend on the zlib library in use
            raise ContentEncodingError("the compressed body is broken") from None
        self._has_more = self._decompressor.data_available
        return piece


def _decompressor(coding: str, first_byte: int) -> Any:
    try:  # it is not documented: without it, only compressed bodies cannot be read
        from aiohttp.compression_utils import ZLibDecompressor  # noqa: PLC0415
    except ImportError:  # pragma: no cover
        raise ContentEncodingError("this version of aiohttp cannot decompress the body") from None
    is_bare = coding == "deflate" and first_byte & 0xF != _ZLIB_METHOD
    return ZLibDecompressor(coding, suppress_deflate_header=is_bare)
