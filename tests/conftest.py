"""What every test gets: a server, a client, and a check that nothing is left behind."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from helpers.http_helpers import Document, Get
from helpers.leak_checks import KEY
from sieve_async import SieveClient
from sieve_async.testing import FakeSieve

# The loop turns so often for nothing before virtual time moves, lest an answer under way is missed.
# On loopback few turns do, and the default of 42 makes the tests three times slower.
_TURNS = 4
# What the description of a timer tells of where it leads.
_OURS = ("sieve_async", "aiohttp")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let virtual time move on soon."""
    for item in items:
        if item.get_closest_marker("looptime") is not None:
            item.add_marker(pytest.mark.looptime(noop_cycles=_TURNS), append=False)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of the person who runs it."""
    for name in ("SIEVE_API_KEY", "SIEVE_API_KEY_FILE", "SIEVE_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each test there are no more descriptors than before, and no log line holds the key."""
    caplog.set_level(logging.DEBUG)
    before = _descriptors()
    yield
    if _descriptors() > before:
        gc.collect()
    assert _descriptors() <= before
    assert KEY not in caplog.text


@pytest.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """After each asynchronous test there are no more tasks than before, and no timers of ours."""
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not _timers(asyncio.get_running_loop())


@pytest.fixture
async def sieve() -> AsyncIterator[FakeSieve]:
    """A running server that keeps the truth."""
    async with FakeSieve(api_key=KEY) as server:
        yield server


@pytest.fixture
async def client(sieve: FakeSieve) -> AsyncIterator[SieveClient]:
    """A client of that server, with the settings that users get."""
    async with SieveClient(KEY, base_url=sieve.url) as one:
        yield one


@pytest.fixture
async def session(sieve: FakeSieve) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client of that server, which knows the key."""
    key = {"X-API-Key": sieve.api_key}
    async with aiohttp.ClientSession(sieve.url, headers=key) as opened:
        yield opened


@pytest.fixture
def get(session: aiohttp.ClientSession) -> Get:
    """Get the document of a path, with its status as ``http``."""

    async def fetch(path: str) -> Document:
        async with session.get(path) as response:
            document: Document = await response.json()
            return document | {"http": response.status}

    return fetch


def _timers(loop: asyncio.AbstractEventLoop) -> list[asyncio.TimerHandle]:
    """Timers that would call the package or the library below it."""
    scheduled: list[asyncio.TimerHandle] = getattr(loop, "_scheduled", [])
    waiting = (timer for timer in scheduled if not timer.cancelled())
    return [timer for timer in waiting if any(name in repr(timer) for name in _OURS)]


def _descriptors() -> int:
    """How many descriptors this process has open (nothing on systems that do not tell)."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0
