"""The seam between sweeps and single looks."""

from typing import Protocol

from sieve_async.gate import Gate
from sieve_async.polling import Asking
from sieve_async.watching.outcome import JobOutcome
from sieve_async.watching.pace import Pace
from sieve_async.watching.troubles import Troubles
from sieve_async.watching.watch import Watch


class Scheduler(Protocol):
    """What a sweep needs of the watcher."""

    asking: Asking
    gate: Gate
    pace: Pace
    troubles: Troubles
    lists_fail_until: float

    def look_now(self, watch: Watch) -> None:
        """Look at a job by itself as soon as it is its turn."""

    def look_at(self, when: float, watch: Watch) -> None:
        """Look at a job by itself at some time."""

    def dispatch(self) -> None:
        """Begin with what is due."""

    def end(self, watch: Watch, outcome: JobOutcome) -> None:
        """Hand out how the watch of a job has ended."""

    def fail(self, error: BaseException) -> None:
        """End all calls with what must not be kept from anybody."""
