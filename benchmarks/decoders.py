"""Who makes models of bytes, and by which means: the stage of ``decode``."""

import importlib
import itertools
import json
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from types import GenericAlias, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

import attrs
import cattrs.preconf.json

from benchmarks.server import ID_OF_USUAL_LENGTH, prepared
from benchmarks.turns import Company, Turn
from sieve_async import InputOutput, Job, endpoints
from sieve_async.decode import parse_model
from sieve_async.messages import Response

Decode: TypeAlias = Callable[[bytes], Any]
Fields: TypeAlias = Mapping[str, tuple[Any, Any]]
"""By name: the type, and the default; an ellipsis for none."""
Make: TypeAlias = Callable[[type, Fields], Any]

_VARIETY = 500
_ID = ID_OF_USUAL_LENGTH.decode()


@asynccontextmanager
async def contending(settings: Mapping[str, Any]) -> AsyncIterator[Company]:
    """All who are installed, and have shown that they bring the same."""
    absent: list[str] = []
    has_orjson = find_spec_of("orjson")
    decoders = {f"sieve_async{'' if has_orjson else ', no orjson'}": _ours}
    if has_orjson or settings.get("alone"):
        decoders |= _others(absent, has_orjson=has_orjson)
    words: list[str] = settings["words"]
    turns: dict[str, Turn] = {}
    sizes = {}
    for word in words:
        bodies = _bodies(word)
        expected = len(_ours(bodies[0]).outputs)
        for name, decode in decoders.items():
            _check(name, decode(bodies[0]), expected)
            turns[f"{word} {name}"] = _decoding(decode, bodies)
            sizes[f"{word} {name}"] = len(bodies[0])
    yield Company(turns, sizes, absent)


def find_spec_of(module: str) -> bool:
    """Whether a module can be imported; in this process it may be forbidden."""
    try:
        return find_spec(module) is not None
    except ValueError:
        return False


def _bodies(word: str) -> list[bytes]:
    """The bytes of a job, or of many that differ in their function alone: it may be remembered."""
    before, *between, after = prepared()[word.encode()]
    if not between:
        return [ID_OF_USUAL_LENGTH.join([before, after])]
    others = (b"%08x%b" % (number, ID_OF_USUAL_LENGTH[8:]) for number in range(_VARIETY))
    return [other.join([ID_OF_USUAL_LENGTH.join([before, *between]), after]) for other in others]


def _decoding(decode: Decode, bodies: list[bytes]) -> Turn:
    endless = itertools.cycle(bodies)

    async def turn(count: int) -> None:
        for body in itertools.islice(endless, count):
            decode(body)

    return turn


def _check(name: str, made: Any, outputs: int) -> None:
    if isinstance(made, dict):
        found = made["id"], len(made["outputs"] or ())
    else:
        found = made.id, len(made.outputs or ())
    if found != (_ID, outputs):
        raise RuntimeError(f"{name} made {found[1]} outputs of {found[0]}")


def _ours(body: bytes) -> Any:
    """From an answer to a model, with all that is checked on the way."""
    return parse_model(endpoints.get_job(_ID), Response(200, (), body, str))


def _others(absent: list[str], *, has_orjson: bool) -> dict[str, Decode]:
    decoders: dict[str, Decode] = {"json.loads alone": json.loads}
    if has_orjson:
        decoders["orjson.loads alone"] = importlib.import_module("orjson").loads
    else:
        absent.append("orjson")
    decoders["cattrs as it comes"] = _cattrs(decoders.get("orjson.loads alone", json.loads))
    for name, make in (("pydantic", _pydantic), ("msgspec", _msgspec)):
        if find_spec_of(name):
            decoders[name] = make(importlib.import_module(name))
        else:
            absent.append(name)
    return decoders


def _cattrs(loads: Decode) -> Decode:
    """Its converter for JSON, told only which of two an output is, which it cannot know."""
    converter = cattrs.preconf.json.make_converter()

    def make(model: type, fields: Fields) -> Any:
        return attrs.make_class(
            model.__name__,
            {
                name: attrs.field(
                    type=declared, default=attrs.NOTHING if default is ... else default
                )
                for name, (declared, default) in fields.items()
            },
        )

    made: dict[type, Any] = {}
    job = _rebuilt(Job, make, made)
    one = made[InputOutput]
    many: Any = GenericAlias(tuple, (one, ...))

    def output(value: Any, _: Any) -> Any:
        return converter.structure(value, many if isinstance(value, list) else one)

    converter.register_structure_hook(Union[one, many], output)  # noqa: UP007 - of what it is called with
    return lambda body: converter.structure(loads(body), job)


def _pydantic(pydantic: Any) -> Decode:
    """The same classes as its models, made of bytes by its own parser."""

    def make(model: type, fields: Fields) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a field has the name of an old method
            return pydantic.create_model(model.__name__, **fields)

    decode: Decode = _rebuilt(Job, make, {}).model_validate_json
    return decode


def _msgspec(msgspec: Any) -> Decode:
    """The same classes as its structs."""

    def make(model: type, fields: Fields) -> Any:
        rows = [
            (name, declared) if default is ... else (name, declared, default)
            for name, (declared, default) in fields.items()
        ]
        return msgspec.defstruct(model.__name__, rows)

    decode: Decode = msgspec.json.Decoder(_rebuilt(Job, make, {})).decode
    return decode


def _rebuilt(model: type, make: Make, made: dict[type, Any]) -> Any:
    """An attrs class as one of another library, which allows None where our own decoder does."""
    if model not in made:
        attrs.resolve_types(model)
        fields = {}
        for field in attrs.fields(model):
            if field.name != "extra":
                is_needed = field.default is attrs.NOTHING
                declared = _translated(field.type, make, made)
                fields[field.name] = (declared, ...) if is_needed else (declared | None, None)
        made[model] = make(model, fields)
    return made[model]


def _translated(declared: Any, make: Make, made: dict[type, Any]) -> Any:
    if attrs.has(declared):
        return _rebuilt(declared, make, made)
    arguments = [
        argument if argument is ... else _translated(argument, make, made)
        for argument in get_args(declared)
    ]
    origin = get_origin(declared)
    if origin in {Union, UnionType}:
        return Union[tuple(arguments)]  # noqa: UP007 - of as many as there are
    if origin is not None:
        return (dict if origin is Mapping else origin)[tuple(arguments)]
    return declared
