"""Keys that decide, and stand twice in an answer: suspected fast, and looked at closely then."""

from sieve_async.decode.parsing import Document, repeats_a_key

_QUOTED = {"status": b'"status"', "build_status": b'"build_status"'}


def is_ambiguous(body: bytes, document: Document, status_key: str) -> bool:
    """Whether the object in a body has its id or status more than once.

    Args:
        body: The bytes that were parsed.
        document: What they say.
        status_key: How the status is called.
    """
    # From the end: on all versions of Python ``rfind`` is four times as fast as ``count``. As a
    # rule the id stands first, and is the last one that is found, too.
    position = body.rfind(b'"id"')
    is_suspect = position > 1 and _stands_before(body, b'"id"', position, _ids(document))
    if not is_suspect:
        quoted = _QUOTED[status_key]
        position = body.rfind(quoted)
        is_suspect = (position > 0 and body.rfind(quoted, 0, position) >= 0) or (
            b"\\" in body and _may_spell_keys_otherwise(body)
        )
    return is_suspect and repeats_a_key(body, ("id", status_key))


def _stands_before(body: bytes, part: bytes, position: int, times: int) -> bool:
    """Whether a part stands so many times before a position."""
    for _ in range(times):
        position = body.rfind(part, 0, position)
        if position < 0:
            return False
    return True


def _may_spell_keys_otherwise(body: bytes) -> bool:
    """Whether a body has escapes for letters."""
    return body.rfind(b"\\u00") >= 0 and (body.rfind(b"\\u006") >= 0 or body.rfind(b"\\u007") >= 0)


def _ids(document: Document) -> int:
    """How many ids a document has where they belong: its own, and that of the latest version."""
    function = document.get("function")
    latest = function.get("latest_version") if isinstance(function, dict) else None
    return 2 if isinstance(latest, dict) and "id" in latest else 1
