"""Populations by the thousand: made-up lives, the same for the same seed."""

import random
from collections.abc import Iterator

import attrs

from sieve_async.testing.jobs import JobEnd

# Of the logarithm of a run's length: two thirds are between 0.6 and 1.6 times the median.
SPREAD = 0.5


@attrs.frozen
class SeededJob:
    """What differs from job to job."""

    id: str
    queued: float
    processing: float
    ends: JobEnd
    restarts: int
    outputs: list[object]


@attrs.frozen(kw_only=True)
class Mixture:
    """What a population is made of."""

    queued: float
    processing: float
    error_rate: float
    cancel_rate: float
    restart_rate: float
    outputs: int

    def __attrs_post_init__(self) -> None:
        rates = (self.error_rate, self.cancel_rate, self.restart_rate)
        if not (all(0 <= rate <= 1 for rate in rates) and sum(rates[:2]) <= 1):
            message = f"rates must be from 0 to 1, errors and cancels together too, not {rates}"
            raise ValueError(message)

    def jobs(self, count: int, *, seed: int, prefix: str) -> Iterator[SeededJob]:
        """Make up so many jobs, just as many of each end as the rates say.

        Raises:
            ValueError: The number is negative.
        """
        if count < 0:
            message = f"count must be zero or more, not {count!r}"
            raise ValueError(message)
        dice = random.Random(seed)
        ends = self._ends(count)
        dice.shuffle(ends)
        restarting = set(dice.sample(range(count), round(count * self.restart_rate)))
        width = max(2, len(str(count - 1)))
        for number, end in enumerate(ends):
            job_id = f"{prefix}-{number:0{width}}"
            yield SeededJob(
                job_id,
                dice.uniform(0, self.queued),
                self.processing * dice.lognormvariate(0, SPREAD),
                end,
                int(number in restarting),
                [{"url": f"https://files.example/{job_id}-{n}.mp4"} for n in range(self.outputs)],
            )

    def _ends(self, count: int) -> list[JobEnd]:
        errors, cancels = round(count * self.error_rate), round(count * self.cancel_rate)
        words: tuple[tuple[JobEnd, int], ...] = (
            ("error", errors),
            ("cancelled", cancels),
            ("finished", count - errors - cancels),
        )
        # Cut, since two halves may both have been rounded up.
        return [word for word, times in words for _ in range(times)][:count]
