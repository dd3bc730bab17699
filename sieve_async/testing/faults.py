"""Injected faults: which requests they affect, and what becomes of their answers. No I/O."""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from http import HTTPStatus
from math import ceil
from typing import Any, Literal, Self, TypeAlias, TypedDict

import attrs

from sieve_async.testing.documents import (
    DETAILS,
    Answer,
    check_at_least,
    check_choice,
    encode,
    raw_fields,
    write_checked,
)

Drop: TypeAlias = Literal["before", "after", "headers", "body"]
Body: TypeAlias = str | bytes | Mapping[str, object] | list[object] | int | float | bool

# No plausible server asks for more than 30 years.
MAX_RETRY_AFTER = 1e9


def _titled(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Spell the names of headers in one way, so that none is there twice."""
    return {name.title(): headers[name] for name in headers}


def _body_bytes(body: Body | None) -> bytes | None:
    """Write a body: text and bytes as they are, anything else as JSON."""
    if body is None or isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else write_checked("body", body)).encode()


class EffectOptions(TypedDict, total=False):
    """The arguments of `FaultEffect`."""

    status: int | None
    headers: Mapping[str, str]
    body: Body | None
    retry_after: float | None
    as_date: bool
    delay: float
    drop: Drop | None
    truncate: bool
    slow_body: float
    fields: Mapping[str, object] | None
    takes_effect: bool


@attrs.frozen(kw_only=True)
class FaultEffect:
    """What goes wrong with one answer; a field that is None, zero or empty changes nothing."""

    status: int | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=_titled)
    body: bytes | None = attrs.field(converter=_body_bytes, default=None)
    retry_after: float | None = None
    as_date: bool = False
    delay: float = 0.0
    drop: Drop | None = None
    truncate: bool = False
    slow_body: float = 0.0
    fields: Mapping[str, Any] = attrs.field(converter=raw_fields, factory=dict)
    takes_effect: bool = False

    def check(self) -> None:
        """Raise ValueError for a value that is invalid, and for an effect that is none."""
        check_choice("drop", self.drop, ("before", "after", "headers", "body", None))
        check_at_least(
            0, delay=self.delay, slow_body=self.slow_body, retry_after=self.retry_after or 0
        )
        message = ""
        if (self.retry_after or 0) > MAX_RETRY_AFTER:
            message = f"retry_after must be at most {MAX_RETRY_AFTER:g}, not {self.retry_after!r}"
        for name, value in self.headers.items():
            if value.__class__ is not str or not f"{name}{value}".isprintable():
                message = f"header {name!r} must be text of one line, not {value!r}"
        if self.status is not None and not 200 <= self.status <= 999:
            message = f"status must be from 200 to 999, not {self.status!r}"
        if self == FaultEffect(as_date=self.as_date, takes_effect=self.takes_effect):
            message = "a fault must do something: give it a status, a delay or the like"
        if self.takes_effect and self.drop == "before":
            message = 'drop="before" means that the request takes no effect; use drop="after"'
        if message:
            raise ValueError(message)

    @property
    def is_answer(self) -> bool:
        """Whether it answers the request itself."""
        return self.status is not None or self.body is not None or self.drop == "before"

    @property
    def is_early(self) -> bool:
        """Whether the request takes effect first, before any delay and whatever the answer."""
        return self.takes_effect or self.drop == "after"

    def combined(self, other: "FaultEffect") -> "FaultEffect":
        """Add another effect; where only one of them can be, it is this one."""
        return FaultEffect(
            status=other.status if self.status is None else self.status,
            headers={**other.headers, **self.headers},
            body=other.body if self.body is None else self.body,
            retry_after=other.retry_after if self.retry_after is None else self.retry_after,
            as_date=self.as_date or other.as_date,
            delay=self.delay + other.delay,
            drop=self.drop or other.drop,
            truncate=self.truncate or other.truncate,
            slow_body=self.slow_body + other.slow_body,
            fields={**other.fields, **self.fields},
            takes_effect=self.takes_effect or other.takes_effect,
        )

    def answer(self) -> Answer:
        """Make the answer that the fault itself gives."""
        status = 200 if self.status is None else self.status
        if self.body is not None:
            return Answer(status, self.body)
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
        return Answer(status, encode({"detail": DETAILS.get(status, phrase)}))

    def apply(self, answer: Answer, date: Callable[[float], str]) -> Answer:
        """Change an answer; ``date`` formats the time so many seconds from now."""
        body, headers = answer.body, dict(answer.headers)
        is_document = answer.status == 200 and "Content-Type" not in headers
        if self.fields and not self.is_answer and is_document:
            body = encode(_changed(json.loads(body), self.fields))
        if self.truncate:
            body = body[: len(body) // 2]
        if self.retry_after is not None:
            seconds = ceil(self.retry_after)
            headers["Date"] = date(0)
            headers["Retry-After"] = date(seconds) if self.as_date else str(seconds)
        # An end that was not shown unchanged may be asked for again.
        was_shown = not (self.fields or self.truncate or self.drop)
        return attrs.evolve(
            answer,
            body=body,
            headers=headers | dict(self.headers),
            terminal_job_id=answer.terminal_job_id if was_shown else None,
        )


@attrs.define(eq=False, kw_only=True)
class Occurrence:
    """How often a fault happens; as a context manager it is removed at the end of the block."""

    times: int | None = None
    probability: float = 1.0
    seed: int = 0
    hits: int = attrs.field(default=0, init=False)
    """How often it has happened."""
    is_removed: bool = attrs.field(default=False, init=False)
    _dice: random.Random = attrs.field(init=False, repr=False)

    @_dice.default
    def _seed_dice(self) -> random.Random:
        return random.Random(self.seed)

    def __attrs_post_init__(self) -> None:
        check_at_least(1, times=1 if self.times is None else self.times)
        if not 0 <= self.probability <= 1:
            message = f"probability must be from 0 to 1, not {self.probability!r}"
            raise ValueError(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @property
    def is_used_up(self) -> bool:
        """Whether it has happened as often as it was to."""
        return self.times is not None and self.hits >= self.times

    @property
    def is_over(self) -> bool:
        """Whether it will not happen any more."""
        return self.is_removed or self.is_used_up

    def remove(self) -> None:
        """Make it happen no more."""
        self.is_removed = True

    def happens(self) -> bool:
        """Decide by chance whether it happens now, and count it."""
        is_hit = self.probability == 1 or self._dice.random() < self.probability
        self.hits += is_hit
        return is_hit


@attrs.define(eq=False, kw_only=True)
class Fault(Occurrence):
    """An effect on some requests, until it is used up or removed."""

    effect: FaultEffect
    method: str | None
    path: str | None
    job: str | None

    def affects(self, method: str, path: str) -> bool:
        """Decide whether it happens to a request, and count it."""
        return (
            (self.method is None or method == self.method)
            and (self.path is None or fnmatchcase(path, self.path))
            and (self.job is None or path in job_paths(self.job))
            and self.happens()
        )


@attrs.define
class Faults:
    """All faults, the oldest first."""

    _all: list[Fault] = attrs.field(factory=list, init=False)

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        self._all.append(fault)

    def clear(self) -> None:
        """Remove them all."""
        for fault in self._all:
            fault.remove()

    def effect_on(self, method: str, path: str) -> FaultEffect | None:
        """Combine all effects on one request, but only the oldest of those that answer it."""
        if not self._all:
            return None
        self._all = [fault for fault in self._all if not fault.is_over]
        found: FaultEffect | None = None
        for effect in self._effects(method, path):
            found = found.combined(effect) if found else effect
        return found

    def _effects(self, method: str, path: str) -> Iterator[FaultEffect]:
        is_answered = False
        for fault in self._all:
            if fault.effect.is_answer and is_answered:
                continue
            if fault.affects(method, path):
                is_answered = is_answered or fault.effect.is_answer
                yield fault.effect


def job_paths(job_id: str) -> tuple[str, str]:
    """Return the paths of one job."""
    return f"/v2/jobs/{job_id}", f"/v2/jobs/{job_id}/await"


def _changed(document: Any, fields: Mapping[str, Any]) -> Any:
    """Change the members of a document, or of every document of a list."""
    if isinstance(document, list):
        return [row | fields for row in document]
    if "next_offset" in document:
        return document | {"data": [row | fields for row in document["data"]]}
    return document | fields
