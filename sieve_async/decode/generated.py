"""The fast hooks, generated from the fields of the models."""

from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

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
from sieve_async.decode.sharing import shared
from sieve_async.models import Function


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
        exec(_source(model, looks=not is_parsed_exactly), names)  # noqa: S102 - as attrs and cattrs do; from our fields alone
        check: Hook = names["check"]
        return shared(check) if model is Function else check

    return build


def _source(model: type, *, looks: bool) -> str:
    fields = fields_of(model)
    lines = [
        "def check(value, _):",
        "    if value.__class__ is not dict:",
        "        raise misfit('an object', value)",
        "    get = value.get",
        "    extra = nothing if known.issuperset(value) else extras(value, known)",
        *(line for field in fields for line in _field_source(model, field)),
        *(line for field in fields if looks for line in _looking(field)),
        *(("    if extra:", "        look(extra)") if looks else ()),
        "    made = new()",
        *(f"    made.{field.name} = {_converted(field)}" for field in fields),
        "    made.extra = extra",
        "    made.__class__ = model",
        "    return made",
    ]
    return "\n".join(lines)


def _field_source(model: type, field: Field) -> list[str]:
    default = json_default(field)
    name = f"its_{field.name}"
    standing_in = "missing" if default is MISSING else repr(default)
    # Twice as fast without a default.
    value = f"get({field.name!r})" if default is None else f"get({field.name!r}, {standing_in})"
    hook = f"{name} = hook_{field.name}({name}, type_{field.name})"
    unfit = _unfit(field, name)
    lines = [f"    {name} = {value}"]
    if unfit is None:
        return lines
    lines.append(f"    if {unfit}:")
    if (model, field.name) not in LOOSE:
        return [*lines, f"        {hook}"]
    return [
        *lines,
        "        try:",
        f"            {hook}",
        "        except ValueError:",
        f"            extra = {{**extra, {field.name!r}: {name}}}",
        f"            {name} = hook_{field.name}(None, type_{field.name})",
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


def _is_freeform(declared: Any) -> bool:
    return get_origin(declared) is Mapping and Any in get_args(declared)
