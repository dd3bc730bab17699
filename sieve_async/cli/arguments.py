"""Types of command-line arguments: each reads one text, or says what is wrong with it."""

import argparse
import json
import math
import re
from collections.abc import Callable
from typing import Any

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([dhms]|$)")
_FUNCTION = re.compile(r"[^/:\s]+/[^/:\s]+(?::[^/:\s]+)?")


def _invalid(reason: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(reason)


def duration(text: str) -> float:
    """Seconds of a text such as ``1h30m``."""
    pieces = list(_DURATION.finditer(text))
    if not pieces or "".join(piece[0] for piece in pieces) != text:
        raise _invalid(f"{text!r} is not a time: write 90m, 1h30m, 45s, 2d or seconds")
    return sum(float(piece[1]) * _UNITS[piece[2] or "s"] for piece in pieces)


def function_name(text: str) -> str:
    """A name such as ``owner/name:slug``."""
    if not _FUNCTION.fullmatch(text):
        raise _invalid(f"{text!r} is not a function: write OWNER/NAME or OWNER/NAME:SLUG")
    return text


def number(kind: type[int | float], low: float, high: float) -> Callable[[str], float]:
    """The type of a number within bounds."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise _invalid(f"{text!r} is not a number from {low:g} to {high:g}")
        return value

    return parse


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    value = _json(text)
    if not isinstance(value, dict):
        raise _invalid(f"not a JSON object: {text[:60]!r}")
    return value


def named_input(text: str) -> tuple[str, Any]:
    """A pair of ``NAME=VALUE``: the value is JSON, or else the text as it stands."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise _invalid(f"{text!r} is not an input: write NAME=VALUE")
    parsed = _json(value)
    return name, value if parsed is None and value != "null" else parsed


def _json(text: str) -> Any:
    """The value of a JSON text; None for any other text. NaN and Infinity are not JSON."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def webhook(text: str) -> tuple[str, str]:
    """Event type and URL of ``[TYPE=]URL``."""
    if re.match(r"https?://", text):
        return "job.complete", text
    kind, separator, url = text.partition("=")
    if not separator:
        raise _invalid(f"{text!r} is not a webhook: write URL or TYPE=URL")
    return kind, url


def variable(text: str) -> tuple[str, str | None]:
    """A pair of ``NAME=VALUE``; no value for a name alone."""
    name, separator, value = text.partition("=")
    if not name:
        raise _invalid(f"{text!r} is not a variable: write NAME=VALUE, or NAME alone")
    return name, value if separator else None
