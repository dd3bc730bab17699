"""How something scripted changes over time: pure, no clock, no HTTP."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Literal, Self, TypeAlias

import attrs

from sieve_async.testing.documents import check_at_least, check_choice

ByClock: TypeAlias = Literal["time", "polls"]
By: TypeAlias = Literal["time", "polls", "manual"]


@attrs.frozen
class Snapshot:
    """The stages begun so far, the moment each began, and the depth into the last one."""

    statuses: tuple[str, ...]
    begun: tuple[float, ...]
    depth: float

    @property
    def status(self) -> str:
        """The present stage."""
        return self.statuses[-1]

    def first(self, *statuses: str) -> float | None:
        """Return when the first stage with one of these names began."""
        named = zip(self.statuses, self.begun, strict=True)
        return next((moment for status, moment in named if status in statuses), None)


@attrs.frozen
class Timeline:
    """Stages one after the other, each with the position where it starts; the last has no end."""

    statuses: tuple[str, ...]
    starts: tuple[float, ...]

    @classmethod
    def of(cls, spans: Iterable[tuple[str, float]], last: str | None) -> Self:
        """Lay out spans before a last status; without one the last span has no end."""
        statuses, lengths = zip(*spans, (last, math.inf), strict=True)
        # Rounded as positions are, or 0.1 + 0.2 would end after 0.3.
        starts = (0.0, *(round(start, 6) for start in accumulate(lengths[:-1])))
        stages = len(statuses) if last is not None else len(statuses) - 1
        return cls(statuses[:stages], starts[:stages])

    def extended(self, status: str, start: float) -> Self:
        """Add a stage."""
        return type(self)((*self.statuses, status), (*self.starts, start))

    def stage_at(self, position: float) -> int:
        """Find the stage; one that takes no time is passed over."""
        return bisect_right(self.starts, position) - 1


@attrs.define
class Progress:
    """How far a timeline has come: by the clock, by the number of polls, or as recorded."""

    timeline: Timeline
    by: By
    added_at: float
    _polls: int = attrs.field(default=0, init=False)
    # By polls: when each stage so far was first shown.
    _shown_at: tuple[float, ...] = attrs.field(default=(), init=False)

    def __attrs_post_init__(self) -> None:
        if self.by == "polls":
            self._show(0, self.added_at)

    def poll(self, now: float) -> None:
        """Count a poll, and move to what this poll is to show."""
        if self.by == "polls":
            self._show(self._polls, now)
            self._polls += 1

    def place(self, now: float) -> tuple[int, float]:
        """Return the present stage and the depth into it."""
        if self.by == "polls":
            position: float = max(0, self._polls - 1)
        else:
            # In whole microseconds, as documents show times: 0.3 - 0.1 must not be before 0.2.
            position = round(now - self.added_at, 6)
        stage = self.timeline.stage_at(position)
        return stage, position - self.timeline.starts[stage]

    def status(self, now: float) -> str:
        """Return the present status."""
        return self.timeline.statuses[self.place(now)[0]]

    def snapshot(self, now: float) -> Snapshot:
        """Return what there is to see now."""
        stage, depth = self.place(now)
        starts = self.timeline.starts[: stage + 1]
        begun = self._shown_at or tuple(self.added_at + start for start in starts)
        return Snapshot(self.timeline.statuses[: stage + 1], begun, depth)

    def begins(self, stage: int) -> float:
        """Return when the clock will bring a stage: never, unless it goes by time."""
        if self.by != "time" or stage >= len(self.timeline.starts):
            return math.inf
        return self.added_at + self.timeline.starts[stage]

    def record(self, status: str, now: float) -> None:
        """Begin a stage now; from here on, stages begin only by this method."""
        if self.by != "manual":
            seen = self.snapshot(now)
            starts = tuple(round(begun - self.added_at, 6) for begun in seen.begun)
            self.timeline, self.by, self._shown_at = Timeline(seen.statuses, starts), "manual", ()
        self.timeline = self.timeline.extended(status, round(now - self.added_at, 6))

    def _show(self, position: int, now: float) -> None:
        new = self.timeline.stage_at(position) + 1 - len(self._shown_at)
        self._shown_at += (now,) * new


def check_spans(by: str, choices: tuple[str, ...], spans: Mapping[str, float]) -> None:
    """Check the lengths of stages.

    Raises:
        ValueError: A length is negative or not a number, or counts polls in fractions.
    """
    check_choice("by", by, choices)
    check_at_least(0, **spans)
    for name, span in spans.items():
        if by == "polls" and span % 1 != 0:
            message = f"{name} counts polls and must be a whole number, not {span!r}"
            raise ValueError(message)
