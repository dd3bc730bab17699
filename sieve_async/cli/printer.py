"""Results on standard output, whole at any time."""

import io
import os
import sys
from types import TracebackType
from typing import Self, TextIO

from sieve_async.cli.documents import json_of


class ReaderGoneError(Exception):
    """Whoever read the results has gone: there is nobody to write for."""


class Printer:
    """Writes results in one format; an array is closed however its block is left.

    Args:
        output: ``text``, ``json``, ``jsonl`` or ``quiet``.
        stream: Where to write; standard output if not given.
    """

    def __init__(self, output: str, stream: TextIO | None = None) -> None:
        self._output = output
        self._stream = sys.stdout if stream is None else stream
        self._items = 0
        if isinstance(self._stream, io.TextIOWrapper):
            self._stream.reconfigure(errors="backslashreplace")

    @property
    def is_at_terminal(self) -> bool:
        """Whether results are seen on the screen on which progress is, too."""
        return self._output != "quiet" and self._stream.isatty()

    def __enter__(self) -> Self:
        """Begin a list of results."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._output == "json" and kind is not ReaderGoneError:
            self._write("\n]\n" if self._items else "[]\n")

    def item(self, value: object, text: str) -> None:
        """Write one of many results."""
        match self._output:
            case "text":
                self._write(f"{text}\n")
            case "jsonl":
                self._write(f"{json_of(value)}\n")
            case "json":
                self._write(f"{',' if self._items else '['}\n{json_of(value)}")
        self._items += 1

    def only(self, value: object, text: str) -> None:
        """Write the one result that there is."""
        match self._output:
            case "text":
                self._write(f"{text}\n")
            case "jsonl":
                self._write(f"{json_of(value)}\n")
            case "json":
                self._write(f"{json_of(value, indent=2)}\n")

    def as_it_is(self, text: str) -> None:
        """Write a document as it came."""
        self._write(text if text.endswith("\n") else f"{text}\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            _point_nowhere(self._stream)
            raise ReaderGoneError from None
        except OSError:
            _point_nowhere(self._stream)
            raise


def _point_nowhere(stream: TextIO) -> None:
    """Let what is left in the buffer vanish: the interpreter flushes it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
