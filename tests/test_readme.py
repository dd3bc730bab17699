"""The README must not lie: its programs run as printed, and its tables name what there is."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

import sieve_async
from sieve_async import Limits, PollPolicy, RetryPolicy, SieveError, Timeout
from sieve_async.testing import FakeSieve

README = Path(__file__).parent.parent / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
async def test_programs(
    sieve: FakeSieve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Each Python block is a whole program that ends well, with no warning."""
    program = tmp_path / "test_program.py"
    program.write_text(PROGRAMS[number], "utf-8")
    job_id = sieve.add_job(queued=0.1, processing=0.3, outputs=[{"url": "https://files/a.mp4"}])
    sieve.add_version("sieve", "dubbing", building=0.2)
    monkeypatch.setenv("SIEVE_API_URL", sieve.url)
    monkeypatch.setenv("SIEVE_API_KEY", sieve.api_key)
    is_test = "def test_" in PROGRAMS[number]
    loops = "asyncio_default_fixture_loop_scope=function"
    how = ["-m", "pytest", "-q", "-o", loops] if is_test else ["-W", "error"]

    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *how,
        str(program),
        *([] if is_test else [job_id]),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await running.communicate()

    assert (running.returncode, complaints.decode()) == (0, "")
    assert printed


def test_there_are_programs() -> None:
    """The blocks are found at all."""
    assert len(PROGRAMS) >= 5


def test_errors_table() -> None:
    """Every public error has a place in the errors table."""
    errors = {
        name
        for name in sieve_async.__all__
        if isinstance(getattr(sieve_async, name), type)
        and issubclass(getattr(sieve_async, name), SieveError)
    }
    rows = [line.split("|")[1] for line in README.read_text("utf-8").splitlines() if "|" in line]
    named = set(re.findall(r"`(\w+Error)`", " ".join(rows)))

    assert errors - named <= {"SieveError", "ResponseError", "APIError"}


@pytest.mark.parametrize("settings", [Timeout, RetryPolicy, PollPolicy, Limits])
def test_settings_table(settings: type) -> None:
    """Every setting has a place in the settings table."""
    text = README.read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith(f"| `{settings.__name__}.")]

    assert rows
    for field in settings.__attrs_attrs__:  # type: ignore[attr-defined] # attrs sets it
        assert any(f".{field.name}`" in line for line in rows), field.name
