"""What a lookup costs with the SDK, over bare aiohttp, and against the clients of other services.

All ask the same server over loopback, in short blocks that take turns, so that a noisy machine
slows all of them down. What counts is the processor time of the asking process: an asyncio program
does its work on one processor, so what a request takes of it bounds how many there can be.
"""

import argparse
import json
import resource
import statistics
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import attrs

from benchmarks.cases import BODIES, CASES, CLIENTS, QUICK_CASES, Case
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
from benchmarks.workers import Measured, Size, compare, with_and_without_orjson

_STAGE = "benchmarks.contenders"
_PACKAGES = (
    "sieve-async",
    "aiohttp",
    "attrs",
    "cattrs",
    "orjson",
    "httpx",
    "openai",
    "anthropic",
    "replicate",
    "fal-client",
    "aiobotocore",
)
_SESSIONS = 12
_HEADER = (
    "job",
    "at once",
    "client",
    "bytes",
    "us",
    "middle 80 %",
    "per CPU second",
    "per second",
    "server us",
    "to bare aiohttp",
)
_LEGEND = """\
us               processor time of the client for one lookup, the median of all rounds
server us        processor time of the server for one
to bare aiohttp  lookups per CPU second, over those of aiohttp with the same parser"""
_YARDSTICKS = ("aiohttp + orjson", "aiohttp + json")
_PEERS = ("openai", "anthropic", "replicate", "fal")


# httpx closes what was idle for longer, and takes some turns to recover from it.
_LONGEST_ROUND = 5.0


@attrs.frozen
class Found:
    """What one comparison has shown.

    Attributes:
        case: What was compared.
        measured: What each took.
    """

    case: Case
    measured: Measured

    def yardstick(self, name: str) -> str:
        """With whom one is compared: bare aiohttp with its parser, as far as it is there."""
        prefix = "version: " if "version" in name else ""
        wanted = _YARDSTICKS[1:] if name.endswith("no orjson") else _YARDSTICKS
        for yardstick in wanted:
            if prefix + yardstick in self.measured.tooks:
                return prefix + yardstick
        raise LookupError(name)

    def row(self, name: str) -> tuple[str, ...]:
        """What the table says of one."""
        measured, times = self.measured, self.measured.processor(name)
        yardstick = self.yardstick(name)
        median, low, high = middle([1e6 * seconds for seconds in times])
        to = "1" if name == yardstick else str(ratio(measured.processor(yardstick), times))
        return (
            BODIES[self.case.word],
            f"{self.case.in_flight}",
            name,
            f"{measured.notes[name]}",
            f"{median:.1f}",
            f"{low:.1f}-{high:.1f}",
            f"{1e6 / median:.0f}",
            f"{measured.per_second(name):.0f}",
            f"{1e6 * measured.server(name):.1f}",
            to,
        )

    def records(self, number: int) -> Iterator[dict[str, object]]:
        """The same for other programs, with the number of this comparison."""
        for name in self.measured.tooks:
            times = self.measured.processor(name)
            pace = ratio(self.measured.processor(self.yardstick(name)), times)
            yield {
                "case": number,
                "job": BODIES[self.case.word],
                "in_flight": self.case.in_flight,
                "client": name,
                "bytes": self.measured.notes[name],
                "microseconds": 1e6 * statistics.median(times),
                "to_bare_aiohttp": attrs.asdict(pace),
                "per_second": self.measured.per_second(name),
            }


_BOUNDS = {"finished": 0.63, "various": 0.63, "compact": 0.76}  # by the word of the job


def verdicts(found: Sequence[Found]) -> Iterator[Verdict]:
    """The targets that these say something of."""
    for one in found:
        if one.case.peer is None and one.case.in_flight == 64:
            bound = _BOUNDS.get(one.case.word)
            if bound is not None:
                yield from _to_aiohttp(one, "get_job", bound)
                yield from _to_aiohttp(one, "get_job, no orjson", bound)
    yield from _to_peers(found, _PEERS, 9)
    yield from _to_peers(found, ("aiobotocore",), 5)


