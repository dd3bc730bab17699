"""Minutes of churn: what leaks, what is lost, what is told twice or wrongly.

Waits, watches and streams of every kind begin, end, fail, are broken off and cancelled, at a server
in a process of its own that gives trouble on purpose. The truth is written in the ids. After each
round all has ended, and what is left is counted; slopes are fitted to that.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

from benchmarks import troubled_server
from benchmarks.comparing import table
from benchmarks.leaks import Bounds, Rest, broken, slopes
from benchmarks.soaking import Soak

_KIBIBYTE = 1024
_HEADER = ("minutes", "waits", "MiB", "objects", "tasks", "descriptors")
BOUNDS = Bounds(per_minute=512 * _KIBIBYTE, per_thousand=32 * _KIBIBYTE, objects=50, descriptors=72)


def main(arguments: Sequence[str] | None = None) -> None:
    """Soak, print, and exit with 1 if a bound breaks."""
    options = _parse(arguments)
    logging.getLogger("sieve_async").addHandler(logging.NullHandler())  # trouble is as it should be
    with troubled_server.serving(failing=options.failing, seed=options.seed) as url:
        complaints = asyncio.run(_soak(url, options))
    if complaints:
        sys.exit("\n".join(complaints))
    print("within all bounds")


async def _soak(url: str, options: argparse.Namespace) -> list[str]:
    minutes, longest = options.minutes, 2000
    seconds = max(1.0, min(10.0, minutes * 60 / 20))
    crew = options.crew
    if options.quick:
        minutes, seconds, longest, crew = 0.01, 0.3, 200, 12
    soak = Soak(url, seed=options.seed, crew=crew, longest=longest)
    first = await soak.rest()
    rests: list[Rest] = []
    print(table([_HEADER]))
    async with soak.open() as client:
        while not rests or rests[-1].minutes < minutes:
            rests.append(await soak.round(client, seconds))
            print(table([_HEADER, _row(rests[-1])]).partition("\n")[2], flush=True)
        requests = client.stats.requests
    last = await soak.rest()
    _report(soak, rests, requests)
    return broken(rests, first, last, soak.ledger, BOUNDS)


def _row(rest: Rest) -> Sequence[str]:
    return (
        f"{rest.minutes:.2f}",
        f"{rest.waits}",
        f"{rest.memory / _KIBIBYTE**2:.2f}",
        f"{rest.objects}",
        f"{rest.tasks}",
        f"{rest.descriptors}",
    )


def _report(soak: Soak, rests: Sequence[Rest], requests: int) -> None:
    ledger = soak.ledger
    print(
        f"\n{ledger.waits} waits: {ledger.ended} ended, {ledger.stopped} stopped on purpose, "
        f"{ledger.lost} lost, {ledger.duplicated} duplicated, {ledger.wrong} wrong; "
        f"{requests} requests of the client that stays, {ledger.refused} lookups refused"
    )
    for reason, count in ledger.reasons.most_common():
        print(f"  {count} times: {reason}")
    found = slopes(rests, BOUNDS)
    if found is None:
        print("too few rounds for slopes")
        return
    per_minute, per_thousand, objects = found
    print(
        f"memory {per_minute / _KIBIBYTE:+.1f} KiB a minute, "
        f"{per_thousand / _KIBIBYTE:+.1f} KiB for a thousand waits; "
        f"{objects:+.1f} objects for a thousand waits"
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=20241215, help="which churn")
    parser.add_argument("--crew", type=int, default=48, help="errands at once (%(default)s)")
    parser.add_argument(
        "--failing", type=float, default=0.05, help="the share of the answers that meet trouble"
    )
    parser.add_argument("--quick", action="store_true", help="toy size, to see that it runs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
