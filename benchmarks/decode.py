"""The time from the bytes of an answer to a model, over parsing them alone.

All get the same bytes, in short blocks that alternate, with and without orjson in two processes.
"""

import importlib
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from benchmarks import harness
from benchmarks.bodies import BODIES
from benchmarks.server import sample, sample_id
from sieve_async import Job, endpoints
from sieve_async.decode import parse_model, parse_page, parse_state
from sieve_async.messages import Request, Response

Decode: TypeAlias = Callable[[bytes], Any]

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
_PACKAGES = ("sieve-async", "attrs", "cattrs", "orjson")
_HEADER = ("answer", "decoded by", "bytes", "us", "middle 80 %", "to orjson", "to json")
_FUNCTIONS = 500
_BOUNDS = {"full": 0.10, "compact": 0.10, "outputs5000": 0.20, "page": 0.5}


@asynccontextmanager
async def candidates(settings: Mapping[str, Any]) -> AsyncIterator[Mapping[str, harness.Candidate]]:
    """Our decoder and the parsers alone, once they have shown that they find the same."""
    has_orjson = harness.is_installed("orjson")
    found: dict[str, harness.Candidate] = {}
    for kind in settings["kinds"]:
        decoders = {f"{_OURS}{'' if has_orjson else ', no orjson'}": _ours(kind)}
        if not settings.get("is_second"):
            decoders |= _parsers()
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
        found: object = len(result["data"] if isinstance(result, dict) else result.jobs)
        expected: object = len(BODIES["page"]["data"])
    else:
        found = result["id"] if isinstance(result, dict) else result.id
        expected = sample_id(kind)
    if found != expected:
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
