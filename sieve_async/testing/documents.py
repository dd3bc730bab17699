"""The JSON that jobs and versions are made of, and nothing about their lives."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

Document: TypeAlias = dict[str, Any]

# One encoder for all answers: json.dumps() builds a new one per call when it has separators.
# NaN is refused because JSON has none.
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def encode(document: object) -> bytes:
    """Write an answer's body."""
    return _encoder.encode(document).encode()


def snapshot(name: str, value: object) -> Any:
    """Copy a test's value as its JSON will come back, so that later changes do not matter.

    Raises:
        ValueError: It cannot be written as JSON.
    """
    try:
        return json.loads(encode(value))
    except (TypeError, ValueError) as error:
        message = f"{name} cannot be written as JSON: {error}"
        raise ValueError(message) from error


def output_document(value: Any) -> Document | list[Document]:
    """Make the InputOutput of one output, or the list of them for a nested output."""
    if isinstance(value, list) and value and all(_is_input_output(item) for item in value):
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


def inputs_document(values: Mapping[str, object] | None) -> Document:
    """Make the ``inputs`` of a job: an object from name to InputOutput."""
    given = raw_fields(values)
    return {name: input_output(value, name=name) for name, value in given.items()}


def outputs_documents(values: Iterable[object]) -> tuple[Document | list[Document], ...]:
    """Make the ``outputs`` of a job from whatever a test gave."""
    return tuple(output_document(snapshot("an output", value)) for value in values)


def raw_fields(values: Mapping[str, object] | None) -> Document:
    """Copy fields that a test wants in a document just as they are."""
    return {name: snapshot(name, value) for name, value in (values or {}).items()}


def _is_input_output(value: object) -> bool:
    return isinstance(value, dict) and "data" in value


def _type_of(value: object) -> str | None:
    if isinstance(value, dict) and "url" in value:
        return "sieve.File"
    return None if value is None else type(value).__name__
