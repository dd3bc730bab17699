"""Rows and pages that are wrong: they cost requests, and never a wrong result."""

import pytest

from helpers.asserts import warnings_of
from helpers.http_helpers import now
from helpers.list_server import ListServer, row


@pytest.mark.looptime
@pytest.mark.parametrize(
    "bad",
    [None, 5, "j1", [], ["j1"], {}, {"id": "j1"}, {"status": "processing"}]
    + [row("j1") | {"id": wrong} for wrong in (1, None, ["j1"], {"id": "j1"}, True)]
    + [row("j1") | {"status": wrong} for wrong in (1, None, ["finished"], False)],
    ids=repr,
)
async def test_rows_that_cannot_be_read(bad: object) -> None:
    """A row that cannot be read says nothing, and disturbs no other row."""
    village = ListServer(
        lambda asked: ([bad, *(r for r in village.running(asked) if r["id"] != "j1"), bad], -1)
    )

    found = await village.watch()

    village.check_cost(found)
    others = [asked for asked in village.server.polls if asked.job_id != "j1"]
    assert len(others) <= 2 * 20 + 70  # the last two are polled


@pytest.mark.looptime
@pytest.mark.parametrize("word", ["finished", "error", "cancelled"])
async def test_rows_that_tell_of_an_end(word: str) -> None:
    """A row with a terminal status is proved by a look, and delivered as the look has it."""
    village = ListServer(
        lambda asked: (
            [row(job_id, word) for job_id, at in village.finish_times.items() if now() >= at]
            + village.running(asked),
            -1,
        )
    )

    found = await village.watch()

    village.check_cost(found)
    assert len(village.server.polls) <= 2 * 20 + 70


@pytest.mark.looptime
@pytest.mark.parametrize("word", ["finished", "cancelled"])
async def test_rows_that_lie_of_an_end(word: str) -> None:
    """Rows that say that running jobs have ended cost no more looks than polling would."""
    village = ListServer(
        lambda asked: ([row(r["id"], word) for r in village.running(asked)], -1),
        {f"j{n}": 600.0 + n for n in range(20)},
    )

    found = await village.watch()

    assert max(found[job_id] - village.finish_times[job_id] for job_id in found) <= 13
    assert len(village.server.polls) <= 2 * 20 * 130  # twice what polling needs


@pytest.mark.looptime
async def test_rows_that_lie_that_jobs_run() -> None:
    """A list that lags behind by ten seconds delays an end by no more than that."""
    village = ListServer(
        lambda asked: (
            [
                row(job_id)
                for job_id, at in village.finish_times.items()
                if now() < at + 10 and asked.query.get("status") == "processing"
            ],
            -1,
        )
    )

    found = await village.watch()

    assert max(found[job_id] - village.finish_times[job_id] for job_id in found) <= 23


@pytest.mark.looptime
async def test_word_that_no_list_has(caplog: pytest.LogCaptureFixture) -> None:
    """Jobs that go on in a status that is not asked for are polled no faster than by policy."""
    village = ListServer(
        lambda asked: (
            [row(j, "queued") for j in village.finish_times]
            if now() < 20 and asked.query.get("status") == "queued"
            else [],
            -1,
        ),
        {f"j{n}": 1200.0 + n for n in range(20)},
        word="started",
    )

    found = await village.watch()

    assert max(found[job_id] - village.finish_times[job_id] for job_id in found) <= 13
    assert len(village.server.polls) <= 1.5 * 20 * 180  # one and a half of what polling needs
    assert len([line for line in warnings_of(caplog) if "started" in line]) == 1


@pytest.mark.looptime
async def test_unknown_words_in_rows() -> None:
    """A row with an unknown word is a job that runs."""
    village = ListServer(
        lambda asked: ([row(r["id"], "started") for r in village.running(asked)], -1)
    )

    found = await village.watch()

    village.check_cost(found)
    assert len(village.server.polls) <= 2 * 20 + 70
