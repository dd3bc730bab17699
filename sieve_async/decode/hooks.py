"""Strict hooks for single values: nothing is turned into anything else."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from types import NoneType
from typing import Any

from sieve_async.models import BuildStatus, JobStatus

Hook = Callable[[Any, Any], Any]

MISSING = object()

_read_time = datetime.fromisoformat  # bound once: binding it takes longer than it does
_MARKS = "--T::."  # every third character of 2024-12-15T01:41:59.195000, from the fifth

_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)"
    r"(Z|[+-][0-9]{2}:[0-5][0-9])?"
)
_JSON_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    NoneType: "null",
}


class MisfitError(ValueError):
    """A value that is not what the API documents; the text never quotes it."""


def misfit(expected: str, value: object) -> MisfitError:
    """Say what was expected and what kind of value came instead."""
    kind = _JSON_NAMES.get(type(value), "another type")
    return MisfitError("is missing" if value is MISSING else f"must be {expected}, not {kind}")


def scalar(expected: str, *classes: type) -> Hook:
    """A hook that lets values of these very classes through."""

    def check(value: Any, _: Any) -> Any:
        if value.__class__ in accepted:
            return value
        raise misfit(expected, value)

    accepted = frozenset(classes)
    return check


def time(value: Any, _: Any) -> datetime:
    """Naive is UTC here: that is how the live API writes its times."""
    if value.__class__ is str and len(value) == 26 and value[4:20:3] == _MARKS and "Z" not in value:
        try:  # the usual form, at a quarter of the cost; what else passes these tests fails here
            return _read_time(value + "+00:00")
        except ValueError:
            pass
    match = _TIME.fullmatch(value) if value.__class__ is str else None
    if match is None:
        raise (
            MisfitError("must be a time such as 2024-12-15T01:41:59.195000")
            if value.__class__ is str
            else misfit("a time", value)
        )
    naive, zone = match.groups()
    try:
        if zone is None or zone == "Z":
            return _read_time(f"{naive}+00:00")
        return _read_time(f"{naive}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise MisfitError("is a time that does not exist") from None


def word(words: type[JobStatus | BuildStatus]) -> Hook:
    """A hook for an open set of words."""
    known: dict[str, JobStatus | BuildStatus] = {member.value: member for member in words}

    def check(value: Any, _: Any) -> JobStatus | BuildStatus:
        if value.__class__ is not str:
            raise misfit("a string", value)
        if not value:
            raise MisfitError("must be a word, not an empty string")
        return known.get(value) or words(value)

    return check
