"""From a JSON object to a model: nothing coerced, nothing dropped.

Two converters share one set of strict hooks. The fast one has generated hooks for the objects and
stops at the first problem; only then the slow one, cattrs as it comes with detailed
validation, goes over the same object to name every problem with its path.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import Converter, transform_error
from cattrs.errors import IterableValidationError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from sieve_async.decode.familiar import Functions
from sieve_async.decode.fields import (
    LOOSE,
    field_hook,
    fields_of,
    is_optional,
    without_none,
)
from sieve_async.decode.generated import fast_array, fast_copy, fast_object
from sieve_async.decode.hooks import Hook, misfit, scalar, time, word
from sieve_async.decode.parsing import Document
from sieve_async.models import (
    BuildStatus,
    Function,
    FunctionVersion,
    InputOutput,
    Job,
    JobStatus,
    WorkerCounts,
)

Model = TypeVar("Model", Job, FunctionVersion)

_MOST_MISFITS = 20  # of one array or object


def structure(document: Document, model: type[Model]) -> Model:
    """Build a model from a document that was parsed exactly.

    Raises:
        ValueError: The document does not fit; ``explain`` says where.
    """
    made: Model = _exact().get_structure_hook(model)(document, model)
    return made


def structure_quickly(document: Document, model: type[Model]) -> Model | None:
    """Build a model from a document that was parsed fast; None if it must be parsed with care."""
    try:
        made: Model = _HOOKS[model](document, model)
    except ValueError:
        return None
    return made


def explain(document: Document, model: type[Model]) -> tuple[str, ...]:
    """One line for each problem of a document that does not fit, with its path."""
    try:
        _DETAILED.structure(document, model)
    except Exception as error:  # noqa: BLE001 - cattrs raises what has no common base but this
        lines = transform_error(error, format_exception=_describe)
        return tuple(_path_first(line) for line in lines)
    return ("$: does not fit",)


def _path_first(line: str) -> str:
    text, _, path = line.partition(" @ ")
    return f"{path}: {text}"


def _describe(error: BaseException, _: type | None) -> str:
    return "is missing" if isinstance(error, KeyError) else str(error)


def _optional(converter: Converter) -> Callable[[Any], Hook]:
    def build(union: Any) -> Hook:
        inner = without_none(union)
        hook = converter.get_structure_hook(inner)
        return lambda value, _: None if value is None else hook(value, inner)

    return build


def _output(converter: Converter) -> Callable[[Any], Hook]:
    """An output is one InputOutput or an array of them."""

    def build(_: Any) -> Hook:
        one = converter.get_structure_hook(InputOutput)
        many = converter.get_structure_hook(tuple[InputOutput, ...])

        def check(value: Any, _: Any) -> Any:
            if value.__class__ is list:
                return many(value, tuple[InputOutput, ...])
            return one(value, InputOutput)

        return check

    return build


def _is_output(declared: Any) -> bool:
    return get_origin(declared) in {Union, UnionType} and NoneType not in get_args(declared)


def _tuple(converter: Converter) -> Callable[[Any], Hook]:
    def build(declared: Any) -> Hook:
        item = get_args(declared)[0]
        hook = converter.get_structure_hook(item)

        def check(value: Any, _: Any) -> tuple[Any, ...]:
            if value.__class__ is list:
                return tuple([hook(one, item) for one in value])
            if value is None:
                return ()
            raise misfit("an array", value)

        def check_each(value: Any, _: Any) -> tuple[Any, ...]:
            if value.__class__ is list:
                return tuple(_each(hook, item, enumerate(value)))
            return check(value, _)

        return check_each if converter.detailed_validation else check

    return build


def _fast_tuple(converter: Converter) -> Callable[[Any], Hook]:
    """The same for documents that were parsed fast."""

    def build(declared: Any) -> Hook:
        item = get_args(declared)[0]
        hook = converter.get_structure_hook(item)
        if item is str:
            return _texts
        many = fast_array(converter, InputOutput if _is_output(item) else item, hook)

        def check(value: Any, _: Any) -> tuple[Any, ...]:
            if value.__class__ is list:
                if len(value) > 1:
                    return tuple(many(value))
                return (hook(value[0], item),) if value else ()
            if value is None:
                return ()
            raise misfit("an array", value)

        return check

    return build


def _texts(value: Any, _: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if value.__class__ is not list:
        raise misfit("an array", value)
    for one in value:
        if one.__class__ is not str:
            raise misfit("a string", one)
    return tuple(value)


def _mapping(converter: Converter) -> Callable[[Any], Hook]:
    def build(declared: Any) -> Hook:
        item = get_args(declared)[1]
        hook = converter.get_structure_hook(item)

        def check(value: Any, _: Any) -> Mapping[str, Any]:
            if value.__class__ is dict:
                return {key: hook(one, item) for key, one in value.items()}
            if value is None:
                return {}
            raise misfit("an object", value)

        def check_each(value: Any, _: Any) -> Mapping[str, Any]:
            if value.__class__ is dict:
                return dict(zip(value, _each(hook, item, value.items()), strict=True))
            return check(value, _)

        return check_each if converter.detailed_validation else check

    return build


def _each(hook: Hook, item: Any, values: Iterable[tuple[int | str, Any]]) -> list[Any]:
    """Structure each value and note where those stand that do not fit.

    cattrs would explain every one of them, for seconds. The first few say enough, and what the fast
    pass takes needs no explanation.
    """
    fast = _FAST.get_structure_hook(item)
    made: list[Any] = []
    suspects: list[tuple[int | str, Any]] = []
    for place, value in values:
        try:
            made.append(fast(value, item))
        except ValueError:
            suspects.append((place, value))
            if len(suspects) == _MOST_MISFITS:
                break
    misfits: list[Exception] = []
    for place, value in suspects:
        try:
            hook(value, item)
        except Exception as error:  # noqa: BLE001 - cattrs' have no other base
            error.__notes__ = [*getattr(error, "__notes__", ()), _note(place, item)]
            misfits.append(error)
    if misfits:
        raise IterableValidationError("some items do not fit", misfits, item)
    return made


def _note(place: int | str, item: Any) -> IterableValidationNote:
    return IterableValidationNote(f"at {place!r}", place, item)


def _detailed_object(converter: Converter) -> Callable[[type], Hook]:
    """What cattrs makes: it goes on after a problem and notes the field of each."""

    def build(model: type) -> Hook:
        overrides = {
            field.name: override(omit=True)
            if (model, field.name) in LOOSE
            else override(struct_hook=field_hook(converter, field))
            for field in fields_of(model)
        }
        overrides["extra"] = override(omit=True)
        make: Hook = make_dict_structure_fn(model, converter, **overrides)  # type: ignore[arg-type] # mypy takes the overrides for the named options

        def check(value: Any, declared: Any) -> Any:
            if value.__class__ is not dict:
                raise misfit("an object", value)
            return make(value, declared)

        return check

    return build


def _converter(
    objects: Callable[[Converter], Callable[[type], Hook]],
    arrays: Callable[[Converter], Callable[[Any], Hook]] = _tuple,
) -> Converter:
    converter = Converter(detailed_validation=objects is _detailed_object)
    scalars: dict[Any, Hook] = {
        str: scalar("a string", str),
        int: scalar("an integer", int),
        bool: scalar("a boolean", bool),
        datetime: time,
        JobStatus: word(JobStatus),
        BuildStatus: word(BuildStatus),
    }
    for kind, hook in scalars.items():
        converter.register_structure_hook(kind, hook)
    factories: list[tuple[Callable[[Any], bool], Callable[[Any], Hook]]] = [
        (lambda declared: get_origin(declared) is tuple, arrays(converter)),
        (lambda declared: get_origin(declared) is Mapping, _mapping(converter)),
        (is_optional, _optional(converter)),
        (_is_output, _output(converter)),
        (attrs.has, objects(converter)),
    ]
    for applies, factory in factories:
        converter.register_structure_hook_factory(applies, factory)
    return converter


_FAST = _converter(partial(fast_object, is_parsed_exactly=False), _fast_tuple)
_HOOKS: dict[type, Hook] = {
    model: _FAST.get_structure_hook(model) for model in (Job, FunctionVersion)
}
_FUNCTIONS = Functions(
    _FAST.get_structure_hook(WorkerCounts),
    with_workers=fast_copy(FunctionVersion, "current_workers"),
    with_version=fast_copy(Function, "latest_version"),
)
recognize, learn = _FUNCTIONS.recognize, _FUNCTIONS.learn
_DETAILED = _converter(_detailed_object)


@cache
def _exact() -> Converter:
    return _converter(partial(fast_object, is_parsed_exactly=True))
