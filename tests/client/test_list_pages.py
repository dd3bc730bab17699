"""Pages that are wrong: where the next one begins, what stands on none and what on several."""

import pytest

from helpers.list_server import ListServer, row
from helpers.raw_server import respond
from sieve_async import PollPolicy


@pytest.mark.looptime
@pytest.mark.parametrize(
    "next_offset",
    [-5, 0, 500, "500", "next", 1.5, True, None, [], {}, ..., 10**12, 10**40, -(10**40)],
    ids=repr,
)
async def test_next_offsets(next_offset: object) -> None:
    """No next offset, however wrong, makes sweeps go on for ever, or loses an outcome."""
    village = ListServer(
        lambda asked: (village.running(asked) if asked.offset == 0 else [], next_offset)
    )

    found = await village.watch()

    village.check_cost(found)
    assert len(village.server.lists) <= 4 * 60
    assert len(village.server.polls) <= 2 * 20 + 70


@pytest.mark.looptime
async def test_next_offset_that_is_refused() -> None:
    """A next offset that the server itself refuses makes nobody wait for ever."""
    refused = respond({"detail": []}, status=422)
    village = ListServer(
        lambda asked: (village.running(asked)[:10], 2**63 - 1),
        fault=lambda asked: refused if asked.offset > 2**62 else None,
    )

    found = await village.watch()

    village.check_cost(found)


@pytest.mark.looptime
async def test_pages_without_end() -> None:
    """Lists that always say there is more are read no further than is worth it."""
    village = ListServer(lambda asked: ([row(f"x{asked.offset}")], asked.offset + 1))

    found = await village.watch()

    village.check_cost(found)
    assert len(village.server.lists) <= 50 * 20


@pytest.mark.looptime
async def test_same_page_for_ever() -> None:
    """Nor are lists that show the same page for every offset."""
    village = ListServer(
        lambda asked: (village.running(asked)[:5], asked.offset + 500),
        {f"j{n}": 30.0 + n / 10 for n in range(400)},
    )

    found = await village.watch()

    assert max(found.values()) <= 70 + 13
    assert len(village.server.lists) <= 4000


@pytest.mark.looptime
async def test_missing_from_all_pages() -> None:
    """A job that no page shows though it runs is polled, as one of another organisation."""
    village = ListServer(
        lambda asked: ([r for r in village.running(asked) if r["id"] != "j7"], -1),
        {f"j{n}": 3000.0 for n in range(20)},
    )

    await village.watch(PollPolicy(min_interval=2, max_interval=60, growth=0.5, jitter=0))

    looks = [asked.at for asked in village.server.polls if asked.job_id == "j7"]
    assert len(looks) <= 12 + 3000 / 60 + 3
    assert len(village.server.polls) - len(looks) <= 2 * 20


@pytest.mark.looptime
async def test_duplicates() -> None:
    """A row that stands on two pages, or twice on one, is one job."""
    village = ListServer(
        lambda asked: (
            [r for r in village.running(asked) for _ in range(2)],
            asked.offset + 500 if asked.offset < 1500 else -1,
        )
    )

    found = await village.watch()

    village.check_cost(found)
    assert len(village.server.polls) <= 2 * 20 + 70
