"""The time from the bytes of an answer to a model, over parsing them alone.

All get the same bytes, in short blocks that alternate, with and without orjson in two processes.
"""

import importlib
import itertools
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import GenericAlias, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

import attrs
import cattrs.preconf.json

from benchmarks import harness
from benchmarks.server import sample, sample_id
from sieve_async import InputOutput, Job, endpoints
from sieve_async.decode import parse_model, parse_page, parse_state
from sieve_async.messages import Request, Response

Decode: TypeAlias = Callable[[bytes], Any]
Fields: TypeAlias = Mapping[str, tuple[Any, Any]]
"""By name: the type, and the default; an ellipsis for none."""

JOBS = {
    "queued": "queued",
    "compact": "compact",
    "full": "full",
    "differs": "full, functions differ",
    "outputs200": "200 outputs",
    "outputs5000": "5,000 outputs",
    "processing": "one poll",
    "page": "page of 500 jobs",
}
_OURS, _BASELINE, _PLAIN_BASELINE = "sieve_async", "orjson.loads alone", "json.loads alone"
_PACKAGES = ("sieve-async", "attrs", "cattrs", "orjson", "pydantic", "msgspec")
_HEADER = ("answer", "decoded by", "bytes", "us", "middle 80 %", "to orjson", "to json")
_FUNCTIONS = 500
_BOUNDS = {"full": 0.10, "compact": 0.10, "outputs5000": 0.20, "page": 0.5}


@asynccontextmanager
async def candidates(settings: Mapping[str, Any]) -> AsyncIterator[Mapping[str, harness.Candidate]]:
    """All decoders that are installed, once they have shown that they find the same."""
    has_orjson = harness.is_installed("orjson")
    found: dict[str, harness.Candidate] = {}
    for kind in settings["kinds"]:
        decoders = {f"{_OURS}{'' if has_orjson else ', no orjson'}": _ours(kind)}
        if not settings.get("is_second"):
            decoders |= _parsers()
            if kind not in {"processing", "page"}:
                decoders |= _models()
        count = _FUNCTIONS if kind == "differs" else 1
        bodies = [sample(kind, number) for number in range(count)]
        for name, decode in decoders.items():
            _verify(name, kind, decode(bodies[0]))
            found[f"{kind} {name}"] = harness.Candidate(_block(decode, bodies), len(bodies[0]))
    yield found


def _block(decode: Decode, bodies: Sequence[bytes]) -> harness.Block:
    endless = itertools.cycle(bodies)

    async def block(count: int) -> None:
        for body in itertools.islice(endless, count):
            decode(body)

    return block


def _verify(name: str, kind: str, result: Any) -> None:
    if kind == "page":
        rows = result["data"] if isinstance(result, dict) else result.jobs
        is_right = len(rows) == len(json.loads(sample(kind))["data"])
    else:
        found = result["id"] if isinstance(result, dict) else result.id
        is_right = found == sample_id(kind)
    if not is_right:
        raise RuntimeError(f"{name} decoded something else")


def _ours(kind: str) -> Decode:
    """From a response to a value, with all checks on the way."""
    request: Request[Job] = endpoints.get_job(sample_id(kind))
    if kind == "page":
        return lambda body: parse_page(request, Response(200, (), body, str))
    if kind == "processing":
        return lambda body: parse_state(request, Response(200, (), body, str))
    return lambda body: parse_model(request, Response(200, (), body, str))


def _parsers() -> dict[str, Decode]:
    parsers: dict[str, Decode] = {_PLAIN_BASELINE: json.loads}
    if harness.is_installed("orjson"):
        parsers[_BASELINE] = importlib.import_module("orjson").loads
    return parsers


def _models() -> dict[str, Decode]:
    """The same classes by other means."""
    decoders = {"cattrs as it comes": _cattrs(_parsers().get(_BASELINE, json.loads))}
    for name, make in (("pydantic", _pydantic), ("msgspec", _msgspec)):
        if harness.is_installed(name):
            decoders[name] = make(importlib.import_module(name))
    return decoders


