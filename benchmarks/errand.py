"""What an errand has at hand."""

import random
from collections.abc import Callable

import attrs

from benchmarks import encoded_lives
from benchmarks.encoded_lives import Life
from benchmarks.ledger import Ledger
from benchmarks.troubled_server import now
from sieve_async import SieveClient


@attrs.frozen
class Errand:
    """What one errand has at hand.

    Attributes:
        client: The client, which others use at the same time.
        draws: What is drawn.
        ledger: Where to write.
        longest: The longest life, in milliseconds.
        open: Makes another client.
    """

    client: SieveClient
    draws: random.Random
    ledger: Ledger
    longest: int
    open: Callable[[], SieveClient]

    def job(self) -> Life:
        """A new job, for whom a wait begins."""
        self.ledger.waits += 1
        return self._life(encoded_lives.job)

    def build(self) -> Life:
        """A new build, for which a wait begins."""
        self.ledger.waits += 1
        return self._life(encoded_lives.build)

    def jobs(self) -> dict[str, Life]:
        """Some new jobs."""
        lives = [self.job() for _ in range(self.draws.randint(1, 40))]
        return {life.id: life for life in lives}

    def seconds(self) -> float:
        """A time in which some jobs end and others do not."""
        return self.draws.uniform(0, self.longest / 1000)

    def _life(self, draw: Callable[..., Life]) -> Life:
        number = self.draws.getrandbits(64)
        return draw(self.draws, now(), longest=self.longest, number=number)
