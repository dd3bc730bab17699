"""Checks that a value holds what its annotations say, at any depth."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import attrs


def assert_types(value: Any) -> None:
    """Every field of an attrs object, and of those below it, is of its declared type."""
    for field in attrs.fields(type(value)):
        held = getattr(value, field.name)
        assert fits(held, field.type), f"{type(value).__name__}.{field.name} is {held!r}"


def fits(value: Any, declared: Any) -> bool:
    """Whether a value is of a type; exactly, for a boolean is no integer here."""
    if declared is Any:
        return True
    origin, arguments = get_origin(declared), get_args(declared)
    if origin in {Union, UnionType}:
        return any(fits(value, option) for option in arguments)
    if origin is tuple:
        return type(value) is tuple and all(fits(each, arguments[0]) for each in value)
    if origin is Mapping:
        return type(value) is dict and all(
            type(key) is str and fits(each, arguments[1]) for key, each in value.items()
        )
    if declared is datetime:
        return type(value) is datetime and value.tzinfo is UTC
    if attrs.has(declared) and type(value) is declared:
        assert_types(value)
        return True
    return type(value) is (NoneType if declared is None else declared)