def _cattrs(loads: Decode) -> Decode:
    """Its own converter for JSON; only what an output is it cannot know."""
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

    converter.register_structure_hook(Union[one, many], output)  # noqa: UP007 - built at run time
    return lambda body: converter.structure(loads(body), job)


def _pydantic(pydantic: Any) -> Decode:
    def make(model: type, fields: Fields) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a field has the name of an old method
            return pydantic.create_model(model.__name__, **fields)

    decode: Decode = _rebuilt(Job, make, {}).model_validate_json
    return decode


def _msgspec(msgspec: Any) -> Decode:
    def make(model: type, fields: Fields) -> Any:
        rows = [
            (name, declared) if default is ... else (name, declared, default)
            for name, (declared, default) in fields.items()
        ]
        return msgspec.defstruct(model.__name__, rows)

    decode: Decode = msgspec.json.Decoder(_rebuilt(Job, make, {})).decode
    return decode


def _rebuilt(model: type, make: Callable[[type, Fields], Any], made: dict[type, Any]) -> Any:
    """An attrs class as one of another library, with None allowed where there is a default."""
    if model not in made:
        attrs.resolve_types(model)
        fields = {}
        for field in attrs.fields(model):
            if field.name != "extra":
                declared = _translated(field.type, make, made)
                is_required = field.default is attrs.NOTHING
                fields[field.name] = (declared, ...) if is_required else (declared | None, None)
        made[model] = make(model, fields)
    return made[model]


def _translated(declared: Any, make: Callable[[type, Fields], Any], made: dict[type, Any]) -> Any:
    if attrs.has(declared):
        return _rebuilt(declared, make, made)
    arguments = [
        argument if argument is ... else _translated(argument, make, made)
        for argument in get_args(declared)
    ]
    origin = get_origin(declared)
    if origin in {Union, UnionType}:
        return Union[tuple(arguments)]  # noqa: UP007 - built at run time
    if origin is not None:
        return (dict if origin is Mapping else origin)[tuple(arguments)]
    return declared


def report(results: harness.Results) -> str:
    """The table, by answer."""
    rows: list[Sequence[str]] = [_HEADER]
    for key in sorted(results.times, key=lambda key: list(JOBS).index(key.partition(" ")[0])):
        kind, _, name = key.partition(" ")
        median, low, high = harness.spread([1e6 * seconds for seconds in results.cpu(key)])
        ratios = [
            str(results.ratio(key, f"{kind} {baseline}"))
            if f"{kind} {baseline}" in results.times
            else ""
            for baseline in (_BASELINE, _PLAIN_BASELINE)
        ]
        note = f"{results.notes[key]}"
        rows.append((JOBS[kind], name, note, f"{median:.1f}", f"{low:.1f}-{high:.1f}", *ratios))
    legend = "us: processor time for one answer, the median of all rounds"
    return f"{harness.table(rows, left=2)}\n{legend}"


def targets(results: harness.Results) -> Iterator[harness.Target]:
    """The targets that these results say something of."""
    for kind, bound in _BOUNDS.items():
        ours, baseline = f"{kind} {_OURS}", f"{kind} {_BASELINE}"
        if ours in results.times and baseline in results.times:
            subject = f"decoding, {JOBS[kind]}, to {_BASELINE}"
            yield harness.at_least(subject, results.ratio(ours, baseline).median, bound)


def main(arguments: Sequence[str] | None = None) -> list[harness.Target]:
    """Measure and print."""
    options = harness.parser_of("decode", __doc__).parse_args(arguments)
    plan = harness.Plan(2, 0.0, 2) if options.quick else harness.Plan(30, 0.03, 2, warm_up=2)
    kinds = ["queued", "compact", "page"] if options.quick else list(JOBS)
    with harness.open_workers("benchmarks.decode", {"kinds": kinds}) as workers:
        results = harness.compare(workers, plan)
    print(harness.in_one_line(harness.versions(_PACKAGES)))
    print(report(results))
    return list(targets(results))


if __name__ == "__main__":
    harness.finish(main())
