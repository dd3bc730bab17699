"""What it takes to watch a thousand jobs or a hundred thousand until each has ended.

The same jobs for everybody, over real sockets on loopback and in virtual time, each run in a
process of its own. Durations are lognormal, a median of 30 s with a sigma of 1.5; 5 % of all
answers fail: 500, 502, 503 or a dropped connection.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from benchmarks.comparing import table
from benchmarks.targets import SWEEPS, Costs, verdicts
from benchmarks.watchers import Cost, Run

_ROOT = Path(__file__).parent.parent
_MEBIBYTE = 1024 * 1024
_MANY_SLOTS = 2048
_CUT_FROM = 100_000
_HEADER = (
    "",
    "requests",
    "of lists",
    "MB",
    "client s",
    "ms/job",
    "MiB",
    "delay s",
    "95 %",
    "by duration",
    "longest 5 %",
    "most/s",
    "lost/twice/wrong",
)
_LEGEND = """\
naive        asyncio.gather of one coroutine per job: aiohttp (64 connections) and json, every 2 s
poll         SieveClient, Limits(max_connections=64, polls_per_second=None) unless it says otherwise
long_poll    the same with max_connections=2048, of which at most half are held by the server
sweep        the same as poll
client s     processor time without what the server took within the same process
MiB          what the process, the server's connections included, grew by at its peak
by duration  delay by duration of the job, on average
longest 5 %  requests for the longest twentieth of the jobs, without those of lists"""


def runs(jobs: int, options: argparse.Namespace) -> dict[str, Run]:
    """The runs with so many jobs, by what the table calls them."""
    common = {
        "jobs": jobs,
        "failing": options.failing,
        "queued": options.queued,
        "latency": options.latency,
    }
    minutes = options.minutes if jobs >= _CUT_FROM else None
    cut = "" if minutes is None else f", first {minutes:g} min"
    return {
        f"naive{cut}": Run(way="naive", minutes=minutes, **common),
        f"poll{cut}": Run(way="poll", minutes=minutes, **common),
        "poll, 100/s": Run(way="poll", per_second=100.0, **common),
        "long_poll": Run(way="long_poll", slots=_MANY_SLOTS, **common),
        "sweep, 100/s": Run(way="list", per_second=100.0, **common),
        **{name: Run(way="list", **common) for name in SWEEPS},
    }


def perform(run: Run) -> Cost:
    """Run in a process of its own, so that its memory is that of this run."""
    settings = json.dumps(attrs.asdict(run))
    command = [sys.executable, "-m", "benchmarks.watchers", settings]
    done = subprocess.run(  # noqa: S603 - nothing in it comes from outside
        command, cwd=_ROOT, stdout=subprocess.PIPE, check=True
    )
    return Cost(**json.loads(done.stdout))


def _rows(jobs: int, costs: dict[str, Cost]) -> Iterator[Sequence[str]]:
    for name, cost in costs.items():
        yield (
            name,
            f"{cost.requests}",
            f"{cost.lists}",
            f"{cost.received / 1e6:.1f}",
            f"{cost.client:.1f}",
            f"{1e3 * cost.client / jobs:.2f}",
            f"{cost.memory / _MEBIBYTE:.1f}",
            f"{cost.delay:.2f}",
            f"{cost.delay_95:.2f}",
            f"{cost.relative:.4f}",
            f"{cost.longest}",
            f"{cost.in_second}",
            f"{cost.lost}/{cost.duplicated}/{cost.wrong}",
        )


def _measure(jobs: int, options: argparse.Namespace) -> dict[str, Cost]:
    costs = {}
    for name, run in runs(jobs, options).items():
        if options.only and run.way not in options.only:
            continue
        began = time.monotonic()
        costs[name] = cost = perform(run)
        took, per_request = time.monotonic() - began, 1e6 * cost.server / cost.requests
        print(
            f"  {name}: {cost.passed:.0f} virtual seconds in {took:.0f} s, "
            f"{cost.delivered} outcomes, server {per_request:.0f} us a request",
            file=sys.stderr,
            flush=True,
        )
    return costs


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watch_many", description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1_000, 10_000], metavar="N")
    parser.add_argument("--only", nargs="+", help="naive, poll, long_poll or sweep")
    parser.add_argument("--full", action="store_true", help="100,000 jobs too: most of an hour")
    parser.add_argument("--quick", action="store_true", help="toy size, to see that it runs")
    parser.add_argument(
        "--minutes",
        type=float,
        default=1.0,
        help=f"virtual minutes that naive and poll have with {_CUT_FROM} jobs or more",
    )
    parser.add_argument("--failing", type=float, default=0.05, help="the share of failing answers")
    parser.add_argument(
        "--queued", type=float, default=0.0, help="the share of its life that a job is queued"
    )
    parser.add_argument(
        "--latency", type=float, default=0.0, help="virtual seconds from a request to its answer"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and exit with 1 if a target is missed."""
    options = _parse(arguments)
    sizes = [150] if options.quick else options.jobs + [_CUT_FROM] * options.full
    print(_LEGEND)
    costs: Costs = {}
    for jobs in sizes:
        costs[jobs] = _measure(jobs, options)
        print(f"\n{jobs} jobs, {options.failing:.0%} of the answers fail:")
        print(table([_HEADER, *_rows(jobs, costs[jobs])]), flush=True)
    print("\nTargets:")
    missed = 0
    for verdict in verdicts(costs):
        missed += not verdict.is_met
        print(verdict)
    if missed and not options.quick:
        sys.exit(f"{missed} missed")


if __name__ == "__main__":
    main()
