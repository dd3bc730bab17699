"""What goes wrong on purpose: which requests meet trouble, and what becomes of their answers.

Decides only; nothing here waits or sends.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from http import HTTPStatus
from math import ceil
from typing import Any, Literal, Self, TypeAlias

import attrs

from sieve_async.testing.answers import Answer
from sieve_async.testing.documents import encode, snapshot
from sieve_async.testing.lives import check_word

Drop: TypeAlias = Literal["before", "headers", "body"]
Body: TypeAlias = str | bytes | Mapping[str, object] | list[object] | int | float | bool

DETAILS: Mapping[int, object] = {
    401: "Invalid API key",
    402: "Out of credits",
    404: "Job not found",
    422: [{"type": "missing", "loc": ["query", "offset"], "msg": "Field required"}],
}
# Half a lifetime: a server that asks for more has lost its clock.
LONGEST_RETRY_AFTER = 1e9


def _titled(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Spell the names of headers in one way, so that none is there twice."""
    return {name.title(): headers[name] for name in headers}


@attrs.frozen(kw_only=True)
class Effect:
    """What goes wrong with one answer; what is None, zero or empty goes right."""

    status: int | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=_titled)
    body: bytes | None = None
    retry_after: float | None = None
    as_date: bool = False
    delay: float = 0.0
    drop: Drop | None = None
    truncate: bool = False
    slow_body: float = 0.0
    fields: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def is_answer(self) -> bool:
        """Whether the request is not even looked at."""
        return self.status is not None or self.body is not None or self.drop == "before"

    def and_then(self, other: "Effect") -> "Effect":
        """Let another one happen too; where only one of them can, it is this one."""
        return Effect(
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
        )

    def answer(self) -> Answer:
        """Make the answer of a request that is not looked at."""
        status = 200 if self.status is None else self.status
        if self.body is not None:
            return Answer(status, self.body)
        detail = DETAILS.get(status)
        with suppress(ValueError):
            detail = detail or HTTPStatus(status).phrase
        return Answer(status, encode({"detail": detail or "Unknown"}))

    def spoil(self, answer: Answer, date: Callable[[float], str]) -> Answer:
        """Change an answer; ``date`` writes the time so many seconds from now."""
        body, headers = answer.body, dict(answer.headers)
        if self.fields and not self.is_answer and answer.status == 200:
            body = encode(_changed(json.loads(body), self.fields))
        if self.truncate:
            body = body[: len(body) // 2]
        if self.retry_after is not None:
            seconds = ceil(self.retry_after)
            headers["Date"] = date(0)
            headers["Retry-After"] = date(seconds) if self.as_date else str(seconds)
        return Answer(
            answer.status,
            body,
            headers | dict(self.headers),
            version_id=answer.version_id,
            # Nobody can be blamed for not having seen an end in what was spoilt.
            ended_job_id=None if self.fields or self.truncate else answer.ended_job_id,
        )


@attrs.define(eq=False, kw_only=True)
class Fault:
    """Trouble for some requests, until it is used up or removed.

    As a context manager it is removed at the end of the block.
    """

    effect: Effect
    path: str | None
    job: str | None
    times: int | None
    probability: float
    seed: int
    hits: int = attrs.field(default=0, init=False)
    """How many requests have met it."""
    is_removed: bool = attrs.field(default=False, init=False)
    _dice: random.Random = attrs.field(init=False, repr=False)

    @_dice.default
    def _seed_dice(self) -> random.Random:
        return random.Random(self.seed)

    def __attrs_post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            message = f"times must be one or more, not {self.times!r}"
            raise ValueError(message)
        if not 0 <= self.probability <= 1:
            message = f"probability must be from 0 to 1, not {self.probability!r}"
            raise ValueError(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @property
    def is_used_up(self) -> bool:
        """Whether it has been met as often as it was to be."""
        return self.times is not None and self.hits >= self.times

    def remove(self) -> None:
        """Let requests meet it no more; once is enough."""
        self.is_removed = True

    def strikes(self, path: str) -> bool:
        """Decide whether one request meets it, and count it if so."""
        is_hit = (
            (self.path is None or fnmatchcase(path, self.path))
            and (self.job is None or path in job_paths(self.job))
            and (self.probability == 1 or self._dice.random() < self.probability)
        )
        self.hits += is_hit
        return is_hit


@attrs.define
class Faults:
    """All trouble that there is, the oldest first."""

    _all: list[Fault] = attrs.field(factory=list, init=False)

    def add(self, fault: Fault) -> None:
        """Let requests meet a fault from now on."""
        self._all.append(fault)

    def clear(self) -> None:
        """Remove them all."""
        for fault in self._all:
            fault.remove()

    def strike(self, path: str) -> Effect | None:
        """Decide what goes wrong with one request.

        All faults have their effect, but only the oldest of those that answer it.
        """
        if not self._all:
            return None
        self._all = [fault for fault in self._all if not (fault.is_removed or fault.is_used_up)]
        met: Effect | None = None
        for effect in self._striking(path):
            met = met.and_then(effect) if met else effect
        return met

    def _striking(self, path: str) -> Iterator[Effect]:
        is_answered = False
        for fault in self._all:
            if fault.effect.is_answer and is_answered:
                continue
            if fault.strikes(path):
                is_answered = is_answered or fault.effect.is_answer
                yield fault.effect


def job_paths(job_id: str) -> tuple[str, str]:
    """Name the paths at which one job is looked up."""
    return f"/v2/jobs/{job_id}", f"/v2/jobs/{job_id}/await"


def body_bytes(body: Body | None) -> bytes | None:
    """Write a body as it was given: text and bytes as they are, all else as JSON."""
    if body is None or isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else encode(snapshot("body", body))


def check_effect(effect: Effect) -> None:
    """Refuse trouble that cannot be made.

    Raises:
        ValueError: A word, a number or all of it means nothing.
    """
    check_word("drop", effect.drop, ("before", "headers", "body", None))
    for name in ("delay", "slow_body", "retry_after"):
        if not (getattr(effect, name) or 0) >= 0:  # written so that NaN is refused too
            message = f"{name} must be zero or more, not {getattr(effect, name)!r}"
            raise ValueError(message)
    if (effect.retry_after or 0) > LONGEST_RETRY_AFTER:
        message = f"retry_after must be at most {LONGEST_RETRY_AFTER:g}, not {effect.retry_after!r}"
        raise ValueError(message)
    for name, value in effect.headers.items():
        if value.__class__ is not str or not f"{name}{value}".isprintable():
            message = f"header {name!r} must be text of one line, not {value!r}"
            raise ValueError(message)
    if effect.status is not None and not 200 <= effect.status <= 999:
        message = f"status must be from 200 to 999, not {effect.status!r}"
        raise ValueError(message)
    if effect == Effect(as_date=effect.as_date):
        message = "a fault must do something: give it a status, a delay or the like"
        raise ValueError(message)


def _changed(document: Any, fields: Mapping[str, Any]) -> Any:
    """Change the members of a job or version, or of every job of a list."""
    if "next_offset" in document:
        return document | {"data": [row | fields for row in document["data"]]}
    return document | fields
