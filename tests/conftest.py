"""Fixtures of all tests: a server, a client, and checks that nothing is left behind."""

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

# Idle iterations of the loop before virtual time advances. The default of 42 makes the tests three
# times slower; on loopback a response needs few iterations.
_IDLE_ITERATIONS = 4
# Modules whose pending timers are leaks.
_CHECKED_MODULES = ("sieve_async", "aiohttp")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set the idle iterations of all tests in virtual time."""
    for item in items:
        if item.get_closest_marker("looptime") is not None:
            item.add_marker(pytest.mark.looptime(noop_cycles=_IDLE_ITERATIONS), append=False)


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty directory."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, empty_home: Path) -> None:
    """Hide the environment variables and the home directory of the developer."""
    for name in ("SIEVE_API_KEY", "SIEVE_API_KEY_FILE", "SIEVE_API_URL", "SIEVE_LOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(empty_home))


@pytest.fixture(autouse=True)
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that no file descriptor is left open and that no log line contains the API key."""
    caplog.set_level(logging.DEBUG)
    before = _descriptors()
    yield
    if _descriptors() > before:
        gc.collect()
    assert _descriptors() <= before
    assert KEY not in caplog.text


@pytest.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """Check that no task is left, and no timer of the package or of aiohttp."""
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not _timers(asyncio.get_running_loop())


@pytest.fixture
async def sieve() -> AsyncIterator[FakeSieve]:
    """A running fake server."""
    async with FakeSieve(api_key=KEY) as server:
        yield server


@pytest.fixture
async def client(sieve: FakeSieve) -> AsyncIterator[SieveClient]:
    """A client of that server with the default settings."""
    async with SieveClient(KEY, base_url=sieve.url) as one:
        yield one


@pytest.fixture
async def session(sieve: FakeSieve) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client of that server that sends the key."""
    key = {"X-API-Key": sieve.api_key}
    async with aiohttp.ClientSession(sieve.url, headers=key) as opened:
        yield opened


@pytest.fixture
def get(session: aiohttp.ClientSession) -> Get:
    """A function that returns the document at a path, with the HTTP status as ``http``."""

    async def fetch(path: str) -> Document:
        async with session.get(path) as response:
            document: Document = await response.json()
            return document | {"http": response.status}

    return fetch


def _timers(loop: asyncio.AbstractEventLoop) -> list[asyncio.TimerHandle]:
    """Pending timers of the checked modules."""
    scheduled: list[asyncio.TimerHandle] = getattr(loop, "_scheduled", [])
    pending = (timer for timer in scheduled if not timer.cancelled())
    return [timer for timer in pending if any(name in repr(timer) for name in _CHECKED_MODULES)]


def _descriptors() -> int:
    """The number of open file descriptors; zero where the system does not list them."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0
