"""The values that stand alone: status words, inputs and outputs, files."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from sieve_async.display import short_repr


class _OpenWord(StrEnum):
    """A string enum that keeps an unknown word as it came: new words need no new release."""

    @property
    def is_known(self) -> bool:
        """Whether this word was documented when this version of the package was made."""
        return self.value in type(self)._value2member_map_

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        text = str.__str__(value)
        word = str.__new__(cls, text)
        word._name_ = text
        word._value_ = text
        return word

    def __reduce_ex__(self, protocol: object) -> tuple[type[Self], tuple[str]]:
        # By value: some 3.11 releases pickle members by name, which unknown words do not have.
        return self.__class__, (self.value,)


class JobStatus(_OpenWord):
    """The status of a job; an unknown word is kept as it came and is not terminal."""

    QUEUED = "queued"
    PROCESSING = "processing"
    FINISHED = "finished"
    ERROR = "error"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job is over: finished, in error or cancelled."""
        return self in _TERMINAL_JOB


class BuildStatus(_OpenWord):
    """The status of a build; an unknown word is kept as it came and is not terminal."""

    QUEUED = "queued"
    BUILDING = "building"
    PUSHING = "pushing"
    DEPLOYING = "deploying"
    READY = "ready"
    ERROR = "error"

    @property
    def is_terminal(self) -> bool:
        """Whether the build is over: ready or in error."""
        return self in _TERMINAL_BUILD


_TERMINAL_JOB = frozenset({JobStatus.FINISHED, JobStatus.ERROR, JobStatus.CANCELLED})
_TERMINAL_BUILD = frozenset({BuildStatus.READY, BuildStatus.ERROR})


@attrs.frozen
class InputOutput:
    """One input or output of a job or version.

    ``data`` is any JSON value. A version's input may hold a default that is a base64 pickle: it is
    an opaque string here and must never be unpickled.
    """

    type: str | None = None
    name: str | None = None
    data: Any = attrs.field(default=None, hash=False)
    description: str | None = None
    schema: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    run_id: str | None = None
    is_optional: bool | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    __repr__ = short_repr


Output: TypeAlias = InputOutput | tuple[InputOutput, ...]


@attrs.frozen
class File:
    """A file that a job has put out.

    The URL may be signed. It lies on another host, which must not get the API key.

    Attributes:
        url: Where the file is.
        name: The name that came with the file, else the last part of the URL's path.
        expires_at: When a signed URL stops working, if the URL says so.
        extra: What else stood beside the URL.
        job_id: The job in whose outputs the file was found; a download asks it for a fresh URL.
    """

    url: str
    name: str | None = None
    expires_at: datetime | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    job_id: str | None = attrs.field(default=None, eq=False)

    __repr__ = short_repr


_SIGNED_AT = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SECONDS = re.compile(r"[0-9]{1,9}")


def files_of(outputs: Iterable[Output], job_id: str) -> tuple[File, ...]:
    """Every file in the outputs of a job, nested ones too, in their order.

    Also in what stands beside the data: ``{"url": "https://...", "type": "video"}`` is an output
    with a type and without data.
    """
    values = [
        [_data_and_more(part) for part in each] if isinstance(each, tuple) else _data_and_more(each)
        for each in outputs
    ]
    return tuple(attrs.evolve(file, job_id=job_id) for file in files_in(values))


def _data_and_more(part: InputOutput) -> Any:
    return [part.data, {"name": part.name, **part.extra}] if part.extra else part.data


def files_in(data: Any) -> Iterator[File]:
    """Every object with a ``url`` in a JSON value, nested ones too, in their order.

    Also found in the spelling ``[{"Key": "url", "Value": "https://..."}, ...]``.
    """
    pending: list[Any] = [data]  # a stack of our own: JSON may be nested deeper than we can recurse
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            if _is_pair(value):
                value = {value["Key"]: value["Value"]}
            url = value.get("url")
            if isinstance(url, str) and url:
                yield _file(url, value)
            pending.extend(reversed(list(value.values())))
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            items = _joined_pairs(value) if value and all(map(_is_pair, value)) else value
            pending.extend(reversed(list(items)))


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and value.keys() == {"Key", "Value"}
        and isinstance(value["Key"], str)
    )


def _joined_pairs(pairs: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The objects that a list of pairs spells; a key that comes again begins the next object."""
    joined: dict[str, Any] = {}
    for pair in pairs:
        if pair["Key"] in joined:
            yield joined
            joined = {}
        joined[pair["Key"]] = pair["Value"]
    yield joined


def _file(url: str, value: Mapping[str, Any]) -> File:
    extra = {key: each for key, each in value.items() if key not in {"url", "name"}}
    name = value.get("name")
    if not isinstance(name, str) or not name:
        if name is not None:
            extra["name"] = name
        name = _name_in(url)
    return File(url, name, expires_at(url), extra)


def _name_in(url: str) -> str | None:
    try:
        path = urlsplit(url).path
    except ValueError:  # brackets that hold no address
        return None
    name = unquote(path).replace("\\", "/").rpartition("/")[2]
    return None if name in {"", ".", ".."} else name


def expires_at(url: str) -> datetime | None:
    """When a signed URL stops working; None if it does not say so."""
    try:
        query = {key.lower(): value for key, value in parse_qsl(urlsplit(url).query)}
    except ValueError:
        return None
    for kind in ("x-goog", "x-amz"):
        signed_at, seconds = query.get(f"{kind}-date", ""), query.get(f"{kind}-expires", "")
        if _SIGNED_AT.fullmatch(signed_at) and _SECONDS.fullmatch(seconds):
            try:
                start = datetime.strptime(signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                return start + timedelta(seconds=int(seconds))
            except (ValueError, OverflowError):  # no such day
                continue
    return None
