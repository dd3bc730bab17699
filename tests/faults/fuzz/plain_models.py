"""What a document says of a job or version, read from tables: field by field, nothing turned.

A reading is plain: an object is a dictionary, a list is a tuple, a word is marked as one. The same
is made of a model, and then the two must be alike to the type.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any, TypeAlias

import attrs

from faults.fuzz.plain_json import Document
from sieve_async import FunctionVersion, Job

Read: TypeAlias = Callable[[Any], Any]

_LACKING = object()
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:(Z)|([+-])(\d\d):([0-5]\d))?",
    re.ASCII,
)


class MisfitError(Exception):
    """A value that its field does not take."""


def of_class(kind: type) -> Read:
    """Values of this very class."""

    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise MisfitError
        return value

    return read


def word(value: Any) -> Any:
    """A word of an open set."""
    if type(value) is not str or not value:
        raise MisfitError
    return ("word", value)


def moment(value: Any) -> datetime:
    """A time, put together from its numbers."""
    match = _TIME.fullmatch(value) if type(value) is str else None
    if match is None:
        raise MisfitError
    *numbers, fraction, _, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    microseconds = int(f"{fraction or 0:0<6}"[:6])
    try:
        zone = timezone(-offset if sign == "-" else offset)
        year, month, day, hour, minute, second = map(int, numbers)
        when = datetime(year, month, day, hour, minute, second, microseconds, zone)
        return when.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MisfitError from None


def free(value: Any) -> Any:
    """Anything."""
    return value


def maybe(read: Read, default: Any = None, *, null: Any = None) -> Read:
    """What may be missing or null."""

    def read_it(value: Any) -> Any:
        if value is _LACKING:
            return default
        return null if value is None else read(value)

    return read_it


def many(read: Read) -> Read:
    """An array."""
    array = of_class(list)
    return maybe(lambda value: tuple(map(read, array(value))), (), null=())


def named(read: Read) -> Read:
    """An object whose keys are free."""

    def read_each(value: Any) -> Any:
        return {key: read(one) for key, one in of_class(dict)(value).items()}

    return lambda value: {} if value is _LACKING or value is None else read_each(value)


def shaped(fields: Mapping[str, Read], loose: Mapping[str, Read] | None = None) -> Read:
    """An object of known fields; what does not fit a loose one is kept as it came."""

    def read(value: Any) -> Any:
        document = of_class(dict)(value)
        said = {name: take(document.get(name, _LACKING)) for name, take in fields.items()}
        extra = {key: one for key, one in document.items() if key not in said}
        for name, take in (loose or {}).items():
            try:
                said[name] = take(document.get(name, _LACKING))
                extra.pop(name, None)
            except MisfitError:
                said[name] = take(None)
        return said | {"extra": _sorted(extra)}

    return read


def error_text(value: Any) -> Any:
    """The text of an error, of which an empty one is none."""
    return of_class(str)(value) or None


TEXT, WHOLE, TRUTH = (maybe(of_class(kind)) for kind in (str, int, bool))
TIME = maybe(moment)
TEXTS = many(of_class(str))
VALUE = shaped(
    dict.fromkeys(("type", "name", "description", "run_id"), TEXT)
    | {"data": maybe(free), "schema": maybe(of_class(dict)), "is_optional": TRUTH}
)
VERSION = shaped(
    {"id": of_class(str), "build_status": word}
    | dict.fromkeys(("queued_at", "built_at", "ready_at"), TIME)
    | dict.fromkeys(("compute_type", "cuda_version"), TEXT)
    | dict.fromkeys(("python_packages", "system_packages", "function_dependencies"), TEXTS)
    | dict.fromkeys(("inputs", "outputs"), many(VALUE))
    | {"gpu": TRUTH, "split": WHOLE, "minimum_replicas": maybe(of_class(int), 0, null=0)}
    | {
        "maximum_replicas": maybe(of_class(int), 0),
        "stream_output": maybe(of_class(bool), default=False),
    }
    | {
        "current_workers": maybe(
            shaped(
                dict.fromkeys(("starting", "setup", "active", "idle", "awaiting_resources"), WHOLE)
            )
        )
    },
    {
        "environment_variables": many(
            shaped(dict.fromkeys(("name", "description", "default"), TEXT))
        )
    },
)
_TEXTS_OF_FUNCTION = "name owner_name visibility title code_url description cover_image_url readme"
FUNCTION = shaped(
    dict.fromkeys([*_TEXTS_OF_FUNCTION.split(), "function_type"], TEXT)
    | dict.fromkeys(("tags", "examples"), TEXTS)
    | {"latest_version": maybe(VERSION), "featured_key": WHOLE, "restart_on_error": TRUTH}
    | {"webhooks": many(shaped(dict.fromkeys(("type", "url"), TEXT)))}
)
JOB = shaped(
    {"id": of_class(str), "status": word, "function": maybe(FUNCTION)}
    | dict.fromkeys(("function_id", "organization_id", "visibility", "run_id"), TEXT)
    | dict.fromkeys(("created_at", "started_at", "completed_at"), TIME)
    | {"inputs": named(VALUE), "error": maybe(error_text)}
    | {
        "outputs": many(
            lambda value: tuple(map(VALUE, value)) if type(value) is list else VALUE(value)
        )
    }
    | {
        "restarts": many(
            shaped({"timestamp": TIME} | dict.fromkeys(("reason", "type", "run_id"), TEXT))
        )
    },
    {"children": named(free)},
)
READERS: Mapping[type, Read] = {Job: JOB, FunctionVersion: VERSION}


def said_by(out: Any) -> Any:
    """The plain reading of a model, or of a part of one."""
    if isinstance(out, StrEnum):
        return ("word", str(out))
    if isinstance(out, tuple):
        return tuple(map(said_by, out))
    if attrs.has(type(out)):
        names = {field.name for field in attrs.fields(type(out))} - {"extra"}
        return {name: said_by(getattr(out, name)) for name in names} | {"extra": _sorted(out.extra)}
    if isinstance(out, dict):
        return {key: said_by(value) for key, value in out.items()}
    return out


def written(reading: Any) -> str:
    """A text that is the same for readings that are alike to the type, and for no others."""
    return repr(_ordered(reading))


def _ordered(reading: Any) -> Any:
    if isinstance(reading, dict):
        return ("object", [(key, _ordered(reading[key])) for key in sorted(reading)])
    return tuple(map(_ordered, reading)) if isinstance(reading, tuple) else reading


def _sorted(extra: Mapping[str, Any]) -> Document:
    return dict(sorted(extra.items()))
