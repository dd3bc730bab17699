"""The fixtures that pytest finds by itself, in the ways that people run their tests."""

import ast
import asyncio
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

SYNCHRONOUS = """
import json
import os
import urllib.request

import pytest


@pytest.fixture
def document(fake_sieve):
    def get(job_id):
        url = f"{os.environ['SIEVE_API_URL']}/v2/jobs/{job_id}"
        headers = {"X-API-Key": os.environ["SIEVE_API_KEY"]}
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return json.load(answer)

    return get


def test_server(fake_sieve, document):
    assert document(fake_sieve.add_job())["status"] == "finished"


@pytest.mark.fake_sieve(clock="manual", api_key="mine")
def test_options(fake_sieve, document):
    job_id = fake_sieve.add_job(processing=7200)
    assert document(job_id)["status"] == "processing"
    fake_sieve.advance(7200)
    assert document(job_id)["status"] == "finished"
    assert fake_sieve.api_key == "mine"


def test_environment_is_as_before():
    assert "SIEVE_API_URL" not in os.environ
"""
ASYNCHRONOUS = """
import asyncio

import pytest

from sieve_async import SieveClient


@pytest.fixture
def job_id(fake_sieve):
    return fake_sieve.add_job(processing=0.1)


@MARK
async def test_client(fake_sieve, sieve_client, job_id):
    assert (await sieve_client.wait_for_job(job_id)).status == "finished"
    assert fake_sieve.requests_for(job_id) >= 1


@MARK
@pytest.mark.fake_sieve(max_await=0.5)
async def test_server_is_on_the_loop_of_the_test(fake_sieve):
    async with SieveClient() as client:  # the environment leads to the server
        assert (await client.get_job(fake_sieve.add_job())).status == "finished"
    names = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}
    assert any("Listener" in name for name in names)
"""
IN_A_MODULE = """
@pytest.mark.asyncio(loop_scope="module")
async def test_wider_loop(sieve_client, job_id):
    assert (await sieve_client.wait_for_job(job_id)).status == "finished"
"""
ANYIO = """
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
WITHOUT_ASYNCIO = """
import sys


def test_no_loop(sieve_client):
    pass


def test_nothing_is_loaded_in_vain():
    assert "pytest_asyncio" not in sys.modules
"""


async def run(folder: Path, program: str, *options: str) -> tuple[int | None, str]:
    """Run a test file as somebody would who has only these plugins."""
    file = folder / "test_theirs.py"
    file.write_text(program, "utf-8")
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "sieve_async"),
        *options,
        str(file),
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await running.communicate()
    return running.returncode, printed.decode()


@pytest.mark.programs
@pytest.mark.parametrize("mode", ["strict", "auto"])
async def test_with_pytest_asyncio(tmp_path: Path, mode: str) -> None:
    """Tests have a server on their own loop, of whatever scope, or in a thread without one."""
    mark = "pytest.mark.asyncio" if mode == "strict" else "pytest.mark.filterwarnings('error')"
    program = ASYNCHRONOUS.replace("MARK", mark) + IN_A_MODULE + SYNCHRONOUS
    options = ("-o", f"asyncio_mode={mode}", "-o", "asyncio_default_fixture_loop_scope=function")
    ended, printed = await run(tmp_path, program, "-p", "asyncio", *options)
    assert (ended, "6 passed" in printed) == (0, True), printed


@pytest.mark.programs
async def test_with_anyio(tmp_path: Path) -> None:
    """It is the same with anyio's plugin."""
    program = ASYNCHRONOUS.replace("MARK", "pytest.mark.anyio") + ANYIO
    ended, printed = await run(tmp_path, program, "-p", "anyio")
    assert (ended, "2 passed" in printed) == (0, True), printed


@pytest.mark.programs
async def test_alone(tmp_path: Path) -> None:
    """Synchronous tests have a server made by the marker; the client says what it needs."""
    ended, printed = await run(tmp_path, SYNCHRONOUS + WITHOUT_ASYNCIO, "--strict-markers")
    assert ended == 1
    assert "sieve_client needs a test that asyncio runs" in printed
    assert "4 passed, 1 error" in printed


async def test_plugin_is_found_and_cheap() -> None:
    """It is an entry point of the distribution, and loads nothing that takes long."""
    program = """if True:
        import sys
        import sieve_async_pytest
        print(sorted(sys.modules))
    """
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await running.communicate()
    loaded = ast.literal_eval(printed.decode())
    [found] = entry_points(group="pytest11", name="sieve_async")
    assert found.value == "sieve_async_pytest"
    assert {"aiohttp", "sieve_async", "asyncio", "pytest_asyncio"}.isdisjoint(loaded)
