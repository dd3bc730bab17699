"""JSON documents to values and back: one cattrs converter.

A document that is as documented goes through the hooks that cattrs generates, with strict hooks for
scalars. Only where one fails, a lenient pass over the fields of that object keeps what does not fit
in ``extra`` under the name of its field. Nothing is coerced and nothing is dropped.
"""

import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn_from_attrs

from sieve_async.display import fields_not_default
from sieve_async.values import BuildStatus, InputOutput, JobStatus

logger = logging.getLogger("sieve_async")

T = TypeVar("T")
Hook: TypeAlias = Callable[[Any, Any], Any]
Document: TypeAlias = dict[str, Any]

_JSON_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    NoneType: "null",
}
# fromisoformat alone reads more than it should: on 3.11 also what stands after a NUL or a "Z".
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?)"
    r"(?:[Zz]|([+-][0-9]{2}(?::?[0-5][0-9])?))?"
)
_fromisoformat = datetime.fromisoformat  # bound once: binding it takes longer than the call
_reported: set[tuple[type, str, type]] = set()  # which fields and kinds of values were logged


class FieldError(ValueError):
    """A value that does not fit its field; the text never quotes it."""


def structure(document: Document, cls: type[T]) -> T:
    """Build a value from a JSON object.

    Raises:
        FieldError: It is no object, or lacks a field that has no default.
    """
    value: T = _hook(cls)(document, cls)
    return value


def unstructure(value: Any) -> Document:
    """The JSON object of a value: fields at their defaults left out, unknown keys included."""
    document = {field.name: _to_json(held) for field, held in fields_not_default(value)}
    extra = document.pop("extra", {})
    if extra and not document and value.__class__ is InputOutput:
        document["data"] = None  # without a known key it would be read as a bare value
    document.update(extra)
    return document


def copy_json(value: Any) -> Any:
    """A copy of a JSON value that shares no object or array with it."""
    root: list[Any] = [value]
    pending: list[tuple[Any, Any]] = [(root, 0)]
    while pending:  # no recursion: JSON may be nested deeper than we can recurse
        parent, key = pending.pop()
        child: Any = parent[key]
        if isinstance(child, Mapping):
            parent[key] = copied = dict(child)
            pending.extend((copied, each) for each in copied)
        elif isinstance(child, (list, tuple)):
            parent[key] = items = list(child)
            pending.extend((items, place) for place in range(len(items)))
        elif isinstance(child, str):
            parent[key] = str.__str__(child)  # of a string enum, its value
    return root[0]


