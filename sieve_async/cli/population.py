"""Jobs and builds with made-up lives, the same for the same seed."""

import random
from typing import Literal, TypeAlias

import attrs

from sieve_async.testing import FakeSieve

End: TypeAlias = Literal["finished", "error", "cancelled"]

_ENDS: tuple[End, ...] = ("finished",) * 8 + ("error", "cancelled")


@attrs.frozen
class ScriptedJob:
    """A job and how it will end."""

    id: str
    ends: End
    restarts: int


def add_jobs(sieve: FakeSieve, count: int, *, seed: int) -> list[ScriptedJob]:
    """Add jobs of a few seconds: of ten, eight finish, one fails and one is cancelled.

    The first of them restarts once.
    """
    dice = random.Random(seed)
    scripted = [
        ScriptedJob(f"job-{number:02}", _ENDS[number % len(_ENDS)], 1 if number == 0 else 0)
        for number in range(count)
    ]
    for job in scripted:
        sieve.add_job(
            job.id,
            queued=dice.uniform(0, 2),
            processing=dice.lognormvariate(0.8, 0.5),
            ends=job.ends,
            restarts=job.restarts,
            outputs=[{"url": f"https://files.example/{job.id}.mp4"}],
        )
    return scripted
