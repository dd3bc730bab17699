"""The JSON that jobs and versions are made of, and nothing about their lives.

Jobs are looked at far more often than they are made, so whatever does not change is kept as
JSON text from the start, and a document is put together from such texts.
"""

import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, TypeAlias

Document: TypeAlias = dict[str, Any]
Texts: TypeAlias = dict[str, str]
"""The members of an object by name, each as JSON text."""

NO_TEXTS: Texts = {}

# A bool is an int as well, so it stands before.
_TYPES = (bool, str, int, float, dict, list)

# One encoder for all answers: json.dumps() builds a new one per call when it has separators.
# NaN is refused because JSON has none.
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def encode(document: object) -> bytes:
    """Write an answer's body."""
    return write(document).encode()


def write(value: object) -> str:
    """Write any value as JSON text."""
    return _encoder.encode(value)


def quote(text: str | None) -> str:
    """Write a string, or null, as JSON text."""
    return "null" if text is None else encode_basestring_ascii(text)


def write_object(members: Texts) -> bytes:
    """Put an object together."""
    return f"{{{','.join([f'{quote(name)}:{text}' for name, text in members.items()])}}}".encode()


def write_array(items: Iterable[str]) -> str:
    """Put an array together."""
    return f"[{','.join(items)}]"


def page(rows: list[bytes], *, next_offset: int) -> bytes:
    """Put the body of one page of a list together."""
    return b'{"data":[%s],"next_offset":%d}' % (b",".join(rows), next_offset)


def snapshot(name: str, value: object) -> Any:
    """Copy a test's value as its JSON will come back, so that later changes do not matter.

    Raises:
        ValueError: It cannot be written as JSON.
    """
    return json.loads(write_checked(name, value))


def write_checked(name: str, value: object) -> str:
    """Write a test's value as JSON text.

    Raises:
        ValueError: It cannot be.
    """
    try:
        return write(value)
    except (TypeError, ValueError) as error:
        message = f"{name} cannot be written as JSON: {error}"
        raise ValueError(message) from error


def output_document(value: Any) -> object:
    """Make the InputOutput of one output, or the list of them for a nested output."""
    is_array = isinstance(value, (list, tuple))
    if is_array and value and all(_is_input_output(item) for item in value):
        return value
    return input_output(value)


def input_output(value: Any, *, name: str | None = None) -> Document:
    """Wrap a value as an InputOutput; what is one already stays as it is."""
    if _is_input_output(value):
        return dict(value)
    return {
        "type": _type_of(value),
        "name": name,
        "data": value,
        "description": None,
        "schema": None,
        "run_id": None,
        "is_optional": None,
    }


def inputs_text(values: Mapping[str, object] | None) -> str:
    """Write the ``inputs`` of a job: an object from name to InputOutput."""
    if not values:
        return "{}"
    given = raw_fields(values)
    return write({name: input_output(value, name=name) for name, value in given.items()})


def outputs_texts(values: Iterable[object]) -> tuple[str, ...]:
    """Write each of the ``outputs`` of a job from whatever a test gave."""
    return tuple([write_checked("an output", output_document(value)) for value in values])


def raw_fields(values: Mapping[str, object] | None) -> Document:
    """Copy fields that a test wants in a document just as they are."""
    return {name: snapshot(name, value) for name, value in (values or {}).items()}


def raw_texts(values: Mapping[str, object] | None) -> Texts:
    """Write fields that a test wants in a document just as they are."""
    if not values:
        return NO_TEXTS  # most jobs have none, and there may be 100,000 of them
    return {name: write(value) for name, value in raw_fields(values).items()}


def _is_input_output(value: object) -> bool:
    return isinstance(value, dict) and "data" in value


def _type_of(value: object) -> str | None:
    """Name the type that a value has as JSON, in the words of Python."""
    if isinstance(value, dict) and "url" in value:
        return "sieve.File"
    if isinstance(value, tuple):
        return "list"
    return next((kind.__name__ for kind in _TYPES if isinstance(value, kind)), None)
