"""What ``lookup`` compares: which job, how many at once, and who takes part."""

import attrs

from benchmarks.peers import PEERS

BODIES = {
    "queued": "queued, nulls",
    "finished": "full",
    "compact": "compact",
    "various": "full, functions differ",
    "many": "200 outputs",
    "most": "5,000 outputs",
}


@attrs.frozen
class Case:
    """One comparison.

    Attributes:
        word: Which job is looked up.
        in_flight: How many requests there are at once.
        rounds: How often each has its turn.
        peer: The one client of others that takes part; None for those who do the same by other
            means. Each has a comparison of its own, so that its turns come soon enough for it not
            to close its connections.
    """

    word: str
    in_flight: int
    rounds: int
    peer: str | None = None

    @property
    def is_full(self) -> bool:
        """Whether it is about the full job, where versions are looked up, too."""
        return self.word == "finished"


CLIENTS = {"httpx": "httpx"} | {name: module for name, (module, _) in PEERS.items()}
# The pools of some end at 100 connections, and what a job holds is no matter of other services.
CASES = (
    Case("finished", 64, 25),
    *(Case("finished", 64, 15, peer=name) for name in CLIENTS),
    Case("finished", 1, 10),
    *(Case("finished", 1, 5, peer=name) for name in CLIENTS),
    Case("finished", 512, 10),
    Case("finished", 512, 5, peer="httpx"),
    Case("queued", 64, 15),
    Case("queued", 64, 10, peer="httpx"),
    Case("compact", 64, 25),
    Case("various", 64, 15),
    Case("many", 64, 15),
    Case("many", 64, 10, peer="httpx"),
    Case("most", 4, 8),
    Case("most", 4, 5, peer="httpx"),
)
QUICK_CASES = (
    Case("finished", 4, 2),
    *(Case("finished", 4, 2, peer=name) for name in CLIENTS),
    Case("most", 1, 2),
)
