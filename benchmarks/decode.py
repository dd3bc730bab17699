"""How long it takes to make a model of the bytes of an answer, over parsing them alone.

All get the same bytes, in short blocks that take turns, with and without orjson in two processes.
"""

import argparse
from collections.abc import Iterator, Sequence

from benchmarks.comparing import (
    Verdict,
    at_least,
    in_a_line,
    judged,
    middle,
    ratio,
    table,
    versions,
)
from benchmarks.workers import Measured, Size, compare, with_and_without_orjson

_STAGE = "benchmarks.decoders"
_PACKAGES = ("sieve-async", "attrs", "cattrs", "orjson", "pydantic", "msgspec")
_BODIES = {
    "queued": "queued, nulls",
    "finished": "full",
    "compact": "compact",
    "various": "full, functions differ",
    "many": "200 outputs",
    "most": "5,000 outputs",
}
_OURS, _YARDSTICK, _PLAIN_YARDSTICK = "sieve_async", "orjson.loads alone", "json.loads alone"
_HEADER = ("job", "bytes to models by", "bytes", "us", "middle 80 %", "to orjson", "to json")


def report(measured: Measured) -> str:
    """The table, who is missing in it, and whether the targets are met."""
    rows = [_HEADER]
    for key in sorted(measured.tooks, key=_place):
        word, _, name = key.partition(" ")
        times = measured.processor(key)
        median, low, high = middle([1e6 * seconds for seconds in times])
        rows.append(
            (
                _BODIES[word],
                name,
                f"{measured.notes[key]}",
                f"{median:.1f}",
                f"{low:.1f}-{high:.1f}",
                _to(measured, f"{word} {_YARDSTICK}", key),
                _to(measured, f"{word} {_PLAIN_YARDSTICK}", key),
            )
        )
    lines = [table(rows, left=2), "us: processor time for one, the median of all rounds"]
    if measured.absent:
        lines.append(f"Left out, for not installed: {', '.join(sorted(set(measured.absent)))}.")
    return "\n".join([*lines, judged(verdicts(measured))])


def _place(key: str) -> int:
    return list(_BODIES).index(key.partition(" ")[0])


def _to(measured: Measured, yardstick: str, key: str) -> str:
    if yardstick not in measured.tooks:
        return ""
    if yardstick == key:
        return "1"
    return str(ratio(measured.processor(yardstick), measured.processor(key)))


def verdicts(measured: Measured) -> Iterator[Verdict]:
    """The targets that this says something of."""
    for word, bound in (("finished", 0.10), ("compact", 0.10), ("most", 0.20)):
        ours, yardstick = f"{word} {_OURS}", f"{word} {_YARDSTICK}"
        if ours in measured.tooks and yardstick in measured.tooks:
            found = ratio(measured.processor(yardstick), measured.processor(ours))
            yield at_least(f"job: {_BODIES[word]}, to {_YARDSTICK}", found.middle, bound)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size, to see that it runs")
    options = parser.parse_args(arguments)
    size = Size(2, 0.0, 2) if options.quick else Size(30, 0.03, 2, warm=2)
    words = ["queued", "finished"] if options.quick else list(_BODIES)
    with with_and_without_orjson(_STAGE, {"words": words}) as workers:
        measured = compare(workers, size)
    print(in_a_line(versions(_PACKAGES)))
    print(report(measured))


if __name__ == "__main__":
    main()
