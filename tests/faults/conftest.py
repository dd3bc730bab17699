"""What every fault case is looked at for, besides what every test is."""

import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import trustme

from helpers.raw_server import RawServer


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
async def stranger() -> AsyncIterator[RawServer]:
    """Another origin, to which not a byte may go."""
    async with RawServer() as other:
        yield other
    assert other.connections == 0


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """After each case there are no more threads than before, but those that the loop keeps."""
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    assert [thread for thread in left if not thread.name.startswith("asyncio")] == []