def _to_aiohttp(found: Found, name: str, bound: float) -> Iterator[Verdict]:
    if name in found.measured.tooks:
        yardstick = found.yardstick(name)
        pace = ratio(found.measured.processor(yardstick), found.measured.processor(name))
        job = BODIES[found.case.word]
        yield at_least(f"{name}, job: {job}, to bare {yardstick}", pace.middle, bound)


def _to_peers(found: Sequence[Found], peers: Sequence[str], bound: float) -> Iterator[Verdict]:
    """As many times as many lookups as the fastest of them."""
    paces: dict[str, float] = {}
    for one in found:
        peer, measured = one.case.peer, one.measured
        if (
            peer is not None
            and peer in peers
            and one.case.in_flight == 64
            and "get_job" in measured.tooks
        ):
            pace = ratio(measured.processor(peer), measured.processor("get_job"))
            paces[peer] = pace.middle
    if paces:
        fastest = min(paces, key=paces.__getitem__)
        subject = f"get_job to {fastest}, the fastest of {', '.join(paces)}"
        yield at_least(subject, paces[fastest], bound)


def report(found: Sequence[Found]) -> str:
    """The table, who is missing in it, and whether the targets are met."""
    rows = [_HEADER, *(one.row(name) for one in found for name in one.measured.tooks)]
    lines = [table(rows, left=3), _LEGEND]
    busiest = max(
        (one.measured.server(name) / statistics.median(one.measured.processor(name)), name)
        for one in found
        for name in one.measured.tooks
    )
    lines.append(
        f"The server took at most {busiest[0]:.2f} of what the client took ({busiest[1]})."
    )
    lines += [
        f"A round took {one.measured.longest_round:.1f} s: that is long enough for the clients "
        f"that use httpx to close their connections, and they may be at a disadvantage."
        for one in found
        if one.measured.longest_round > _LONGEST_ROUND
    ]
    if absent := [name for name, module in CLIENTS.items() if find_spec(module) is None]:
        lines.append(f"Left out, for not installed: {', '.join(absent)}.")
    return "\n".join([*lines, judged(verdicts(found))])


def _allow_sockets(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def measure(case: Case, *, quick: bool) -> Found:
    """Run one comparison."""
    _allow_sockets(_SESSIONS * case.in_flight + 100)
    fewest = case.in_flight if quick else max(case.in_flight, min(2 * case.in_flight, 128))
    size = Size(case.rounds, 0.0 if quick else 0.06, fewest, case.in_flight // 4)
    settings = {
        "word": case.word,
        "in_flight": case.in_flight,
        "versions": case.is_full and case.peer is None,
        "peer": case.peer,
    }
    with serving() as url, closing(Meter(url)) as meter:
        settings["url"] = url
        # What the lack of orjson means for us is shown once, without the others.
        both = case.peer is None
        with with_and_without_orjson(_STAGE, settings, both=both) as workers:
            return Found(case, compare(workers, size, meter))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lookup", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy size, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures, too")
    parser.add_argument("--jobs", nargs="+", choices=BODIES, help="only these")
    parser.add_argument("--in-flight", type=int, nargs="+", help="only with so many at once")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _parse(arguments)
    found = []
    for case in QUICK_CASES if options.quick else CASES:
        if case.word not in (options.jobs or BODIES):
            continue
        if case.in_flight not in (options.in_flight or [case.in_flight]):
            continue
        if case.peer is not None and find_spec(CLIENTS[case.peer]) is None:
            continue
        found.append(measure(case, quick=options.quick))
        if options.json:
            options.json.write_text(_record(found), "utf-8")
    print(in_a_line(versions(_PACKAGES)))
    print(report(found))


def _record(found: Sequence[Found]) -> str:
    """All figures so far, for other programs."""
    record = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "versions": versions(_PACKAGES),
        "lookups": [record for number, one in enumerate(found) for record in one.records(number)],
    }
    return json.dumps(record, indent=1) + "\n"


if __name__ == "__main__":
    main()
