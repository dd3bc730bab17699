"""Jobs and builds whose whole life is written in their id: who knows the id knows the truth.

Lives go by the monotonic clock, which all processes of a machine share.
"""

import random

import attrs

QUEUED, PROCESSING, BUILDING = "queued", "processing", "building"
_ENDS_OF_JOBS, _WEIGHTS = ("finished", "error", "cancelled"), (80, 12, 8)
_ENDS_OF_BUILDS = ("ready", "error")
_ENDS = {end[0]: end for end in (*_ENDS_OF_JOBS, *_ENDS_OF_BUILDS)}


@attrs.frozen
class Life:
    """One life; times are in whole milliseconds.

    Attributes:
        end: With which status it ends.
        born: When it begins.
        queued: How long it is queued.
        run: How long one run takes.
        runs: How many runs there are; the last one counts.
        outputs: How many outputs each run makes, evenly over its time.
        number: What tells it from others that are alike.
    """

    end: str
    born: int
    queued: int
    run: int
    runs: int
    outputs: int
    number: int

    @property
    def id(self) -> str:
        """The id, which says all of this."""
        numbers = (self.born, self.queued, self.run, self.runs, self.outputs, self.number)
        return "-".join((self.end[0], *map(str, numbers)))

    @property
    def ends_at(self) -> int:
        """When it ends."""
        return self.born + self.queued + self.run * self.runs

    def status_at(self, now: float, busy: str = PROCESSING) -> str:
        """How far it is; ``busy`` is the word for what lies between the queue and the end."""
        if now >= self.ends_at:
            return self.end
        if now < self.born + self.queued:
            return QUEUED
        return busy

    def run_at(self, now: float) -> int:
        """Which run it is in, or was in last."""
        into = int(now) - self.born - self.queued
        return max(0, min(self.runs - 1, into // max(1, self.run)))

    def outputs_at(self, now: float) -> list[str]:
        """What this run has made so far."""
        run = self.run_at(now)
        into = now - self.born - self.queued - run * self.run
        share = 1.0 if now >= self.ends_at else max(0.0, into / max(1, self.run))
        return [self.output(run, place) for place in range(int(self.outputs * share))]

    def output(self, run: int, place: int) -> str:
        """One output, which no other job and no other run makes."""
        return f"{self.id}/{run}/{place}"


def read(written: str) -> Life | None:
    """The life of an id; None for an id that nobody bears."""
    letter, *numbers = written.split("-")
    if letter not in _ENDS or len(numbers) != 6:
        return None
    return Life(_ENDS[letter], *map(int, numbers))


def job(draws: random.Random, now: float, *, longest: int, number: int) -> Life:
    """Draw a job that begins now, or did so a while ago."""
    (end,) = draws.choices(_ENDS_OF_JOBS, _WEIGHTS)
    return Life(
        end=end,
        born=int(now) - draws.choice((0, 0, 0, longest // 2, 5 * longest)),
        queued=draws.choice((0, longest // 8, longest // 4)),
        run=draws.randint(0, longest * 3 // 4),
        runs=draws.choice((1, 1, 1, 1, 2)),
        outputs=draws.choice((0, 1, 1, 5, 20)),
        number=number,
    )


def build(draws: random.Random, now: float, *, longest: int, number: int) -> Life:
    """Draw a build that begins now."""
    end = draws.choice(_ENDS_OF_BUILDS)
    return Life(end, int(now), longest // 8, draws.randint(0, longest // 2), 1, 0, number)
