"""From a JSON object to a model: nothing coerced, nothing dropped.

Two converters share one set of strict hooks. The fast one makes a single constructor call for each
object and stops at the first problem; only then the slow one, cattrs as it comes with detailed
validation, goes over the same object to name every problem with its path.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import Converter, transform_error
from cattrs.errors import IterableValidationError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from sieve_async.decode.hooks import MISSING, Hook, misfit, scalar, time, word
from sieve_async.decode.parsing import Document
from sieve_async.models import BuildStatus, FunctionVersion, InputOutput, Job, JobStatus

Model = TypeVar("Model", Job, FunctionVersion)
Field: TypeAlias = "attrs.Attribute[Any]"

_MOST_MISFITS = 20  # of one array or object
# The API does not say what these hold: what does not fit is kept in ``extra`` as it came.
_LOOSE = frozenset({(Job, "children"), (FunctionVersion, "environment_variables")})


def structure(document: Document, model: type[Model]) -> Model:
    """Build a model.

    Raises:
        ValueError: The document does not fit; ``explain`` says where.
    """
    made: Model = _HOOKS[model](document, model)
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
        inner = _without_none(union)
        hook = converter.get_structure_hook(inner)
        return lambda value, _: None if value is None else hook(value, inner)

    return build


def _without_none(declared: Any) -> Any:
    if not _is_optional(declared):
        return declared
    (inner,) = (option for option in get_args(declared) if option is not NoneType)
    return inner


def _is_optional(declared: Any) -> bool:
    return get_origin(declared) in {Union, UnionType} and NoneType in get_args(declared)


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


def _json_default(field: Field) -> Any:
    """What stands for a key that is missing; null, where the hook makes the default of null."""
    if field.default is attrs.NOTHING:
        return MISSING
    return field.default if isinstance(field.default, int) else None


def _field_hook(converter: Converter, field: Field) -> Hook:
    hook = converter.get_structure_hook(field.type)
    default = _json_default(field)
    if isinstance(default, int) and not _is_optional(field.type):
        return lambda value, declared: hook(default if value is None else value, declared)
    return hook


def _fields(model: type) -> list[Field]:
    return [field for field in attrs.fields(model) if field.name != "extra"]


def _fast_object(converter: Converter) -> Callable[[type], Hook]:
    """A generated hook: no call for what fits as it is, and none of the price of freezing.

    The constructor of a frozen class sets each field by a call, which takes three times as long as
    setting it. So the object is made as one of a subclass with the same layout that may be changed,
    and becomes one of the model once it is whole.
    """

    def build(model: type) -> Hook:
        names: dict[str, Any] = {"misfit": misfit, "missing": MISSING, "model": model}
        names["new"], names["changeable"] = object.__new__, _changeable(model)
        fields = _fields(model)
        names["known"] = frozenset(field.name for field in fields)
        for field in fields:
            declared = _without_none(field.type)
            names[f"hook_{field.name}"] = (
                _field_hook(converter, field)
                if declared is field.type
                else converter.get_structure_hook(declared)
            )
            names[f"type_{field.name}"] = declared
            names[f"convert_{field.name}"] = field.converter
        exec(_source(model), names)  # noqa: S102 - as attrs and cattrs do; from our fields alone
        check: Hook = names["check"]
        return check

    return build


def _source(model: type) -> str:
    fields = _fields(model)
    lines = [
        "def check(value, _):",
        "    if value.__class__ is not dict:",
        "        raise misfit('an object', value)",
        "    get = value.get",
        "    extra = {}",
        *(line for field in fields for line in _field_source(model, field)),
        "    if not known.issuperset(value):",
        "        extra.update((key, value[key]) for key in value if key not in known)",
        "    made = new(changeable)",
        *(f"    made.{field.name} = {_converted(field)}" for field in fields),
        "    made.extra = extra",
        "    made.__class__ = model",
        "    return made",
    ]
    return "\n".join(lines)


def _field_source(model: type, field: Field) -> list[str]:
    default = _json_default(field)
    name = f"its_{field.name}"
    value = f"get({field.name!r}, {'missing' if default is MISSING else repr(default)})"
    hook = f"{name} = hook_{field.name}({name}, type_{field.name})"
    lines = [f"    {name} = {value}", f"    if {_unfit(field, name)}:"]
    if (model, field.name) not in _LOOSE:
        return [*lines, f"        {hook}"]
    return [
        *lines,
        "        try:",
        f"            {hook}",
        "        except ValueError:",
        f"            extra[{field.name!r}] = {name}",
        f"            {name} = hook_{field.name}(None, type_{field.name})",
    ]


def _changeable(model: type) -> type:
    # Both, for deleting shares its slot with setting: with one of them alone it is the slow one.
    setters = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    return type(model.__name__, (model,), {"__slots__": (), **setters})


def _converted(field: Field) -> str:
    name = f"its_{field.name}"
    return name if field.converter is None else f"convert_{field.name}({name})"


def _unfit(field: Field, name: str) -> str:
    """The test that sends a value to its hook, for the types that most values fit as they are."""
    declared, tests = _without_none(field.type), []
    if declared is not field.type:
        tests.append(f"{name} is not None")
    if declared is Any:
        return "False"
    plain = dict if get_origin(declared) is Mapping and Any in get_args(declared) else declared
    if plain in {str, int, bool, dict}:
        tests.append(f"{name}.__class__ is not {plain.__name__}")
    return " and ".join(tests) or "True"


def _detailed_object(converter: Converter) -> Callable[[type], Hook]:
    """What cattrs makes: it goes on after a problem and notes the field of each."""

    def build(model: type) -> Hook:
        overrides = {
            field.name: override(omit=True)
            if (model, field.name) in _LOOSE
            else override(struct_hook=_field_hook(converter, field))
            for field in _fields(model)
        }
        overrides["extra"] = override(omit=True)
        make: Hook = make_dict_structure_fn(model, converter, **overrides)  # type: ignore[arg-type] # mypy takes the overrides for the named options

        def check(value: Any, declared: Any) -> Any:
            if value.__class__ is not dict:
                raise misfit("an object", value)
            return make(value, declared)

        return check

    return build


def _converter(*, detailed: bool) -> Converter:
    converter = Converter(detailed_validation=detailed)
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
        (lambda declared: get_origin(declared) is tuple, _tuple(converter)),
        (lambda declared: get_origin(declared) is Mapping, _mapping(converter)),
        (_is_optional, _optional(converter)),
        (_is_output, _output(converter)),
        (attrs.has, _detailed_object(converter) if detailed else _fast_object(converter)),
    ]
    for applies, factory in factories:
        converter.register_structure_hook_factory(applies, factory)
    return converter


_FAST = _converter(detailed=False)
_HOOKS: dict[type, Hook] = {
    model: _FAST.get_structure_hook(model) for model in (Job, FunctionVersion)
}
_DETAILED = _converter(detailed=True)
