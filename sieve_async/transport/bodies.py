"""Reading a body within bounds.

Decompressing is done here and not by aiohttp: the status of an answer must count also when its body
is broken, what can be read must not depend on which decoders are installed, and no step may take
more memory than a small multiple of what it reads. Small bodies are read as they come; a large one
needs one of a few permits, so that all bodies together stay bounded too.
"""

import asyncio
import io
import zlib
from collections.abc import AsyncIterator

import aiohttp

_LARGEST_ERROR_BODY = 64 * 1024
_LARGE = 256 * 1024
_ALL_LARGE_BODIES = 64 * 1024 * 1024
_STEP = 256 * 1024

_CONTENT_ENCODING = aiohttp.hdrs.CONTENT_ENCODING
_PLAIN = frozenset({"", "identity"})
_GZIP = frozenset({"gzip", "x-gzip"})
_GZIP_OR_ZLIB_HEADER = 32 + zlib.MAX_WBITS
_ZLIB_METHOD = 8  # the low four bits of a zlib stream; servers also send "deflate" without it


class TooLargeError(Exception):
    """A body is larger than it may be."""


class UnreadableError(Exception):
    """A body is compressed in a way that was not asked for, or its compression is broken."""


class BodyReader:
    """Reads the bodies of one client.

    Args:
        limit: The largest good body, in bytes before and after decompression.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._permits = asyncio.Semaphore(max(1, _ALL_LARGE_BODIES // limit))

    def at_once(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The whole body, as nearly every one comes: uncompressed, and with its headers.

        None for one that is still to come or must be decompressed. It is not waited for, for that
        takes 1 us also when there is nothing to wait for.

        Raises:
            TooLargeError: It is larger than the limit.
        """
        if not response.content.is_eof() or response.headers.get(_CONTENT_ENCODING) is not None:
            return None
        body = response.content.read_nowait()
        if len(body) > self._limit:
            raise TooLargeError
        return body

    async def whole(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body.

        Raises:
            TooLargeError: It is larger than the limit, or its header says that it will be.
            UnreadableError: It cannot be decompressed.
        """
        coding = _coding(response)
        body = io.BytesIO()  # it grows in its place, and gives itself away: no body is held twice
        if coding in _PLAIN:
            read = _plain_pieces(response)
        else:
            read = _decompressed_pieces(response, coding, self._limit)
        if (response.content_length or 0) > self._limit:
            raise TooLargeError
        if await _gather(read, body, min(_LARGE, self._limit)):
            return body.getvalue()
        async with self._permits:
            if await _gather(read, body, self._limit):
                return body.getvalue()
        raise TooLargeError

    async def beginning(self, response: aiohttp.ClientResponse) -> bytes:
        """At most 64 KiB of the body of an error; what can be read of it before it breaks."""
        coding = _coding(response)
        body = io.BytesIO()
        is_whole = False
        try:
            if coding in _PLAIN:
                read = _plain_pieces(response)
            else:
                read = _decompressed_pieces(response, coding, _LARGEST_ERROR_BODY)
            is_whole = await _gather(read, body, _LARGEST_ERROR_BODY)
        except (TooLargeError, UnreadableError):
            pass
        if not is_whole:
            response.close()  # the rest is not wanted, so the connection cannot be kept
        return body.getvalue()[:_LARGEST_ERROR_BODY]


def _coding(response: aiohttp.ClientResponse) -> str:
    coding = response.headers.get(_CONTENT_ENCODING)
    return "" if coding is None else coding.strip().lower()


async def _gather(read: AsyncIterator[bytes], body: io.BytesIO, limit: int) -> bool:
    """Collect pieces; False as soon as there is more than the limit."""
    if body.tell() > limit:
        return False
    async for piece in read:
        body.write(piece)
        if body.tell() > limit:
            return False
    return True


async def _plain_pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    while piece := await response.content.readany():
        yield piece


async def _decompressed_pieces(
    response: aiohttp.ClientResponse, coding: str, limit: int
) -> AsyncIterator[bytes]:
    """Decompress in small steps, and let the loop turn in between."""
    decompress: zlib._Decompress | None = None
    received = 0
    async for piece in _plain_pieces(response):
        received += len(piece)
        if received > limit:
            raise TooLargeError
        if decompress is None:
            decompress = zlib.decompressobj(_window_bits(coding, piece[0]))
        while piece:
            try:
                yield decompress.decompress(piece, _STEP)
            except zlib.error:
                raise UnreadableError("the compressed body is broken") from None
            if decompress.unused_data:
                raise UnreadableError("something follows the compressed body")
            piece = decompress.unconsumed_tail  # noqa: PLW2901 - what the step had no room for
            if piece:  # not before the end: an answer that has arrived must not miss its deadline
                await asyncio.sleep(0)


def _window_bits(coding: str, first: int) -> int:
    if coding not in _GZIP and coding != "deflate":
        raise UnreadableError("the body is coded in a way that was not asked for")
    is_bare = coding == "deflate" and first & 0xF != _ZLIB_METHOD
    return -zlib.MAX_WBITS if is_bare else _GZIP_OR_ZLIB_HEADER
