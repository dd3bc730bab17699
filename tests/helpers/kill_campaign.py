"""Kills a program that watches a state file, again and again, and checks what it did."""

import contextlib
import random
import sqlite3
from collections import Counter
from pathlib import Path

import attrs

from helpers.children.serve import status_of
from helpers.processes import run_program, run_server


@attrs.frozen
class CampaignResult:
    """What came of a campaign."""

    printed: Counter[str]
    effects: Counter[str]
    acknowledged: int
    expected: Counter[str]

    @property
    def printed_again(self) -> int:
        """How many lines were printed more than once."""
        return (self.printed - self.expected).total()


def run_campaign(
    path: Path, *, number: int, kills: int, seconds: float, mode: str, seed: int = 0
) -> CampaignResult:
    """Watch so many jobs, which end within some seconds, with kills at random moments."""
    choose = random.Random(seed)
    printed: Counter[str] = Counter()
    with run_server(number=number, seconds=seconds) as url:
        for _ in range(kills):
            # One in four comes while ids are added, one in four before the first outcome.
            lines = choose.choice([1, 2, *(2 + choose.randrange(number // kills) for _ in "ab")])
            printed += _run(url, path, number, mode, lines=lines)
        printed += _run(url, path, number, mode, lines=None)
    expected = Counter(f"job-{each} {status_of(each)}" for each in range(number))
    return CampaignResult(printed, _effects(path), _acknowledged(path), expected)


def _run(url: str, path: Path, number: int, mode: str, *, lines: int | None) -> Counter[str]:
    """Run to the end, or kill after so many lines; returns the outcomes that were printed."""
    printed: list[str] = []
    with run_program("watch_state", url, path, number, mode) as running:
        assert running.stdout is not None
        while (lines is None or len(printed) < lines) and (line := running.stdout.readline()):
            printed.append(line)
        if lines is not None:
            running.kill()
        printed += running.stdout.readlines()
        running.wait()
    complete = (line.strip() for line in printed if line.endswith("\n"))
    return Counter(line for line in complete if line not in {"open", "added"})


def _effects(path: Path) -> Counter[str]:
    with contextlib.closing(sqlite3.connect(path)) as reader:
        tables = reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'effects'").fetchall()
        rows = reader.execute("SELECT job_id, status FROM effects").fetchall() if tables else []
    return Counter(f"{job_id} {status}" for job_id, status in rows)


def _acknowledged(path: Path) -> int:
    question = "SELECT count(*) FROM sieve_outcomes WHERE acknowledged_at IS NOT NULL"
    with contextlib.closing(sqlite3.connect(path)) as reader:
        count: int = reader.execute(question).fetchone()[0]
    return count
