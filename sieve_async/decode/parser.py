"""From bytes to JSON values: orjson where it is installed, the standard library where it refuses.

orjson refuses NaN and Infinity, numbers beyond all floats, lone surrogates, a byte order mark and
deep nesting; the standard library reads them. orjson makes floats of integers beyond 64 bits.
"""

import json
from collections.abc import Callable

_loads: Callable[[bytes], object] | None
try:
    from orjson import loads as _loads
except ImportError:  # it comes with the [speedups] extra
    _loads = None


class NotJSONError(ValueError):
    """The body is not UTF-8, or not JSON that the standard library reads."""


def parse(body: bytes) -> object:
    """The JSON value of a body.

    Raises:
        NotJSONError: It is none.
    """
    if _loads is not None:
        try:
            return _loads(body)
        except ValueError:
            pass
    try:
        value: object = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        reason = "the body is not JSON"
    else:
        return value
    raise NotJSONError(reason)
