"""Fixtures for the tests of programs that use Sieve: ``fake_sieve`` and ``sieve_client``.

pytest loads this module wherever the distribution is installed, so it imports nothing that is slow
until a fixture is used. That is why the wheel has it beside the package, as
``sieve_async_pytest``: importing the package imports aiohttp.

Example:
    >>> async def test_my_program(fake_sieve, sieve_client):
    ...     job_id = fake_sieve.add_job(processing=2, outputs=["hello"])
    ...     assert await my_program(sieve_client, job_id) == "hello"
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from inspect import signature
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sieve_async.client import SieveClient
    from sieve_async.testing import FakeSieve

LOOP_SCOPES: Final = ("function", "class", "module", "package", "session")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the fixtures of pytest-asyncio if that is installed."""
    config.addinivalue_line(
        "markers", "fake_sieve(**options): the arguments of the fixture's FakeSieve"
    )
    if config.pluginmanager.hasplugin("asyncio"):
        config.pluginmanager.register(_fixtures_for_pytest_asyncio())


@pytest.fixture
def fake_sieve(request: pytest.FixtureRequest) -> Iterator[FakeSieve]:
    """A running fake server without jobs, for one test.

    It runs on the event loop of an asynchronous test, and in a thread for any other. The
    environment variables name it, so that ``SieveClient()`` needs no arguments. The marker has its
    arguments, such as ``@pytest.mark.fake_sieve(clock="manual")``.
    """
    name = _name_for(request, "fake_sieve")
    with _server(request, name) as sieve, pytest.MonkeyPatch.context() as environment:
        environment.setenv("SIEVE_API_URL", sieve.url)
        environment.setenv("SIEVE_API_KEY", sieve.api_key)
        yield sieve


@pytest.fixture
def sieve_client(request: pytest.FixtureRequest, fake_sieve: FakeSieve) -> SieveClient:  # noqa: ARG001  # the server starts first
    """A client of ``fake_sieve``, for asynchronous tests."""
    name = _name_for(request, "sieve_client")
    if name is None:
        reason = "sieve_client needs a test that asyncio runs; fake_sieve works in any"
        pytest.fail(reason, pytrace=False)
    client: SieveClient = request.getfixturevalue(name)
    return client


@pytest.fixture
async def _fake_sieve_by_anyio(request: pytest.FixtureRequest) -> AsyncIterator[FakeSieve]:
    async with _new_server(request) as sieve:
        yield sieve


@pytest.fixture
async def _sieve_client_by_anyio(fake_sieve: FakeSieve) -> AsyncIterator[SieveClient]:
    async with _new_client(fake_sieve) as client:
        yield client


def _fixtures_for_pytest_asyncio() -> ModuleType:
    """Make one fixture for each scope of event loops: the server runs on the loop of the test."""
    import pytest_asyncio  # noqa: PLC0415  # loaded already, or this is not called

    made = ModuleType("fixtures for pytest-asyncio")
    knows_scopes = "loop_scope" in signature(pytest_asyncio.fixture).parameters  # since 0.24
    for scope in LOOP_SCOPES if knows_scopes else ("function",):
        options: dict[str, Any] = {"loop_scope": scope} if knows_scopes else {}

        async def server(request: pytest.FixtureRequest) -> AsyncIterator[FakeSieve]:
            async with _new_server(request) as sieve:
                yield sieve  # noqa: ASYNC119  # pytest-asyncio ends it, on its loop

        async def client(fake_sieve: FakeSieve) -> AsyncIterator[SieveClient]:
            async with _new_client(fake_sieve) as one:
                yield one  # noqa: ASYNC119  # as above

        name = f"_fake_sieve_by_asyncio_{scope}"
        setattr(made, name, pytest_asyncio.fixture(server, name=name, **options))
        name = f"_sieve_client_by_asyncio_{scope}"
        setattr(made, name, pytest_asyncio.fixture(client, name=name, **options))
    return made


def _name_for(request: pytest.FixtureRequest, name: str) -> str | None:
    """Return the fixture that runs on the loop of the test, or None without an asyncio loop."""
    if marker := request.node.get_closest_marker("asyncio"):
        try:
            default = request.config.getini("asyncio_default_test_loop_scope")
        except ValueError:  # before pytest-asyncio 0.26
            default = "function"
        return f"_{name}_by_asyncio_{marker.kwargs.get('loop_scope', default)}"
    if "anyio_backend" in request.fixturenames:
        is_asyncio = request.getfixturevalue("anyio_backend_name") == "asyncio"
        return f"_{name}_by_anyio" if is_asyncio else None
    return None


@contextmanager
def _server(request: pytest.FixtureRequest, name: str | None) -> Iterator[FakeSieve]:
    if name is not None:
        yield request.getfixturevalue(name)
        return
    from sieve_async.testing import FakeSieve  # noqa: PLC0415  # see the docstring of the module

    with FakeSieve.in_thread(**_options(request)) as sieve:
        yield sieve


@asynccontextmanager
async def _new_server(request: pytest.FixtureRequest) -> AsyncIterator[FakeSieve]:
    from sieve_async.testing import FakeSieve  # noqa: PLC0415  # as above

    async with FakeSieve(**_options(request)) as sieve:
        yield sieve


@asynccontextmanager
async def _new_client(sieve: FakeSieve) -> AsyncIterator[SieveClient]:
    from sieve_async.client import SieveClient  # noqa: PLC0415  # as above

    async with SieveClient(sieve.api_key, base_url=sieve.url) as client:
        yield client


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    marker = request.node.get_closest_marker("fake_sieve")
    return dict(marker.kwargs) if marker else {}
