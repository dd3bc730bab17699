"""How something scripted looks at one moment of its life: pure, no clock, no HTTP."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Literal, Self, TypeAlias

import attrs

By: TypeAlias = Literal["time", "polls"]
ByOrHand: TypeAlias = Literal["time", "polls", "manual"]


@attrs.frozen
class Look:
    """What one look at a life shows: the stages begun so far, and the depth into the last one."""

    statuses: tuple[str, ...]
    begun: tuple[float, ...]
    depth: float

    @property
    def status(self) -> str:
        """The stage that life is in."""
        return self.statuses[-1]

    def first(self, *statuses: str) -> float | None:
        """Say when the first stage with one of these names began, if one has."""
        named = zip(self.statuses, self.begun, strict=True)
        return next((moment for status, moment in named if status in statuses), None)


@attrs.frozen
class Life:
    """Stages one after the other, each with the position where it starts; the last has no end."""

    statuses: tuple[str, ...]
    starts: tuple[float, ...]

    @classmethod
    def of(cls, spans: Iterable[tuple[str, float]], ends: str | None) -> Self:
        """Lay out the spans; without an end, the last stage goes on for ever."""
        statuses, lengths = zip(*spans, (ends, math.inf), strict=True)
        # Rounded as positions are, or 0.1 + 0.2 would end after 0.3.
        starts = (0.0, *(round(start, 6) for start in accumulate(lengths[:-1])))
        stages = len(statuses) if ends is not None else len(statuses) - 1
        return cls(statuses[:stages], starts[:stages])

    def going_on(self, status: str, start: float) -> Self:
        """Add a stage; the last one so far has an end now."""
        return type(self)((*self.statuses, status), (*self.starts, start))

    def stage_at(self, position: float) -> int:
        """Find the stage; one that takes no time is passed over."""
        return bisect_right(self.starts, position) - 1


@attrs.define
class Course:
    """How far one life has come, by the clock or by the number of looks at it.

    A life that is told by hand goes by the clock too, as far as it has been told.
    """

    life: Life
    by: ByOrHand
    added_at: float
    _looks: int = attrs.field(default=0, init=False)
    # Of a life that goes by polls: when each stage so far began to be shown.
    _shown_at: tuple[float, ...] = attrs.field(default=(), init=False)

    def __attrs_post_init__(self) -> None:
        if self.by == "polls":
            self._show(0, self.added_at)

    def step(self, now: float) -> None:
        """Count one look: a life that goes by polls comes as far as this look is to show."""
        if self.by == "polls":
            self._show(self._looks, now)
            self._looks += 1

    def place(self, now: float) -> tuple[int, float]:
        """Find the stage that life is in, and the depth into it, without counting a look."""
        if self.by == "polls":
            position: float = max(0, self._looks - 1)
        else:
            # In whole microseconds, as documents tell time: 0.3 - 0.1 must not be before 0.2.
            position = round(now - self.added_at, 6)
        stage = self.life.stage_at(position)
        return stage, position - self.life.starts[stage]

    def view(self, now: float) -> Look:
        """See what there is to see, without counting a look."""
        stage, depth = self.place(now)
        begun = self._shown_at or tuple(
            self.added_at + start for start in self.life.starts[: stage + 1]
        )
        return Look(self.life.statuses[: stage + 1], begun, depth)

    def begins(self, stage: int) -> float:
        """Say when the clock will bring a stage: never, when there is none or others bring it."""
        if self.by != "time" or stage >= len(self.life.starts):
            return math.inf
        return self.added_at + self.life.starts[stage]

    def tell(self, status: str, now: float) -> None:
        """Begin the next stage of a life that is told by hand."""
        self.life = self.life.going_on(status, round(now - self.added_at, 6))

    def _show(self, position: int, now: float) -> None:
        new = self.life.stage_at(position) + 1 - len(self._shown_at)
        self._shown_at += (now,) * new


def check_spans(by: str, *, words: tuple[str, ...], spans: Mapping[str, float]) -> None:
    """Refuse lengths of stages that cannot be lived.

    Raises:
        ValueError: A span is negative or not a number, or counts polls in fractions.
    """
    check_word("by", by, words)
    for name, span in spans.items():
        if not span >= 0:  # written so that NaN is refused too
            message = f"{name} must be zero or more, not {span!r}"
            raise ValueError(message)
        if by == "polls" and span % 1 != 0:
            message = f"{name} counts polls and must be a whole number, not {span!r}"
            raise ValueError(message)


def check_word(name: str, word: str | None, words: tuple[str | None, ...]) -> None:
    """Refuse a word that is not one of the words allowed.

    Raises:
        ValueError: It is none of them.
    """
    if word not in words:
        allowed = ", ".join(repr(each) for each in words)
        message = f"{name} must be one of {allowed}, not {word!r}"
        raise ValueError(message)
