"""The fields of the models, as the hooks see them."""

from types import NoneType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

import attrs
from cattrs import Converter

from sieve_async.decode.hooks import MISSING, Hook
from sieve_async.models import FunctionVersion, Job

Field: TypeAlias = "attrs.Attribute[Any]"

# The API does not say what these hold: what does not fit is kept in ``extra`` as it came.
LOOSE = frozenset({(Job, "children"), (FunctionVersion, "environment_variables")})


def fields_of(model: type) -> list[Field]:
    """All fields but ``extra``, which no document has."""
    return [field for field in attrs.fields(model) if field.name != "extra"]


def without_none(declared: Any) -> Any:
    """The type that an optional one is when it is not None."""
    if not is_optional(declared):
        return declared
    (inner,) = (option for option in get_args(declared) if option is not NoneType)
    return inner


def is_optional(declared: Any) -> bool:
    """Whether a type is a union with None."""
    return get_origin(declared) in {Union, UnionType} and NoneType in get_args(declared)


def json_default(field: Field) -> Any:
    """What stands for a key that is missing; null, where the hook makes the default of null."""
    if field.default is attrs.NOTHING:
        return MISSING
    return field.default if isinstance(field.default, int) else None


def field_hook(converter: Converter, field: Field) -> Hook:
    """The hook of a field; null counts as missing where there is a default for that."""
    hook = converter.get_structure_hook(field.type)
    default = json_default(field)
    if isinstance(default, int) and not is_optional(field.type):
        return lambda value, declared: hook(default if value is None else value, declared)
    return hook
