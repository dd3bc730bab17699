"""Fixtures of the fault tests."""

import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import trustme

from helpers.raw_server import RawServer


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that is not trusted by default."""
    return trustme.CA()


@pytest.fixture
async def other_origin() -> AsyncIterator[RawServer]:
    """Another origin, which must receive nothing."""
    async with RawServer() as other:
        yield other
    assert other.connections == 0


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Check that no thread is left but those of the loop's executor."""
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    assert [thread for thread in left if not thread.name.startswith("asyncio")] == []
