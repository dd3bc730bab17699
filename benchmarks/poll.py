"""What waiting costs: a poll of a job that has not ended, many waits for one job, and retrying.

All ask the same server over loopback, in short blocks that take turns; those of the last group do
without a network, to show what stands between a call and its request.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing

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
from benchmarks.server import Meter, serving
from benchmarks.workers import Measured, Size, compare, working

_STAGE = "benchmarks.polls"
_PACKAGES = ("sieve-async", "aiohttp", "backoff", "orjson")
_HEADER = ("group", "", "requests", "us", "middle 80 %", "to the first of the group")
_POLL = "processing: a poll"


def report(measured: Measured) -> str:
    """The table, and whether the target is met."""
    rows = [_HEADER]
    for key in measured.tooks:
        group, _, name = key.partition(": ")
        times, first = measured.processor(key), _first(measured, group)
        median, low, high = middle([1e6 * seconds for seconds in times])
        rows.append(
            (
                group,
                name,
                f"{measured.notes[key] or ''}",
                f"{median:.1f}",
                f"{low:.1f}-{high:.1f}",
                "1" if key == first else str(ratio(measured.processor(first), times)),
            )
        )
    lines = [table(rows, left=2), "us: processor time of the client, the median of all rounds"]
    return "\n".join([*lines, judged(verdicts(measured))])


def _first(measured: Measured, group: str) -> str:
    return next(key for key in measured.tooks if key.startswith(f"{group}: "))


def verdicts(measured: Measured) -> Iterator[Verdict]:
    """The target for a poll that is not terminal."""
    yardstick = _first(measured, "processing")
    found = ratio(measured.processor(yardstick), measured.processor(_POLL))
    yield at_least(f"{_POLL}, to {yardstick}", found.middle, 0.92)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.poll", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size, to see that it runs")
    parser.add_argument("--in-flight", type=int, default=64, help="how many requests at once")
    options = parser.parse_args(arguments)
    size = Size(2, 0.0, 1) if options.quick else Size(30, 0.06, 2, warm=2)
    with serving() as url, closing(Meter(url)) as meter:
        settings = {"url": url, "in_flight": options.in_flight}
        with working(_STAGE, settings) as worker:
            measured = compare([worker], size, meter)
    print(in_a_line(versions(_PACKAGES)))
    print(report(measured))


if __name__ == "__main__":
    main()
