"""Checks that a value holds what its annotations say, at any depth."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import UnionType
from typing import Any, Union, get_args, get_origin

import attrs


def assert_types(value: Any) -> None:
    """Every field of an attrs object, and of those below it, is of its declared type."""
    for field in attrs.fields(type(value)):
        held = getattr(value, field.name)
        assert fits(held, field.type), f"{type(value).__name__}.{field.name} is {held!r}"


def fits(value: Any, declared: Any) -> bool:
    """Whether a value is of a type; exactly, for a boolean is no integer here."""
    origin, arguments = get_origin(declared), get_args(declared)
    if declared is Any:
        return True
    if origin in {Union, UnionType}:
        return any(fits(value, option) for option in arguments)
    if origin is not None:
        return _fits_collection(value, origin, arguments)
    if attrs.has(declared) and type(value) is declared:
        assert_types(value)
    return type(value) is declared and (declared is not datetime or value.tzinfo is UTC)


def _fits_collection(value: Any, origin: type, arguments: tuple[Any, ...]) -> bool:
    if origin is tuple:
        return type(value) is tuple and all(fits(each, arguments[0]) for each in value)
    assert origin is Mapping
    return type(value) is dict and all(
        type(key) is str and fits(each, arguments[1]) for key, each in value.items()
    )
