"""Comparing on a noisy machine: what ran side by side is compared in pairs, and medians count."""

import statistics
from collections.abc import Sequence

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


def ratio(yardstick: Sequence[float], times: Sequence[float]) -> Ratio:
    """Compare the times of two that ran in the same rounds."""
    pairs = [ours / theirs for ours, theirs in zip(yardstick, times, strict=True)]
    if len(pairs) == 1:
        return Ratio(pairs[0], pairs[0], pairs[0])
    tenths = statistics.quantiles(pairs, n=10, method="inclusive")
    return Ratio(statistics.median(pairs), tenths[0], tenths[-1])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows under a header; the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
