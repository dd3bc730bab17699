"""Pages that are wrong: where the next one begins, what stands on none and what on several."""

import pytest

from helpers.list_server import ListServer, row
from helpers.raw_server import respond


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
