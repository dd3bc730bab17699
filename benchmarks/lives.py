"""Jobs whose lives are drawn before they begin, and what was handed out of them."""

import math
import random
from array import array
from collections.abc import Sequence

import attrs

QUEUED, PROCESSING = "queued", "processing"
_ENDS, _WEIGHTS = ("finished", "error", "cancelled"), (94, 4, 2)
_MEDIAN, _SIGMA = 30.0, 1.5
# How long after its end a job must have been handed out, if a run is cut.
_LONGEST_ENDING = 30.0


@attrs.frozen
class Lives:
    """The lives of many jobs, which all begin at once.

    Attributes:
        ids: Their ids, which look like those of real jobs.
        durations: Seconds from the beginning to the end.
        queued: Seconds from the beginning until something is done.
        ends: With which status they end.
    """

    ids: Sequence[str]
    durations: Sequence[float]
    queued: Sequence[float]
    ends: Sequence[str]

    def status_at(self, number: int, age: float) -> str:
        """The status of a job so long after its beginning."""
        if age >= self.durations[number]:
            return self.ends[number]
        return PROCESSING if age >= self.queued[number] else QUEUED

    def changes(self) -> list[tuple[float, int, str]]:
        """All changes of status, in their order; the last thing is what it changes to."""
        begun = [(when, number, PROCESSING) for number, when in enumerate(self.queued) if when]
        ended = [(when, number, self.ends[number]) for number, when in enumerate(self.durations)]
        return sorted(begun + ended)

    def longest_twentieth(self) -> list[int]:
        """The numbers of the jobs that take longest."""
        by_duration = sorted(range(len(self.ids)), key=self.durations.__getitem__)
        return by_duration[-math.ceil(len(by_duration) / 20) :]


def draw(jobs: int, *, queued: float, seed: int = 20241215) -> Lives:
    """Draw lives: durations are lognormal, of which a share is spent in the queue."""
    draws = random.Random(seed)
    durations = array("d")
    for _ in range(jobs):
        # In whole milliseconds, for the clock that they run by is one of microseconds.
        durations.append(max(0.01, round(draws.lognormvariate(math.log(_MEDIAN), _SIGMA), 3)))
    return Lives(
        ids=[_id(draws) for _ in range(jobs)],
        durations=durations,
        queued=array("d", [round(duration * queued, 3) for duration in durations]),
        ends=draws.choices(_ENDS, _WEIGHTS, k=jobs),
    )


@attrs.define
class Deliveries:
    """What was handed out, against the truth.

    Attributes:
        lives: The truth.
        times: When each job was handed out, counted from its beginning.
        duplicated: How many were handed out once more.
        wrong: How many were handed out otherwise than they ended, or before.
    """

    lives: Lives
    times: "array[float]" = attrs.field(init=False)
    duplicated: int = 0
    wrong: int = 0
    _numbers: dict[str, int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.times = array("d", [math.nan]) * len(self.lives.ids)
        self._numbers = {job_id: number for number, job_id in enumerate(self.lives.ids)}

    def take(self, job_id: str, status: str, output: str, age: float) -> None:
        """Note what was handed out.

        Args:
            job_id: For which job.
            status: How it is said to have ended.
            output: What it is said to have made.
            age: When, counted from its beginning.
        """
        number = self._numbers[job_id]
        self.duplicated += not math.isnan(self.times[number])
        self.times[number] = age
        end, is_early = self.lives.ends[number], age < self.lives.durations[number]
        made = output_of(job_id) if end == "finished" else ""
        self.wrong += is_early or status != end or output != made

    def delays(self) -> list[tuple[float, float]]:
        """Delay and duration of each job that was handed out."""
        return [
            (when - duration, duration)
            for when, duration in zip(self.times, self.lives.durations, strict=True)
            if not math.isnan(when)
        ]

    def lost(self, cut_at: float) -> int:
        """How many have ended and were not handed out."""
        pairs = zip(self.times, self.lives.durations, strict=True)
        bound = cut_at - _LONGEST_ENDING
        return sum(math.isnan(when) and duration <= bound for when, duration in pairs)


def output_of(job_id: str) -> str:
    """What a job makes; no other makes the same."""
    return f"https://storage.example.com/jobs/{job_id}/dubbed.mp4?expires=1734230519"


def _id(draws: random.Random) -> str:
    digits = f"{draws.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
