"""What watching many jobs must reach, and whether it does."""

import statistics
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from benchmarks.comparing import Verdict, at_most
from benchmarks.watchers import Cost

Costs: TypeAlias = dict[int, dict[str, Cost]]
"""By the number of jobs, and by what the table calls the run."""

# What the luck of single answers brings differs from one to the next, and so does the noise of the
# machine: each must reach what can be counted, and their median what is timed.
SWEEPS = ("list", "sweep once more", "sweep again")

_PACED = 100
# Evenly spread: no tenth of a second has more than a fifth above its share.
_MOST_IN_TENTH = 12


def verdicts(costs: Costs) -> Iterator[Verdict]:
    """All targets that the runs say something of, whichever their sizes."""
    for jobs, by_name in costs.items():
        for name, cost in by_name.items():
            faults = cost.lost + cost.duplicated + cost.wrong
            yield at_most(f"{jobs} jobs, {name}: lost, duplicated or wrong", faults, 0)
            if name == "poll, 100/s":
                yield at_most(f"{jobs} jobs, {name}: most in a second", cost.in_second, _PACED)
                most = cost.in_tenth
                yield at_most(f"{jobs} jobs, {name}: most in 0.1 s", most, _MOST_IN_TENTH)
        if "naive" in by_name:  # from 100,000 jobs on it is cut, and says nothing of the others
            yield from _against_naive(jobs, by_name)
        if "long_poll" in by_name:
            yield from _of_long_poll(jobs, by_name["long_poll"])


def _against_naive(jobs: int, by_name: Mapping[str, Cost]) -> Iterator[Verdict]:
    naive = by_name["naive"]
    if poll := by_name.get("poll"):
        subject = f"{jobs} jobs, poll to naive"
        yield at_most(f"{subject}: requests", poll.requests / naive.requests, 1)
        yield at_most(f"{subject}: delay by duration", poll.relative / naive.relative, 0.55)
        longest = poll.longest / naive.longest
        yield at_most(f"{subject}: requests for the longest twentieth", longest, 0.6)
    sweeps = {name: by_name[name] for name in SWEEPS if name in by_name}
    if not sweeps or jobs < 10_000:  # the fewer jobs, the less is shared
        return
    for name, sweep in sweeps.items():
        share = sweep.requests / naive.requests
        yield at_most(f"{jobs} jobs, {name}: requests to naive", share, 1 / 20)
        yield at_most(f"{jobs} jobs, {name}: mean delay", sweep.delay, 5)
    client = statistics.median(sweep.client for sweep in sweeps.values())
    yield at_most(f"{jobs} jobs, sweeps: processor time to naive", client / naive.client, 0.1)


def _of_long_poll(jobs: int, cost: Cost) -> Iterator[Verdict]:
    subject, half = f"{jobs} jobs, long_poll", 1024
    yield at_most(f"{subject}: most held at once", cost.most_held, half)
    if jobs <= half:
        yield at_most(f"{subject}: mean delay", cost.delay, 0.2)
        found = cost.short
        name = f"{subject}: requests per job under ten minutes"
        yield Verdict(name, found, "fewer than 2", found < 2)
