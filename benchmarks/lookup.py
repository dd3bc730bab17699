"""The cost of a lookup: sieve-async, bare aiohttp, and the clients of other services.

All ask the same server over loopback, in short blocks that alternate, so that a noisy machine slows
all of them down. The figure is the processor time of the client: an asyncio program works on one
processor, so it bounds the number of requests.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from benchmarks import clients, harness
from benchmarks.server import cpu_meter, sample, serving

OURS, SESSION, FULL = "get_job", "get_job, caller's session", "get_job, full job"
BARE, STREAMS = "aiohttp + orjson", "asyncio streams"
JOBS = {
    "queued": "queued",
    "compact": "compact",
    "full": "full",
    "differs": "full, functions differ",
    "outputs200": "200 outputs",
    "outputs5000": "5,000 outputs",
}
_PACKAGES = ("sieve-async", "aiohttp", "attrs", "cattrs", "orjson", *clients.PEERS)
_HEADER = (
    *("job", "in flight", "client", "bytes", "us", "middle 80 %", "per CPU second", "per second"),
    *("server us", "to bare aiohttp"),
)
_LEGEND = """\
us               processor time of the client for one lookup, the median of all rounds
server us        processor time of the server for one lookup
to bare aiohttp  lookups per CPU second over those of aiohttp with the same parser"""
# httpx closes connections that were idle for longer.
_MAX_ROUND = 5.0
# By job: the target of our own connection, and that of a caller's session.
_BOUNDS = {"compact": (1.15, 0.76), "full": (0.90, 0.63), "differs": (0.88, None)}
_SERVICES = ("openai", "anthropic", "replicate", "fal-client")


@attrs.frozen
class Case:
    """One comparison.

    Each client of other services has a comparison of its own, so that its blocks follow soon enough
    for its connections to stay open.
    """

    kind: str
    in_flight: int
    rounds: int
    peer: str | None = None  # the one such client that takes part


CASES = (
    Case("compact", 64, 25),
    *(Case("compact", 64, 15, peer) for peer in clients.PEERS),
    Case("full", 64, 25),
    Case("differs", 64, 25),
    Case("compact", 1, 10),
    *(Case("compact", 1, 5, peer) for peer in clients.PEERS),
    Case("compact", 512, 10),
    Case("compact", 512, 5, "httpx"),
    Case("queued", 64, 15),
    Case("outputs200", 64, 10),
    Case("outputs5000", 4, 8),
)
_QUICK_CASES = (Case("compact", 4, 2), *(Case("compact", 4, 2, peer) for peer in clients.PEERS))


@asynccontextmanager
async def candidates(settings: Mapping[str, Any]) -> AsyncIterator[Mapping[str, harness.Candidate]]:
    """Open all clients of a case, and close them at the end."""
    url, case = settings["url"], Case(**settings["case"])
    in_flight = case.in_flight
    async with AsyncExitStack() as stack:
        found = await _ours(stack, url, case)
        if case.peer is not None:
            client = await stack.enter_async_context(clients.open_client(url, in_flight))
            found[FULL] = clients.Lookup("full", client.get_job, clients.id_attribute)
            found[case.peer] = await clients.PEERS[case.peer][1](stack, url, in_flight, case.kind)
        elif not settings.get("is_second"):
            jobs = f"{url}/v2/jobs"
            again = await stack.enter_async_context(clients.open_session(in_flight))
            tuned = await stack.enter_async_context(clients.open_tuned_session(in_flight))
            others = {
                f"aiohttp + {clients.PARSER}, again": clients.bare(again, jobs),
                f"aiohttp + {clients.PARSER}, tuned": clients.bare(tuned, jobs),
                STREAMS: clients.streams(stack, url),
            }
            for name, get in others.items():
                found[name] = clients.Lookup(case.kind, get, clients.id_item)
        for name, lookup in found.items():
            await clients.verify(name, lookup)
        yield {
            name: harness.Candidate(clients.lookups(lookup, in_flight), len(sample(lookup.kind)))
            for name, lookup in found.items()
        }


async def _ours(stack: AsyncExitStack, url: str, case: Case) -> dict[str, clients.Lookup]:
    """sieve-async, and aiohttp with the same parser."""
    session = await stack.enter_async_context(clients.open_session(case.in_flight))
    client = await stack.enter_async_context(clients.open_client(url, case.in_flight))
    suffix = "" if clients.PARSER == "orjson" else ", no orjson"
    found = {
        f"aiohttp + {clients.PARSER}": clients.Lookup(
            case.kind, clients.bare(session, f"{url}/v2/jobs"), clients.id_item
        ),
        f"{OURS}{suffix}": clients.Lookup(case.kind, client.get_job, clients.id_attribute),
    }
    if case.peer is not None:
        return found
    theirs = await stack.enter_async_context(clients.open_session(case.in_flight))
    through = await stack.enter_async_context(clients.open_client(url, case.in_flight, theirs))
    found[f"{SESSION}{suffix}"] = clients.Lookup(case.kind, through.get_job, clients.id_attribute)
    return found


@attrs.frozen
class Found:
    """The results of one case."""

    case: Case
    results: harness.Results

    def baseline(self, name: str) -> str:
        """Bare aiohttp with the parser of this candidate, as far as it took part."""
        wanted = "aiohttp + json" if name.endswith("no orjson") else BARE
        return wanted if wanted in self.results.times else "aiohttp + json"

    def row(self, name: str) -> tuple[str, ...]:
        """The row of a candidate in the table."""
        results, baseline = self.results, self.baseline(name)
        median, low, high = harness.spread([1e6 * seconds for seconds in results.cpu(name)])
        return (
            JOBS[self.case.kind],
            f"{self.case.in_flight}",
            name,
            f"{results.notes[name]}",
            f"{median:.1f}",
            f"{low:.1f}-{high:.1f}",
            f"{1e6 / median:.0f}",
            f"{results.per_second(name):.0f}",
            f"{results.server_microseconds(name):.1f}",
            "1" if name == baseline else str(results.ratio(name, baseline)),
        )

    def records(self, number: int) -> Iterator[dict[str, object]]:
        """The same as JSON, with the number of the case."""
        for name in self.results.times:
            yield {
                "case": number,
                "job": JOBS[self.case.kind],
                "in_flight": self.case.in_flight,
                "client": name,
                "bytes": self.results.notes[name],
                "microseconds": round(self.results.microseconds(name), 2),
                "to_bare_aiohttp": attrs.asdict(self.results.ratio(name, self.baseline(name))),
                "per_second": round(self.results.per_second(name), 1),
            }


def measure(case: Case, *, quick: bool) -> Found:
    """Run one case."""
    harness.allow_sockets(12 * case.in_flight + 100)
    count = case.in_flight if quick else max(case.in_flight, min(2 * case.in_flight, 128))
    plan = harness.Plan(case.rounds, 0.0 if quick else 0.06, count, case.in_flight // 4)
    with serving() as url, cpu_meter(url) as server_cpu:
        settings = {"url": url, "case": attrs.asdict(case)}
        is_compared = case.peer is None
        with harness.open_workers(
            "benchmarks.lookup", settings, is_compared=is_compared
        ) as workers:
            return Found(case, harness.compare(workers, plan, server_cpu))


def report(found: Sequence[Found]) -> str:
    """The table, and what is to be known about it."""
    rows = [_HEADER, *(one.row(name) for one in found for name in one.results.times)]
    lines = [harness.table(rows, left=3), _LEGEND]
    share, name = max(
        (one.results.server_microseconds(name) / one.results.microseconds(name), name)
        for one in found
        for name in one.results.times
    )
    lines.append(f"The server took at most {share:.2f} of the time of the client ({name}).")
    lines += [
        f"A round with {one.case.peer} took {one.results.longest_round:.1f} s: clients that use "
        f"httpx close idle connections after 5 s, so this figure is no good."
        for one in found
        if one.case.peer is not None and one.results.longest_round > _MAX_ROUND
    ]
    if absent := [
        name for name, (module, _) in clients.PEERS.items() if not harness.is_installed(module)
    ]:
        lines.append(f"Not installed: {', '.join(absent)}.")
    return "\n".join(lines)


def targets(found: Sequence[Found]) -> Iterator[harness.Target]:
    """The targets that these cases say something of."""
    cases = [one for one in found if one.case.in_flight == 64 and OURS in one.results.times]
    for one in cases:
        if one.case.peer is None and one.case.kind in _BOUNDS and BARE in one.results.times:
            for name, bound in zip((OURS, SESSION), _BOUNDS[one.case.kind], strict=True):
                if bound is not None:
                    subject = f"{name}, job: {JOBS[one.case.kind]}, to {BARE}"
                    yield harness.at_least(subject, one.results.ratio(name, BARE).median, bound)
    peers = {
        one.case.peer: one.results.ratio(OURS, one.case.peer).median
        for one in cases
        if one.case.peer is not None
    }
    services = {name: peers[name] for name in _SERVICES if name in peers}
    if services:
        fastest = min(services, key=services.__getitem__)
        subject = f"get_job to {fastest}, the fastest of {', '.join(services)}"
        yield harness.at_least(subject, services[fastest], 11)
    if "aiobotocore" in peers:
        yield harness.at_least("get_job to aiobotocore", peers["aiobotocore"], 6)


def to_json(found: Sequence[Found]) -> str:
    """All figures, for `plot` and other programs."""
    record = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "versions": harness.versions(_PACKAGES),
        "lookups": [record for number, one in enumerate(found) for record in one.records(number)],
    }
    return json.dumps(record, indent=1) + "\n"


def main(arguments: Sequence[str] | None = None) -> list[harness.Target]:
    """Measure and print."""
    parser = harness.parser_of("lookup", __doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, help="only these")
    parser.add_argument("--in-flight", type=int, nargs="+", help="only with so many at once")
    parser.add_argument(
        "--clients", nargs="+", choices=["aiohttp", *clients.PEERS], help="only these"
    )
    options = parser.parse_args(arguments)
    found = []
    for case in _QUICK_CASES if options.quick else CASES:
        is_wanted = (
            case.kind in (options.jobs or JOBS)
            and case.in_flight in (options.in_flight or [case.in_flight])
            and (case.peer or "aiohttp") in (options.clients or ["aiohttp", *clients.PEERS])
        )
        if is_wanted and (case.peer is None or harness.is_installed(clients.PEERS[case.peer][0])):
            found.append(measure(case, quick=options.quick))
            if options.json:
                options.json.write_text(to_json(found), "utf-8")
    print(harness.in_one_line(harness.versions(_PACKAGES)))
    print(report(found))
    return list(targets(found))


if __name__ == "__main__":
    harness.finish(main())
