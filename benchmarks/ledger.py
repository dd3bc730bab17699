"""What became of waits, against the truth."""

from collections import Counter
from collections.abc import Iterable

import attrs

from benchmarks.encoded_lives import Life
from benchmarks.troubled_server import now
from sieve_async import ClientClosedError, Job, JobOutcome, WaitTimeoutError


@attrs.define
class Ledger:
    """What was begun, and what became of it.

    Attributes:
        waits: How many waits were begun; each job of a watch is one.
        ended: How many of them ended with the truth.
        stopped: How many were broken off on purpose: by a deadline, a cancellation, a close.
        lost: How many did not end though their job did; an errand that hangs counts as one.
        duplicated: How many ended once more.
        wrong: How many ended otherwise than the truth, or before it.
        refused: Plain lookups that ended in an error, as some do when so much fails.
        reasons: What went wrong, in a word, and how often.
    """

    waits: int = 0
    ended: int = 0
    stopped: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    refused: int = 0
    reasons: Counter[str] = attrs.field(factory=Counter)

    def judge(self, life: Life, *, is_true: bool, reason: str) -> None:
        """Note the end of a wait; one that comes before its time is never true."""
        if is_true and now() >= life.ends_at - 1:
            self.ended += 1
        else:
            self.blame(reason)

    def blame(self, reason: str) -> None:
        """Note something that must not be."""
        self.wrong += 1
        self.reasons[reason] += 1

    def judge_job(self, life: Life, job: Job) -> None:
        """Note how a job ended: its status, and each of its outputs."""
        made = [life.output(life.runs - 1, place) for place in range(life.outputs)]
        is_true = (job.id, str(job.status)) == (life.id, life.end) and texts(job.outputs) == made
        self.judge(life, is_true=is_true, reason="a job that is not as it ended")

    def judge_outcome(self, life: Life, outcome: JobOutcome) -> None:
        """Note an outcome of a watch."""
        if outcome.job is not None:
            self.judge_job(life, outcome.job)
        elif isinstance(outcome.error, WaitTimeoutError | ClientClosedError):
            self.stopped += 1
        else:
            self.blame(f"an outcome with {type(outcome.error).__name__}")


def texts(found: Iterable[object]) -> list[str]:
    """The data of outputs, each of which is a text."""
    return [str(getattr(output, "data", output)) for output in found]
