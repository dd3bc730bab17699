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

from sieve_async.errors import DecodeError, ResponseError, ResponseTooLargeError

# Status, headers as they stood on the wire, and body.
Answer: TypeAlias = tuple[int, tuple[tuple[bytes, bytes], ...], bytes]

_MAX_ERROR_BODY = 64 * 1024
_STEP = 256 * 1024  # bytes that one step may decompress to

# What aiohttp calls each coding; None where there is nothing to decompress.
_CODINGS = {"": None, "identity": None, "gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_ZLIB_METHOD = 8  # the low four bits of a zlib stream; some servers send "deflate" without it


class BodyError(Exception):
    """A body cannot be read; holds the class and the reason of the error to raise for it."""

    def __init__(self, kind: type[ResponseError], reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


async def read_body(
    status: int, content: aiohttp.StreamReader, headers: Any, limit: int, protocol: Any
) -> bytes:
    """The whole body of a good answer, the first 64 KiB of any other, as far as it is readable.

    Raises:
        BodyError: A good answer is larger than the limit, or cannot be decompressed.
    """
    is_good = 200 <= status < 300
    if is_good:
        if content.is_eof() and aiohttp.hdrs.CONTENT_ENCODING not in headers:
            # As nearly every one. Waiting takes 1 us even when there is nothing to wait for.
            received = content.read_nowait()
            if len(received) > limit:
                raise _too_large(limit)
            return received
        if int(headers.get(aiohttp.hdrs.CONTENT_LENGTH, 0)) > limit:
            raise _too_large(limit)
    body = io.BytesIO()  # hands over its buffer in the end: the body is not held twice
    try:
        with _broken_off(content, protocol):
            await _read_into(body, content, headers, limit if is_good else _MAX_ERROR_BODY - 1)
    except BodyError:
        if is_good:
            raise
    return body.getvalue() if is_good else body.getvalue()[:_MAX_ERROR_BODY]


def _too_large(limit: int) -> BodyError:
    return BodyError(ResponseTooLargeError, f"the body is over {limit} bytes")


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


async def _read_into(
    body: io.BytesIO, content: aiohttp.StreamReader, headers: Any, limit: int
) -> None:
    coding = ", ".join(headers.getall(aiohttp.hdrs.CONTENT_ENCODING, ())).strip().lower()
    if coding not in _CODINGS:
        raise BodyError(DecodeError, "the body is coded in a way that was not asked for")
    name, decompressor, received = _CODINGS[coding], None, 0
    while data := await content.readany():
        received += len(data)
        if name is None:
            body.write(data)
        else:
            decompressor = decompressor or _decompressor(name, data[0])
            await _decompress_into(body, decompressor, data, limit)
        if received > limit:  # even if it decompresses to nothing
            raise _too_large(limit)


async def _decompress_into(body: io.BytesIO, decompressor: Any, data: bytes, limit: int) -> None:
    """Decompress what has arrived, in small steps; the loop turns between them."""
    has_more = True
    while has_more:
        try:
            piece = decompressor.decompress_sync(data, _STEP)
        except Exception:  # noqa: BLE001 - the classes depend on the zlib library in use
            raise BodyError(DecodeError, "the compressed body is broken") from None
        body.write(piece)
        if body.tell() > limit:
            raise _too_large(limit)
        if len(piece) >= _STEP:
            await asyncio.sleep(0)
        data, has_more = b"", decompressor.data_available


def _decompressor(name: str, first_byte: int) -> Any:
    try:  # it is not documented: without it, only compressed bodies cannot be read
        from aiohttp.compression_utils import ZLibDecompressor  # noqa: PLC0415
    except ImportError:  # pragma: no cover
        reason = "this version of aiohttp cannot decompress the body"
        raise BodyError(DecodeError, reason) from None
    is_bare = name == "deflate" and first_byte & 0xF != _ZLIB_METHOD
    return ZLibDecompressor(name, suppress_deflate_header=is_bare)
