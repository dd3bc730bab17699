"""JSON of the fake server's answers, and checks of the arguments that become part of it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs

Document: TypeAlias = dict[str, Any]

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
        message = f"{name} cannot be written as JSON: {error}"
        raise ValueError(message) from error


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
    """Make the ``outputs`` of a job."""
    texts = [write_checked("an output", _output_document(value)) for value in values]
    return tuple(map(json.loads, texts))


def raw_fields(values: Mapping[str, object] | None) -> Document:
    """Copy members of a document that are to be sent as given."""
    return {n: json.loads(write_checked(n, value)) for n, value in (values or {}).items()}


def split_function(function: str) -> tuple[str, str]:
    """Split ``owner/name``, or raise ValueError."""
    owner_name, slash, name = function.partition("/")
    if not (owner_name and slash and name) or "/" in name:
        message = f"function must be 'owner/name', not {function!r}"
        raise ValueError(message)
    return owner_name, name


def check_choice(name: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    """Raise ValueError unless a value is one of the choices."""
    if value not in choices:
        message = f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}"
        raise ValueError(message)


def check_at_least(minimum: float, **values: float) -> None:
    """Raise ValueError for a number below the minimum, or NaN."""
    for name, value in values.items():
        if not value >= minimum:
            word = {0: "zero", 1: "one"}[int(minimum)]
            message = f"{name} must be {word} or more, not {value!r}"
            raise ValueError(message)


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
