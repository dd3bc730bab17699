"""The fast hooks, generated from the fields of the models."""

from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

from cattrs import Converter

from sieve_async.decode.fields import (
    LOOSE,
    Field,
    field_hook,
    fields_of,
    json_default,
    without_none,
)
from sieve_async.decode.hooks import MISSING, Hook, misfit


def fast_object(converter: Converter) -> Callable[[type], Hook]:
    """A generated hook: no call for what fits as it is, and none of the price of freezing.

    The constructor of a frozen class sets each field by a call, which takes three times as long as
    setting it. So the object is made as one of a subclass with the same layout that may be changed,
    and becomes one of the model once it is whole.
    """

    def build(model: type) -> Hook:
        names: dict[str, Any] = {"misfit": misfit, "missing": MISSING, "model": model}
        names["new"], names["changeable"] = object.__new__, _changeable(model)
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
        exec(_source(model), names)  # noqa: S102 - as attrs and cattrs do; from our fields alone
        check: Hook = names["check"]
        return check

    return build


def _source(model: type) -> str:
    fields = fields_of(model)
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
    default = json_default(field)
    name = f"its_{field.name}"
    value = f"get({field.name!r}, {'missing' if default is MISSING else repr(default)})"
    hook = f"{name} = hook_{field.name}({name}, type_{field.name})"
    lines = [f"    {name} = {value}", f"    if {_unfit(field, name)}:"]
    if (model, field.name) not in LOOSE:
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
    declared, tests = without_none(field.type), []
    if declared is not field.type:
        tests.append(f"{name} is not None")
    if declared is Any:
        return "False"
    plain = dict if get_origin(declared) is Mapping and Any in get_args(declared) else declared
    if plain in {str, int, bool, dict}:
        tests.append(f"{name}.__class__ is not {plain.__name__}")
    return " and ".join(tests) or "True"
