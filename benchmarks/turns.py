"""What contenders have in common: they take turns, each of so many operations."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import attrs

Turn: TypeAlias = Callable[[int], Awaitable[None]]
"""Does something so many times."""


@attrs.frozen
class Company:
    """The contenders of one process.

    Attributes:
        turns: What each does.
        notes: A number that the table shows of each, such as the bytes that it gets.
        absent: Who is not there, for it is not installed.
    """

    turns: Mapping[str, Turn]
    notes: Mapping[str, int]
    absent: Sequence[str] = ()
