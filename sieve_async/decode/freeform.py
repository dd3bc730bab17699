"""What stands where the API says "anything", and so goes into a model as it was parsed.

The fast parser makes a float of an integer of more than 64 bits, and takes any depth. Neither
happens in the fields that have a type, so instead of all bytes of the body only these values are
looked at, at a third of the cost.
"""

from collections.abc import Iterable
from types import NoneType
from typing import Any

# What needs no look.
PLAIN = frozenset({str, int, bool, NoneType})

_LARGEST_SURE = 2.0**62
_DEEPEST = 100  # with the models around it, this is well below what an answer may be nested


class DoubtError(ValueError):
    """A value is not as it was parsed, or may not be: the careful parser has to say."""


def look(value: Any) -> None:
    """Look at a value that is not plain.

    Raises:
        DoubtError: It may have been an integer of more than 64 bits, or is nested deep.
    """
    level = [value]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for one in level:
            if one.__class__ is float:
                if not -_LARGEST_SURE < one < _LARGEST_SURE:
                    raise DoubtError("a number that may have been an integer")
            else:
                below += [child for child in _children(one) if child.__class__ not in PLAIN]
        if not below:
            return
        level = below
    raise DoubtError("nested deep")


def _children(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if value.__class__ is dict else value
