"""From bytes to JSON values: orjson where it is installed, the standard library where it refuses.

Of a page of jobs msgspec, where it is installed, reads ids and statuses only: a fifth of the time.
orjson refuses NaN and Infinity, numbers beyond all floats, lone surrogates, a byte order mark and
deep nesting; the standard library reads them. orjson makes floats of integers beyond 64 bits.
"""

import json
from collections.abc import Callable
from typing import Any

_loads: Callable[[bytes], object] | None
try:  # both come with the [speedups] extra
    from orjson import loads as _loads
except ImportError:
    _loads = None
_decode_page: Callable[[bytes], Any] | None
try:
    import msgspec
except ImportError:
    _decode_page = None
else:

    class _Row(msgspec.Struct, gc=False):
        id: Any = None
        status: Any = None

    class _Page(msgspec.Struct, gc=False):
        data: list[_Row]
        next_offset: Any = None

    _decode_page = msgspec.json.Decoder(_Page).decode


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


def parse_rows(body: bytes) -> tuple[list[Any], object] | None:
    """The ``id`` and ``status`` of each row of a page, and its ``next_offset``.

    None where only :func:`parse` can read the page.
    """
    if _decode_page is None:
        return None
    try:
        page = _decode_page(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return page.data, page.next_offset