def _to_json(value: Any) -> Any:
    if attrs.has(value.__class__):
        return unstructure(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return str.__str__(value)  # of a status, its word
    if isinstance(value, tuple):
        return [_to_json(each) for each in value]
    if isinstance(value, Mapping) and any(attrs.has(each.__class__) for each in value.values()):
        return {name: _input_to_json(name, each) for name, each in value.items()}
    return copy_json(value)


def _input_to_json(name: str, value: Any) -> Any:
    """An input of a job; one that says no more than its name and its data is written as data."""
    is_bare = value == InputOutput(name=name, data=value.data)
    return copy_json(value.data) if is_bare and not is_document(value.data) else _to_json(value)


def is_document(value: Any) -> bool:
    """Whether a JSON value is an InputOutput, and no bare value."""
    return value.__class__ is dict and (not value or not _INPUT_OUTPUT_KEYS.isdisjoint(value))


_INPUT_OUTPUT_KEYS = frozenset(field.name for field in attrs.fields(InputOutput)) - {"extra"}


def _type_error(expected: str, value: object) -> FieldError:
    return FieldError(f"must be {expected}, not {_JSON_NAMES.get(type(value), 'another type')}")


def _scalar(declared: type) -> Hook:
    expected = _JSON_NAMES[declared]

    def structure_scalar(value: Any, _: Any) -> Any:
        if value.__class__ is declared:
            return value
        raise _type_error(expected, value)

    return structure_scalar


def _structure_time(value: Any, _: Any) -> datetime:
    """Read an ISO 8601 date and time; without a zone it is UTC, as the live API writes it."""
    match = _TIME.fullmatch(value) if value.__class__ is str else None
    if match is None:
        raise _type_error("a time such as 2024-12-15T01:41:59.195000", value)
    naive, zone = match.groups()
    try:
        if zone is None:
            return _fromisoformat(f"{naive}+00:00")
        return _fromisoformat(f"{naive}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise FieldError("must be a time that exists") from None


def _word(words: type[JobStatus | BuildStatus]) -> Hook:
    known: dict[str, JobStatus | BuildStatus] = {member.value: member for member in words}

    def structure_word(value: Any, _: Any) -> JobStatus | BuildStatus:
        if value.__class__ is not str:
            raise _type_error("a string", value)
        return known.get(value) or words(value)

    return structure_word


def _optional(union: Any) -> Hook:
    (inner,) = (option for option in get_args(union) if option is not NoneType)
    hook = _hook(inner)
    if inner in {str, int, bool}:  # one call instead of two

        def structure_optional_scalar(value: Any, _: Any) -> Any:
            if value is None or value.__class__ is inner:
                return value
            return hook(value, inner)

        return structure_optional_scalar
    return lambda value, _: None if value is None else hook(value, inner)


def _tuple(declared: Any) -> Hook:
    item = get_args(declared)[0]
    hook = _hook(item)
    holds_any_value = InputOutput in {item, *get_args(item)}

    def structure_tuple(value: Any, _: Any) -> tuple[Any, ...]:
        if value.__class__ is list:
            return tuple([hook(each, item) for each in value])
        if value is None:
            return ()
        if holds_any_value:  # what is no array is one output
            return (hook(value, item),)
        raise _type_error("an array", value)

    return structure_tuple


def _output(_: Any) -> Hook:
    """An output is one InputOutput or an array of them."""
    hook = _hook(InputOutput)

    def structure_output(value: Any, _: Any) -> Any:
        if value.__class__ is list:
            return tuple([hook(each, InputOutput) for each in value])
        return hook(value, InputOutput)

    return structure_output


def _mapping(declared: Any) -> Hook:
    if get_args(declared)[1] is InputOutput:
        return _inputs()

    def structure_mapping(value: Any, _: Any) -> Any:
        if value.__class__ is dict:
            return value
        if value is None:
            return {}
        raise _type_error("an object", value)

    return structure_mapping


def _inputs() -> Hook:
    """Inputs by name: an object of inputs or of bare values, or an array of inputs with names."""
    hook = _hook(InputOutput)

    def structure_inputs(value: Any, _: Any) -> Mapping[str, InputOutput]:
        if value.__class__ is dict:
            return {
                name: hook(each, InputOutput)
                if is_document(each)
                else InputOutput(name=name, data=each)
                for name, each in value.items()
            }
        if value is None:
            return {}
        if value.__class__ is not list:
            raise _type_error("an object", value)
        inputs = [hook(each, InputOutput) for each in value]
        by_name = {each.name: each for each in inputs if each.name is not None}
        if len(by_name) < len(inputs):
            raise FieldError("must be an array of inputs with names of their own")
        return by_name

    return structure_inputs


def _object(cls: Any) -> Hook:
    """The hook of an attrs class: cattrs' own, and the lenient pass where that fails."""
    fields = [field for field in attrs.fields(cls) if field.name != "extra"]
    names = frozenset(field.name for field in fields)
    # For a missing key stands what its hook turns into the default of the field. With a value for
    # each key cattrs passes them by position, which takes half of the time.
    absent = {
        field.name: None if isinstance(field.default, tuple | attrs.Factory) else field.default
        for field in fields
        if field.default is not attrs.NOTHING
    }
    required = [field.evolve(default=attrs.NOTHING) for field in attrs.fields(cls)]
    generated = make_dict_structure_fn_from_attrs(
        required, cls, _converter, _cattrs_detailed_validation=False, _cattrs_use_linecache=False
    )
    may_be_bare = cls is InputOutput

    def structure_object(value: Any, declared: Any) -> Any:
        if value.__class__ is not dict:
            if may_be_bare:
                return InputOutput(data=value)
            raise _type_error("an object", value)
        extra = {}
        if not names.issuperset(value):
            if may_be_bare and names.isdisjoint(value):
                return InputOutput(data=value)
            extra = {name: each for name, each in value.items() if name not in names}
        filled = {**absent, **value, "extra": extra}
        try:
            return generated(filled, declared)
        except (FieldError, KeyError):
            return _structure_leniently(value, cls, extra)

    return structure_object


def _structure_leniently(document: Document, cls: type[T], extra: Document) -> T:
    """Build a value field by field; what does not fit its field goes to ``extra``."""
    kept: Document = {}
    for field in attrs.fields(cls):  # type: ignore[arg-type] # an attrs class, as its hook knows
        name, is_required = field.name, field.default is attrs.NOTHING
        if name == "extra" or (name not in document and not is_required):
            continue
        if name not in document:
            raise FieldError(f"{name} is missing")
        value = document[name]
        try:
            kept[name] = _hook(field.type)(value, field.type)
        except FieldError as error:
            if is_required:
                raise FieldError(f"{name} {error}") from None
            if value is not None:  # null stands for the default
                extra[name] = value
                _report(cls, name, value, error)
    build: Callable[..., T] = cls
    return build(**kept, extra=extra)


def _report(cls: type, name: str, value: object, error: FieldError) -> None:
    """Log a field that an answer does not fit, once for each kind of value."""
    key = cls, name, type(value)
    if key not in _reported:
        _reported.add(key)
        logger.warning("%s.%s kept in extra: %s", cls.__name__, name, error)


def _is_object(declared: Any) -> bool:
    return attrs.has(declared)


def _is_optional(declared: Any) -> bool:
    return get_origin(declared) in {Union, UnionType} and NoneType in get_args(declared)


def _is_output(declared: Any) -> bool:
    return get_origin(declared) in {Union, UnionType} and NoneType not in get_args(declared)


def _make_converter() -> Converter:
    converter = Converter(detailed_validation=False)
    for scalar in (str, int, bool):
        converter.register_structure_hook(scalar, _scalar(scalar))
    converter.register_structure_hook(datetime, _structure_time)
    for words in (JobStatus, BuildStatus):
        converter.register_structure_hook(words, _word(words))
    converter.register_structure_hook(Any, lambda value, _: value)
    factories: list[tuple[Callable[[Any], bool], Callable[[Any], Hook]]] = [
        (_is_object, _object),
        (lambda declared: get_origin(declared) is tuple, _tuple),
        (lambda declared: get_origin(declared) is Mapping, _mapping),
        (_is_optional, _optional),
        (_is_output, _output),
    ]
    for applies, factory in factories:
        converter.register_structure_hook_factory(applies, factory)
    return converter


_converter = _make_converter()
_hook = _converter.get_structure_hook
