"""What a body of JSON says, read slowly and in another way than the package does."""

import json
import math
import re
from typing import Any, NoReturn, TypeAlias

Document: TypeAlias = dict[str, Any]

DEEPEST, MOST_PARTS = 200, 1_000_000
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class UnreadableError(Exception):
    """The body is not JSON that is to be taken."""


class TooManyError(UnreadableError):
    """It has too many parts."""


def text_of(body: bytes) -> str:
    """The text of a body, without the mark that some programs put before it."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise UnreadableError from None
    return text.removeprefix("\ufeff")


def read(body: bytes) -> Any:
    """The value of a body.

    Raises:
        UnreadableError: It has none.
    """
    if parts(body) > MOST_PARTS:
        raise TooManyError
    text = text_of(body)
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise UnreadableError from None
    if not _is_takeable(value):
        raise UnreadableError
    return value


def parts(body: bytes) -> int:
    """How many commas and colons there are, in texts too; an opening bracket counts thrice."""
    return sum(map(body.count, (b",", b":"))) + 3 * sum(map(body.count, (b"[", b"{")))


def depth(text: str) -> int:
    """How deep the brackets of a text of JSON are nested, those in strings apart."""
    deepest = level = 0
    for character in _STRING.sub("", text):
        level += (character in "[{") - (character in "]}")
        deepest = max(deepest, level)
    return deepest


def repeated(body: bytes) -> set[str]:
    """The keys that the object of a body has more than once."""
    pairs: list[tuple[str, Any]] = []

    def keep(found: list[tuple[str, Any]]) -> Document:
        pairs[:] = found  # the outermost object comes last
        return dict(found)

    json.loads(text_of(body), object_pairs_hook=keep)
    keys = [key for key, _ in pairs]
    return {key for key in keys if keys.count(key) > 1}


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)


def _is_takeable(value: Any) -> bool:
    """Whether it is not nested too deep, and all its numbers are numbers."""
    waiting = [(value, 1)]
    while waiting:
        one, level = waiting.pop()
        if isinstance(one, dict | list):
            if level > DEEPEST:
                return False
            children = one.values() if isinstance(one, dict) else one
            waiting.extend((child, level + 1) for child in children)
        elif isinstance(one, float) and not math.isfinite(one):
            return False
    return True
