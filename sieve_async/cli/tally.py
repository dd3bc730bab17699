"""How far a watch of many jobs has come: counts, rate, and when it may end."""

from collections import Counter, deque
from collections.abc import Callable, Iterable

from sieve_async.cli.lines import duration, word_of
from sieve_async.models import JobStatus
from sieve_async.watching import JobOutcome

Running = tuple[str, JobStatus | None, float]

# The rate is that of so many ends.
_RECENT = 500
_ORDER = ("finished", "ready", "error", "cancelled", "not-found", "timeout")


class Tally:
    """What has ended, and what has not.

    Args:
        clock: The time, in seconds.
        ids: The ids that are known from the start; None when they come one by one.
    """

    def __init__(self, clock: Callable[[], float], ids: Iterable[str] | None) -> None:
        self._clock = clock
        self.began_at = clock()
        self.is_complete = ids is not None
        # A dict, for its order and for taking any of them away at once.
        self.waiting = dict.fromkeys(ids or ())
        self._known: set[str] = set()
        self.ends: Counter[str] = Counter()
        self._recent: deque[float] = deque(maxlen=_RECENT)

    @property
    def ended(self) -> int:
        """How many have ended."""
        return self.ends.total()

    @property
    def total(self) -> int:
        """How many there are, as far as is known."""
        return self.ended + len(self.waiting)

    @property
    def elapsed(self) -> float:
        """For how long this goes on."""
        return self._clock() - self.began_at

    @property
    def rate(self) -> float | None:
        """How many end in a second; None while there is too little to tell."""
        if len(self._recent) < 3:
            return None
        took = self._clock() - self._recent[0]
        return len(self._recent) / took if took > 0 else None

    @property
    def remaining(self) -> float | None:
        """In how many seconds all may have ended, at this rate; None when nobody knows."""
        rate = self.rate
        return len(self.waiting) / rate if rate and self.is_complete else None

    def expect(self, job_id: str) -> None:
        """Take note of an id that has just come; one that comes again changes nothing."""
        if job_id not in self._known:
            self._known.add(job_id)
            self.waiting[job_id] = None

    def end(self, outcome: JobOutcome) -> None:
        """Take note of an outcome."""
        self.waiting.pop(outcome.job_id, None)
        self.ends[word_of(outcome)] += 1
        self._recent.append(self._clock())

    def counts(self, running: Iterable[Running]) -> dict[str, int]:
        """How many are how: the ends first, then what still runs."""
        words = Counter("waiting" if status is None else str(status) for _, status, _ in running)
        known = [word for word in _ORDER if self.ends[word]]
        ends = {word: self.ends[word] for word in [*known, *sorted(self.ends.keys() - {*known})]}
        return ends | {
            word: words[word] + ends.get(word, 0) for word in sorted(words, reverse=True)
        }

    def headline(self) -> str:
        """How many of how many, how fast, and how long it takes."""
        parts = [f"{self.ended:,} of {self.total:,}{'' if self.is_complete else '+'} ended"]
        if self.rate is not None:
            parts.append(f"{self.rate:.1f}/s" if self.rate >= 1 else f"{self.rate * 60:.1f}/min")
        if self.remaining:
            parts.append(f"about {duration(self.remaining)} left")
        return ", ".join(parts)

    def line(self, running: Iterable[Running]) -> str:
        """All of it in one line."""
        counts = ", ".join(f"{count:,} {word}" for word, count in self.counts(running).items())
        return f"{self.headline()}: {counts}" if counts else self.headline()


def slowest(running: Iterable[Running], most: int) -> list[Running]:
    """Those that are processed for the longest time, or else wait for it the longest."""
    processing = [each for each in running if each[1] is JobStatus.PROCESSING]
    return sorted(processing, key=lambda each: -each[2])[:most]
