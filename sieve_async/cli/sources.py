"""Where the ids of many jobs come from."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from sieve_async.cli.arguments import Options

_PIECE = 65536


def named_ids(options: Options) -> list[str] | None:
    """The ids that are known from the start, each once; None when they come from standard input.

    Raises:
        OSError: The file cannot be read.
    """
    if options.job_ids == ["-"]:
        return None
    ids = list(options.job_ids)
    if options.ids_file is not None:
        ids += words_of_file(options.ids_file)
    return list(dict.fromkeys(ids))


def words_of_file(path: Path) -> Iterator[str]:
    """The words of a file; a byte that is no UTF-8 makes an id that is refused by itself."""
    yield from path.read_text("utf-8", "replace").split()


async def words_of_stdin() -> AsyncIterator[str]:
    """The words that come by standard input, as they come.

    A thread of its own reads, which nobody waits for: at a terminal it may wait for ever.
    """
    pieces: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
    loop = asyncio.get_running_loop()
    reading = threading.Thread(target=_read, args=(sys.stdin.fileno(), pieces, loop), daemon=True)
    reading.start()
    rest = b""
    while piece := await pieces.get():
        *whole, rest = _cut(rest + piece)
        for word in whole:
            yield word.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def _cut(text: bytes) -> list[bytes]:
    """The words, and at the end the beginning of one that may go on."""
    words = text.split()
    return [*words, b""] if not words or text[-1:].isspace() else words


def _read(descriptor: int, pieces: "asyncio.Queue[bytes]", loop: asyncio.AbstractEventLoop) -> None:
    piece = b"?"
    while piece:
        try:
            piece = os.read(descriptor, _PIECE)
        except OSError:
            piece = b""  # a terminal that has gone ends like a file
        putting = pieces.put(piece)
        try:
            asyncio.run_coroutine_threadsafe(putting, loop).result()
        except RuntimeError:  # the loop is closed
            putting.close()
            return
