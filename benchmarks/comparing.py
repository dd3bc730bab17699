"""Comparing on a noisy machine: what ran side by side is compared in pairs, and medians count."""

import platform
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

import attrs


@attrs.frozen
class Ratio:
    """How many times as fast something is as its yardstick: 0.5 takes twice the time.

    Attributes:
        middle: The median over all rounds.
        low: A tenth of the rounds lie below.
        high: A tenth of the rounds lie above.
    """

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f}-{self.high:.2f})"


@attrs.frozen
class Verdict:
    """Whether one target is met.

    Attributes:
        subject: What is measured.
        found: What it came to.
        bound: What it must be.
        is_met: Whether it is.
    """

    subject: str
    found: float
    bound: str
    is_met: bool

    def __str__(self) -> str:
        word = "holds " if self.is_met else "misses"
        return f"  {word}  {self.subject}: {self.found:.4g} ({self.bound})"


def at_most(subject: str, found: float, bound: float) -> Verdict:
    """A target that is not to be exceeded."""
    return Verdict(subject, found, f"at most {bound:g}", found <= bound)


def at_least(subject: str, found: float, bound: float) -> Verdict:
    """A target that is to be reached."""
    return Verdict(subject, found, f"at least {bound:g}", found >= bound)


def judged(verdicts: Iterable[Verdict]) -> str:
    """What is said of the targets below a table."""
    lines = [str(verdict) for verdict in verdicts]
    return "\n".join(["Targets:", *lines]) if lines else "Of no target is anything said here."


def ratio(yardstick: Sequence[float], times: Sequence[float]) -> Ratio:
    """Compare the times of two that ran in the same rounds."""
    pairs = [ours / theirs for ours, theirs in zip(yardstick, times, strict=True)]
    return Ratio(*middle(pairs))


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and the bounds of the middle 80 %."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return statistics.median(values), tenths[0], tenths[-1]


def table(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Lay out rows under a header; the first columns to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python and of these packages, as far as they are installed."""
    found = {"Python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def in_a_line(found: dict[str, str]) -> str:
    """Versions, or whatever has a name and a number, as a text."""
    return ", ".join(f"{name} {number}" for name, number in found.items())
