"""The fast hooks, generated from the fields of the models."""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, get_args, get_origin

import attrs
from cattrs import Converter

from sieve_async.decode.extras import NOTHING, extras
from sieve_async.decode.fields import (
    LOOSE,
    Field,
    field_hook,
    fields_of,
    json_default,
    without_none,
)
from sieve_async.decode.freeform import PLAIN, look
from sieve_async.decode.hooks import MISSING, Hook, misfit

_MOST_LOOPS = 16  # of one model; each takes half a millisecond to make


def fast_object(converter: Converter, *, is_parsed_exactly: bool) -> Callable[[type], Hook]:
    """A generated hook: no call for what fits as it is, and none of the price of freezing.

    The constructor of a frozen class sets each field by a call, which takes four times as long as
    setting it. So the object is made as one of a subclass with the same layout that may be changed,
    and becomes one of the model once it is whole.

    Args:
        converter: Has the hooks of the fields.
        is_parsed_exactly: Whether free-form values need no look.
    """

    def build(model: type) -> Hook:
        source = _source_of_one(model, looks=not is_parsed_exactly)
        check: Hook = _compiled(source, "check", _names(converter, model))
        return check

    return build


def fast_array(converter: Converter, model: type, hook: Hook) -> Callable[[list[Any]], list[Any]]:
    """A function that builds a list of models, at two thirds of the time of one after the other.

    As a rule, the objects in an array all have the same keys: they are fetched together, and where
    as many are found as there are, none is unknown. For each set of keys that an array begins with
    there is a loop of its own.

    Args:
        converter: Has the hooks of the fields.
        model: What most items are.
        hook: Builds any item.
    """
    names = _names(converter, model) | {"hook": hook}
    required = {field.name for field in fields_of(model) if json_default(field) is MISSING}
    loops: dict[tuple[str, ...], Callable[[list[Any]], list[Any]]] = {}

    def build(values: list[Any]) -> list[Any]:
        keys = tuple(values[0]) if values and values[0].__class__ is dict else ()
        loop = loops.get(keys)
        if loop is not None:
            return loop(values)
        has_loop = len(keys) > 1 and required <= set(keys) <= names["known"]
        if not has_loop or len(loops) == _MOST_LOOPS:
            return [hook(value, model) for value in values]
        own = names | {"pick": itemgetter(*keys), "size": len(keys)}
        loops[keys] = _compiled(_source_of_many(model, keys), "build", own)
        return loops[keys](values)

    return build


def fast_copy(model: type, changed: str) -> Callable[[Any, Any], Any]:
    """A function that makes a copy of a model with another value in one field."""
    others = [field.name for field in attrs.fields(model) if field.name != changed]
    lines = [
        "def copy(old, value):",
        "    made = new()",
        *(f"    made.{name} = old.{name}" for name in others),
        f"    made.{changed} = value",
        "    made.__class__ = model",
        "    return made",
    ]
    names = {"new": _changeable(model), "model": model}
    copy: Callable[[Any, Any], Any] = _compiled("\n".join(lines), "copy", names)
    return copy


def _names(converter: Converter, model: type) -> dict[str, Any]:
    """What the generated code speaks of."""
    names: dict[str, Any] = {"misfit": misfit, "missing": MISSING, "model": model}
    names |= {"new": _changeable(model), "nothing": NOTHING, "extras": extras}
    names |= {"plain": PLAIN, "look": look}
    fields = fields_of(model)
    names["known"] = frozenset(field.name for field in fields)
    for field in fields:
        declared = without_none(field.type)
        names[f"hook_{field.name}"] = (
            field_hook(converter, field)
            if declared is field.type
            else converter.get_structure_hook(declared)
        )
        names[f"type_{field.name}"] = declared
        names[f"convert_{field.name}"] = field.converter
    return names


def _compiled(source: str, name: str, names: dict[str, Any]) -> Any:
    exec(source, names)  # noqa: S102 - as attrs and cattrs do; from our fields alone
    return names[name]


