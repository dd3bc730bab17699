"""From bytes to a JSON object, within bounds, with and without orjson alike.

The body is UTF-8 whatever its headers say. What the two parsers see differently is settled here:
integers beyond 64 bits stay exact, lone surrogates are kept, numbers that no float can hold and the
words NaN and Infinity are refused.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeAlias

_parse_fast: Callable[[bytes], object] | None
try:
    from orjson import loads as _parse_fast
except ImportError:  # it comes with the [speedups] extra
    _parse_fast = None

Document: TypeAlias = dict[str, Any]

DEEPEST_NESTING = 200
_TOO_DEEP = f"the body is nested more than {DEEPEST_NESTING} deep"
# Parsing costs up to 26 times the bytes in memory: large bodies are counted before they are parsed.
# With at most so many parts no body takes more than 100 MiB; what opens an array or an object
# takes as much as three values.
MOST_PARTS = 1_000_000
_COUNTED_FROM = MOST_PARTS // 3
# Counted piece by piece, what has too many parts is refused after a few milliseconds.
_PIECE = 512 * 1024
# To leave out all other bytes takes less than half of the time of counting each mark in all bytes.
_NO_MARKS = bytes(set(range(256)) - set(b",:[{"))

_BOM = b"\xef\xbb\xbf"
# Digits to one digit, and brackets to one bracket: two questions for one look at the bytes.
_ALIKE = bytes.maketrans(b"123456789[", b"000000000{")
_TOO_LONG_FOR_64_BITS = b"0" * 19
_BETWEEN_TOKENS = re.compile(r"[\s,:]*")


class NotJSONError(ValueError):
    """The body is not JSON that we take."""


class TooManyPartsError(ValueError):
    """The body has more parts than can be parsed safely."""


def parse(body: bytes) -> object:
    """The JSON value of a body.

    Raises:
        NotJSONError: The body is not JSON, or is nested more than 200 deep.
        TooManyPartsError: The body would parse into more than a million parts.
    """
    _count_parts(body)
    alike = body.translate(_ALIKE)
    # orjson would turn an integer of more than 64 bits into a float.
    value = _parse_exactly(body) if _TOO_LONG_FOR_64_BITS in alike else _parse(body)
    if alike.count(b"{") > DEEPEST_NESTING and _is_too_deep(value):
        raise NotJSONError(_TOO_DEEP)
    return value


def peek(body: bytes) -> object:
    """The same for who needs only a few texts of it: integers may be inexact, nesting deep.

    Raises:
        NotJSONError: The body is not JSON.
        TooManyPartsError: The body would parse into more than a million parts.
    """
    _count_parts(body)
    return _parse(body)


def repeats_a_key(body: bytes, keys: Iterable[str]) -> bool:
    """Whether the object in a body has one of these keys more than once.

    Parsers let the last one win, and a proxy or a person may have meant the first. The body must
    have been parsed before: its grammar is not checked again.
    """
    text = body.removeprefix(_BOM).decode()
    found = _top_level_keys(text)
    return any(found.count(key) > 1 for key in keys)


def _count_parts(body: bytes) -> None:
    if len(body) <= _COUNTED_FROM:
        return
    parts = 0
    for start in range(0, len(body), _PIECE):
        marks = body[start : start + _PIECE].translate(None, _NO_MARKS)
        parts += len(marks) + 2 * (marks.count(b"[") + marks.count(b"{"))
        if parts > MOST_PARTS:
            raise TooManyPartsError("the body has more parts than can be parsed safely")


def _parse(body: bytes) -> object:
    if _parse_fast is None:
        return _parse_exactly(body)
    try:
        return _parse_fast(body)
    except ValueError:
        # orjson refuses a byte order mark, lone surrogates, which json keeps, and integers that no
        # float can hold; on all else the two agree.
        return _parse_exactly(body)


def _parse_exactly(body: bytes) -> object:
    try:
        return _decode(body.removeprefix(_BOM).decode())
    except RecursionError:
        raise NotJSONError(_TOO_DEEP) from None
    except ValueError:
        raise NotJSONError("the body is not JSON") from None


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number that no float can hold")
    return number


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


# Made once: json.loads would make one for each body, a tenth of the time of a small one.
_decode = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse).decode


def _is_too_deep(value: object) -> bool:
    """Look at one level after the other: recursion is what this protects from."""
    level: list[Any] = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEEPEST_NESTING):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
    return bool(level)


def _top_level_keys(text: str) -> list[str]:
    """The keys of an object in their order; the values are skipped at the speed of the parser."""
    decoder = json.JSONDecoder()
    keys = []
    position = _skip(text, text.index("{") + 1)
    while text[position] != "}":
        key, position = decoder.raw_decode(text, position)
        _, position = decoder.raw_decode(text, _skip(text, position))
        position = _skip(text, position)
        keys.append(key)
    return keys


def _skip(text: str, position: int) -> int:
    between = _BETWEEN_TOKENS.match(text, position)
    return position if between is None else between.end()
