"""Decisions out of bytes: what a fuzzer mutates steers what is built."""

from collections.abc import Sequence
from typing import TypeVar

import attrs

Option = TypeVar("Option")


@attrs.define
class Draws:
    """Reads bytes as decisions, one after the other; when they are used up, all are the first.

    Args:
        data: The bytes.
    """

    data: bytes
    _position: int = attrs.field(default=0, init=False)

    def number(self, below: int) -> int:
        """A number from zero up to one less than the bound, which is at most 65,536."""
        size = 1 if below <= 256 else 2
        piece = self.data[self._position : self._position + size]
        self._position += size
        return int.from_bytes(piece) % below

    def choice(self, options: Sequence[Option]) -> Option:
        """One of several."""
        return options[self.number(len(options))]

    def piece(self) -> bytes:
        """Up to 32 bytes as they are."""
        start = self._position + 1
        self._position = start + self.number(33)
        return self.data[start : self._position]

    def rest(self) -> bytes:
        """All bytes that are left."""
        rest = self.data[self._position :]
        self._position = len(self.data)
        return rest