def _source_of_one(model: type, *, looks: bool) -> str:
    fields = fields_of(model)
    lines = [
        "def check(value, _):",
        "    if value.__class__ is not dict:",
        "        if value.__class__ is model:",  # a function that was known
        "            return value",
        "        raise misfit('an object', value)",
        "    get = value.get",
        "    extra = nothing if known.issuperset(value) else extras(value, known)",
        *(line for field in fields for line in [_getting(field), *_checking(model, field)]),
        *(line for field in fields if looks for line in _looking(field)),
        *(("    if extra:", "        look(extra)") if looks else ()),
        *_making(fields),
        "    return made",
    ]
    return "\n".join(lines)


def _source_of_many(model: type, keys: tuple[str, ...]) -> str:
    present = [field for field in fields_of(model) if field.name in keys]
    absent = [field for field in fields_of(model) if field.name not in keys]
    lines = [
        "def build(values):",
        "    built = []",
        "    add = built.append",
        "    for value in values:",
        "        try:",
        "            if value.__class__ is not dict or len(value) != size:",
        "                raise KeyError",
        f"            {', '.join(f'its_{key}' for key in keys)} = pick(value)",
        "        except KeyError:",
        "            add(hook(value, model))",
        "            continue",
        "        extra = nothing",
    ]
    inner = [
        *(f"    its_{field.name} = {json_default(field)!r}" for field in absent),
        *(line for field in absent if not _takes_none(field) for line in _checking(model, field)),
        *(line for field in present for line in [*_checking(model, field), *_looking(field)]),
        *_making([*present, *absent]),
        "    add(made)",
    ]
    return "\n".join([*lines, *(f"    {line}" for line in inner), "    return built"])


def _getting(field: Field) -> str:
    default = json_default(field)
    if default is None:  # half the time of a call with a default
        return f"    its_{field.name} = get({field.name!r})"
    standing_in = "missing" if default is MISSING else repr(default)
    return f"    its_{field.name} = get({field.name!r}, {standing_in})"


def _checking(model: type, field: Field) -> list[str]:
    name, unfit = f"its_{field.name}", _unfit(field, f"its_{field.name}")
    hook = f"{name} = hook_{field.name}({name}, type_{field.name})"
    if unfit is None:
        return []
    if (model, field.name) not in LOOSE:
        return [f"    if {unfit}:", f"        {hook}"]
    return [
        f"    if {unfit}:",
        "        try:",
        f"            {hook}",
        "        except ValueError:",
        f"            extra = {{**extra, {field.name!r}: {name}}}",
        f"            {name} = hook_{field.name}(None, type_{field.name})",
    ]


def _making(fields: list[Field]) -> list[str]:
    return [
        "    made = new()",
        *(f"    made.{field.name} = {_converted(field)}" for field in fields),
        "    made.extra = extra",
        "    made.__class__ = model",
    ]


def _changeable(model: type) -> type:
    # Both, for deleting shares its slot with setting: with one of them alone it is the slow one.
    setters = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    return type(model.__name__, (model,), {"__slots__": (), "__init__": object.__init__, **setters})


def _converted(field: Field) -> str:
    name = f"its_{field.name}"
    return name if field.converter is None else f"convert_{field.name}({name})"


def _unfit(field: Field, name: str) -> str | None:
    """The test that sends a value to its hook, for the types that most values fit as they are."""
    declared, tests = without_none(field.type), []
    if declared is Any:
        return None
    plain = dict if _is_freeform(declared) else declared
    if plain in {str, int, bool, dict}:
        tests.append(f"{name}.__class__ is not {plain.__name__}")
    if declared is not field.type:
        tests.append(f"{name} is not None")
    return " and ".join(tests) or "True"


def _looking(field: Field) -> list[str]:
    """Look at a value that may be anything; at an object of plain values here, without a call."""
    declared, name = without_none(field.type), f"its_{field.name}"
    if declared is not Any and not _is_freeform(declared):
        return []
    return [
        f"    if {name}.__class__ is dict:",
        f"        for one in {name}.values():",
        "            if one.__class__ not in plain:",
        "                look(one)",
        f"    elif {name}.__class__ not in plain:",
        f"        look({name})",
    ]


def _takes_none(field: Field) -> bool:
    """Whether None needs no hook."""
    return field.type is Any or without_none(field.type) is not field.type


def _is_freeform(declared: Any) -> bool:
    return get_origin(declared) is Mapping and Any in get_args(declared)
