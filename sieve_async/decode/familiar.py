"""What is known of the function of a job before its answer is parsed: most jobs are of few.

The function is the larger part of a job. Where an answer spells it just as an earlier one did, its
bytes are left out before the rest is parsed, and the model of then stands in for it: neither is it
parsed nor built once more. Only how many workers there are changes all the time: that is read anew.

What is left out must be the function of the job and no other text that looks like it. So a mark
that nobody can guess is put in its place: it must come out of the parser as the function.
"""

import json
import os
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from sieve_async.decode.hooks import Hook
from sieve_async.decode.parsing import Document, NotJSONError, peek
from sieve_async.models import Function, WorkerCounts

Copy: TypeAlias = Callable[[Any, Any], Any]
"""Makes a copy of a model in which one field has another value."""

_KEY, _WORKERS = b'"function":', b'"current_workers":'
_SIGN = 48  # so many bytes tell one function from the other; what is shorter is soon built
_LARGEST = 32 * 1024
_LARGEST_BODY = 256 * 1024  # of those above, the function is a small part
_MOST = 64
# A job of which the function is learned takes twice as long. Where that has been in vain so often,
# every job has a function of its own, and only now and then is one learned.
_CREDIT = 16
_NOW_AND_THEN = 64

_MARK = os.urandom(16).hex()
_MARK_AS_JSON = json.dumps(_MARK).encode()
_DECODER = json.JSONDecoder()
_KEY_AND_MARK = _KEY + _MARK_AS_JSON


@attrs.define(eq=False)
class _Familiar:
    """One function.

    Attributes:
        before: Its bytes, up to its workers if they stand apart.
        after: Its bytes behind its workers; None where they do not stand apart.
        latest: The bytes of its workers when they were last read, and the model with these.
    """

    before: bytes
    after: bytes | None
    latest: tuple[bytes, Function]


class Functions:
    """The functions that were seen lately.

    Args:
        build_workers: Builds the model of what was parsed fast.
        with_workers: Copies a version with other workers.
        with_version: Copies a function with another version.
    """

    def __init__(self, build_workers: Hook, with_workers: Copy, with_version: Copy) -> None:
        self._build_workers = build_workers
        self._with_workers = with_workers
        self._with_version = with_version
        self._known: dict[bytes, _Familiar] = {}
        self._credit = _CREDIT
        self._strays: dict[bytes, bytes] = {}

    def recognize(self, body: bytes) -> tuple[Document, bytes] | None:
        """A job with its function as a model, and the body without it; None where it is not known.

        What it leaves out was parsed before, so nothing is taken that would be refused.
        """
        if not self._known or len(body) > _LARGEST_BODY:
            return None
        key = body.find(_KEY)
        start = key + len(_KEY)
        familiar = self._known.get(body[start : start + _SIGN])
        if key < 0 or familiar is None or not body.startswith(familiar.before, start):
            return None
        end = start + len(familiar.before)
        last_workers, function = familiar.latest
        if familiar.after is not None:
            workers_end = body.find(b"}", end) + 1
            if not workers_end or not body.startswith(familiar.after, workers_end):
                return None
            workers = body[end:workers_end]
            if workers != last_workers:
                taken = self._take(familiar, function, workers)
                if taken is None:
                    return None
                function = taken
            end = workers_end + len(familiar.after)
        rest = b"".join((body[:key], _KEY_AND_MARK, body[end:]))
        document = _parsed(rest)
        if document.get("function") != _MARK:
            return None
        document["function"] = function
        self._credit = min(_CREDIT, max(0, self._credit) + 1)
        return document, rest

    def learn(self, body: bytes, function: Function) -> None:
        """Know the function of a body from now on, for which this is the model."""
        key = body.find(_KEY) if len(body) <= _LARGEST_BODY else -1
        start = key + len(_KEY)
        if key < 0 or not self._is_worth_it(body, start):
            return
        length = _length(body[start : start + _LARGEST])
        spelling = body[start : start + length]
        if length < _SIGN or not _is_function(body[:key], body[start + length :]):
            return
        if len(self._known) >= _MOST:
            self._known.clear()
            self._strays.clear()
        self._known[spelling[:_SIGN]] = _familiar(spelling, function)

    def _is_worth_it(self, body: bytes, start: int) -> bool:
        """Whether a function that is not known may well come again."""
        sign = body[start : start + _SIGN]
        if (
            sign in self._known
        ):  # once more what it was the last time, when it was not known either?
            end = body.find(_WORKERS, start, start + _LARGEST)
            stray = body[start:end] if end > 0 else sign
            if self._strays.get(sign) != stray:
                self._strays[sign] = stray
                return False
        self._credit -= 1
        return self._credit >= 0 or self._credit % _NOW_AND_THEN == 0

    def _take(self, familiar: _Familiar, function: Function, workers: bytes) -> Function | None:
        """The function with other workers; None if they do not fit."""
        try:
            counts = self._build_workers(peek(workers), WorkerCounts)
        except ValueError:
            return None
        version = self._with_workers(function.latest_version, counts)
        taken: Function = self._with_version(function, version)
        familiar.latest = workers, taken  # clients in other threads may have set others meanwhile
        return taken


def _parsed(body: bytes) -> Document:
    try:
        document = peek(body)
    except NotJSONError:
        return {}
    return document if isinstance(document, dict) else {}


def _length(beginning: bytes) -> int:
    """How many bytes the object takes with which these begin; 0 if it is none, or is too long."""
    text = beginning.decode("utf-8", "replace")  # at the end, a character may be cut
    space = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, end = _DECODER.raw_decode(text, space)
    except (ValueError, RecursionError):
        return 0
    return len(text[:end].encode()) if isinstance(value, dict) else 0


def _is_function(before: bytes, after: bytes) -> bool:
    return _parsed(before + _KEY_AND_MARK + after).get("function") == _MARK


def _familiar(spelling: bytes, function: Function) -> _Familiar:
    """The function, with its workers apart if they are where they belong."""
    before, key, rest = spelling.partition(_WORKERS)
    workers, bracket, after = rest.partition(b"}")
    marked = _parsed(before + key + _MARK_AS_JSON + after)
    version, built = marked.get("latest_version"), function.latest_version
    stands_apart = isinstance(version, dict) and version.get("current_workers") == _MARK
    if stands_apart and built is not None and built.current_workers is not None:
        return _Familiar(before + key, after, (workers + bracket, function))
    return _Familiar(spelling, None, (b"", function))
