"""Answers: the JSON of documents and errors, and what injected faults make of them. No I/O."""

import json
import random
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from http import HTTPStatus
from math import ceil
from typing import Any, Literal, Self, TypeAlias, TypedDict

import attrs

Document: TypeAlias = dict[str, Any]
Drop: TypeAlias = Literal["before", "after", "headers", "body"]
Body: TypeAlias = str | bytes | Mapping[str, object] | list[object] | int | float | bool

MAX_RETRY_AFTER = 1e9  # seconds: no plausible server asks for more
# How many requests, pushes and deliveries are remembered: enough for a long test.
MAX_KEPT = 100_000
ORGANIZATION_ID = "5f1e7e57-0000-4000-8000-000000000000"
# The API's own words for these statuses; other statuses have the phrase of HTTP.
DETAILS: Mapping[int, object] = {
    400: "Invalid values passed.",
    401: "Unauthorized - valid API Key required.",
    402: "No remaining credits and no payment method entered. "
    "Please visit https://www.sievedata.com/dashboard/settings/billing.",
    403: "Forbidden.",
    404: "Job not found.",
    408: "Request timeout.",
    422: [{"type": "missing", "loc": ["query", "offset"], "msg": "Field required"}],
}
# bool stands before int because a bool is an int as well.
_TYPES = (bool, str, int, float, dict, list)
# json.dumps() builds a new encoder per call when it has separators. JSON has no NaN.
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


@attrs.frozen
class Answer:
    """A status and a body, and what they show: a version, or a terminal job."""

    status: int
    body: bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)
    version_id: str | None = None
    terminal_job_id: str | None = None


def ok(document: object) -> Answer:
    """Answer with a document."""
    return Answer(200, encode(document))


def error(status: int, detail: object = None) -> Answer:
    """Answer with an error, by default in the API's own words for the status."""
    return Answer(status, encode({"detail": detail or DETAILS[status]}))


class Refused(Exception):  # noqa: N818 - it is an answer
    """A request that is answered with an error, given as for `error`."""

    def __init__(self, status: int, detail: object = None) -> None:
        super().__init__(status)
        self.answer = error(status, detail)


def encode(document: object) -> bytes:
    """Write the body of an answer."""
    return write(document).encode()


def write(value: object) -> str:
    """Write a value as JSON text."""
    return _encoder.encode(value)


def write_checked(name: str, value: object) -> str:
    """Write an argument as JSON text; raise ValueError if JSON has no such value."""
    try:
        return write(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be written as JSON: {error}") from error


def input_output(value: Any, *, name: str | None = None) -> Document:
    """Wrap a value as an InputOutput."""
    return {
        "type": _type_of(value),
        "name": name,
        "data": value,
        "description": None,
        "schema": None,
        "run_id": None,
        "is_optional": None,
    }


def input_documents(values: Mapping[str, object] | None) -> Document:
    """Make the ``inputs`` of a job; a value with a ``"data"`` key is an InputOutput already."""
    given = raw_fields(values).items()
    return {n: v if _is_wrapped(v) else input_output(v, name=n) for n, v in given}


def output_documents(values: Iterable[object]) -> tuple[Any, ...]:
    """Make the ``outputs`` of a job; one that was made already stays as it is."""
    if isinstance(values, str | bytes | Mapping):  # each letter or key would be an output
        message = f"outputs must be a list of outputs, not {values!r:.60}"
        raise ValueError(message)  # noqa: TRY004 - as for all arguments
    texts = [write_checked("an output", _output_document(value)) for value in values]
    return tuple(map(json.loads, texts))


def raw_fields(values: Mapping[str, object] | None) -> Document:
    """Copy members of a document that are to be sent as given."""
    return {n: json.loads(write_checked(n, value)) for n, value in (values or {}).items()}


def split_function(function: str) -> tuple[str, str]:
    """Split ``owner/name``, or raise ValueError."""
    owner_name, slash, name = function.partition("/")
    if not (owner_name and slash and name) or "/" in name:
        raise ValueError(f"function must be 'owner/name', not {function!r}")
    return owner_name, name


def check_choice(name: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    """Raise ValueError unless a value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def check_at_least(minimum: float, **values: float) -> None:
    """Raise ValueError for a number below the minimum, or NaN."""
    for name, value in values.items():
        if not value >= minimum:
            word = {0: "zero", 1: "one"}[int(minimum)]
            raise ValueError(f"{name} must be {word} or more, not {value!r}")


def _output_document(value: Any) -> object:
    is_array = isinstance(value, (list, tuple))
    if is_array and value and all(_is_wrapped(item) for item in value):
        return value  # a nested output
    return value if _is_wrapped(value) else input_output(value)


def _is_wrapped(value: object) -> bool:
    return isinstance(value, dict) and "data" in value


def _type_of(value: object) -> str | None:
    """Name the JSON type of a value as Python does."""
    if isinstance(value, dict) and "url" in value:
        return "sieve.File"
    if isinstance(value, tuple):
        return "list"
    return next((kind.__name__ for kind in _TYPES if isinstance(value, kind)), None)


def _titled(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.title(): headers[name] for name in headers}  # so that none is there twice


def _body_bytes(body: Body | None) -> bytes | None:
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
        values: dict[str, Any] = attrs.asdict(self, recurse=False)
        for name, value in attrs.asdict(other, recurse=False).items():
            if name in {"delay", "slow_body"}:
                values[name] += value
            elif name in {"headers", "fields"}:
                values[name] = {**value, **values[name]}
            elif values[name] is None or values[name] is False:
                values[name] = value
        return FaultEffect(**values)

    def answer(self) -> Answer:
        """Make the answer that the fault itself gives."""
        status = 200 if self.status is None else self.status
        if self.body is not None:
            return Answer(status, self.body)
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
        return Answer(status, encode({"detail": DETAILS.get(status, phrase)}))

    def apply(self, answer: Answer, now: datetime) -> Answer:
        """Change an answer."""
        body, headers = answer.body, dict(answer.headers)
        is_document = answer.status == 200 and "Content-Type" not in headers
        if self.fields and not self.is_answer and is_document:
            body = encode(_changed(json.loads(body), self.fields))
        if self.truncate:
            body = body[: len(body) // 2]
        if self.retry_after is not None:
            seconds = ceil(self.retry_after)
            date = format_datetime(now + timedelta(seconds=seconds), usegmt=True)
            headers["Date"] = format_datetime(now, usegmt=True)
            headers["Retry-After"] = date if self.as_date else str(seconds)
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

    def __attrs_post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        check_at_least(1, times=1 if self.times is None else self.times)
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be from 0 to 1, not {self.probability!r}")

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
        is_meant = self.method in {None, method} and fnmatchcase(path, self.path or "*")
        return is_meant and (self.job is None or path in job_paths(self.job)) and self.happens()


def effect_on(faults: list[Fault], method: str, path: str) -> FaultEffect | None:
    """Combine all effects on one request, but only the oldest of those that answer it."""
    faults[:] = [fault for fault in faults if not fault.is_over]
    found: FaultEffect | None = None
    for fault in faults:
        is_answered = found is not None and found.is_answer
        if not (fault.effect.is_answer and is_answered) and fault.affects(method, path):
            found = found.combined(fault.effect) if found else fault.effect
    return found


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
