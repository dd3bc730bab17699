"""Sweeps that cost more than they tell are made less often, and never given up for good."""

import pytest
from asking import now
from faults.wire import Document
from stage import Asked
from village import Village, row

from sieve_async import PollPolicy

EVERY_SECOND = PollPolicy(minimum=1, maximum=1, growth=0, jitter=0)


@pytest.mark.looptime
async def test_lists_are_tried_again() -> None:
    """Lists of jobs that nobody watches are read again and again, in case the watched ones come."""
    own = [f"j{n}" for n in range(4)]

    def rows(asked: Asked) -> tuple[list[Document], int]:
        if now() < 400:
            return [row(f"other{asked.offset + n}") for n in range(500)], asked.offset + 500
        return village.running(asked), -1

    village = Village(rows, ends=dict.fromkeys(own, 600.0))

    found = await village.watch(EVERY_SECOND)

    useless = [asked for asked in village.stage.lists if asked.at < 400]
    assert len(useless) <= 4 * 20  # a look at each job costs as much as a sweep, once in a while
    # Once lists tell something, hardly any look is needed.
    assert sum(440 <= asked.at < 590 for asked in village.stage.looks) <= 8
    assert max(found.values()) <= 605
