"""The README: programs run as printed, tables name what there is, links are absolute."""

import ast
import asyncio
import importlib.util
import re
import sys
from pathlib import Path

import pytest

import sieve_async
from sieve_async import Limits, PollPolicy, RetryPolicy, SieveError, Timeout
from sieve_async.testing import FakeSieve

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
# Programs for systems that the tests do not install; they run in `.ci/run` sections of their own.
ENGINES = re.compile(
    r"^(?:from|import) (?:airflow|celery|distributed|prefect|ray|temporalio)\b", re.MULTILINE
)
WHOLE = [text for text in PROGRAMS if "asyncio.run(main())" in text]
TESTS = [text for text in PROGRAMS if "def test_" in text]
ENGINE_PROGRAMS = [text for text in PROGRAMS if ENGINES.search(text)]
CELLS = [text for text in PROGRAMS if text not in [*WHOLE, *TESTS, *ENGINE_PROGRAMS]]

RUN_CELLS = """
import ast, asyncio, inspect, pathlib, sys

async def main():
    names = {"__name__": "__main__"}
    for path in sys.argv[1:]:
        source = pathlib.Path(path).read_text("utf-8")
        code = compile(source, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)
        if inspect.isawaitable(result):
            await result
    await names["client"].close()

asyncio.run(main())
"""


async def run(folder: Path, sieve: FakeSieve, *arguments: str) -> str:
    """Run Python in a folder of its own, and return what it printed; it must end well."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env={
            "PATH": "",
            "HOME": str(folder),
            "SIEVE_API_URL": sieve.url,
            "SIEVE_API_KEY": sieve.api_key,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await child.communicate()
    assert (child.returncode, errors.decode()) == (0, "")
    return printed.decode()


def script(sieve: FakeSieve) -> None:
    """The function of the README: it puts out a file."""
    url = sieve.add_file("talk-spanish.mp4", b"a video")
    sieve.script_function("sieve/dubbing", processing=0.3, outputs=[{"url": url}])


async def test_first_program(sieve: FakeSieve, tmp_path: Path) -> None:
    """The program at the top pushes, waits, and downloads what it says."""
    script(sieve)
    (tmp_path / "program.py").write_text(WHOLE[0], "utf-8")

    printed = await run(tmp_path, sieve, "-W", "error", "program.py")

    assert "talk-spanish.mp4" in printed
    assert printed.endswith("dubbed.mp4\n")
    assert (tmp_path / "dubbed.mp4").read_bytes() == b"a video"


async def test_cells(sieve: FakeSieve, tmp_path: Path) -> None:
    """The blocks that continue each other run in their order, without a warning."""
    script(sieve)
    for number, text in enumerate(CELLS):
        (tmp_path / f"cell{number}.py").write_text(text, "utf-8")
    (tmp_path / "run.py").write_text(RUN_CELLS, "utf-8")
    cells = [f"cell{number}.py" for number in range(len(CELLS))]

    printed = await run(tmp_path, sieve, "-W", "error", "run.py", *cells)

    assert "5 of 5" in printed
    assert "1000 finished" in printed
    assert "('done',)" in printed
    assert "StateCounts(pending=0" in printed


async def test_test_program(sieve: FakeSieve, tmp_path: Path) -> None:
    """The block of tests passes under pytest, with the plugin of the package."""
    (tmp_path / "test_program.py").write_text(TESTS[0], "utf-8")
    option = "asyncio_default_fixture_loop_scope=function"

    printed = await run(
        tmp_path, sieve, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", option
    )

    assert "1 passed" in printed


def test_every_block_has_a_test() -> None:
    """No block is left out, and those of engines compile."""
    assert (len(WHOLE), len(TESTS)) == (1, 1)
    assert len(CELLS) >= 10
    assert ENGINE_PROGRAMS
    for text in ENGINE_PROGRAMS:
        compile(text, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_errors_table() -> None:
    """Every public error has a place in the table of errors."""
    errors = {
        name
        for name in sieve_async.__all__
        if isinstance(getattr(sieve_async, name), type)
        and issubclass(getattr(sieve_async, name), SieveError)
    }
    rows = " ".join(line.split("|")[1] for line in README.splitlines() if line.startswith("| `"))

    assert errors - set(re.findall(r"`(\w+Error)`", rows)) == {
        "SieveError",
        "ResponseError",
        "APIError",
    }


@pytest.mark.parametrize("settings", [Timeout, RetryPolicy, PollPolicy, Limits])
def test_settings_table(settings: type) -> None:
    """The table shows every setting with its default."""
    (row,) = (line for line in README.splitlines() if line.startswith(f"| `{settings.__name__}("))
    call = row.split("`")[1]
    shown = eval(call, vars(sieve_async))  # noqa: S307 - it is our own
    names = [field.name for field in settings.__attrs_attrs__]  # type: ignore[attr-defined]

    assert shown == settings()
    assert re.findall(r"(\w+)=", call) == names


def test_links_are_absolute() -> None:
    """PyPI shows the README, too, where a relative link leads nowhere."""
    links = re.findall(r"\]\(([^)]+)\)", README)

    assert links
    assert [link for link in links if not link.startswith("https://")] == []


def test_length() -> None:
    """The README stays short enough to be read."""
    assert len(README.splitlines()) <= 450


def test_optional_packages_of_the_recipes() -> None:
    """What the recipes import is installed with the tests, so that they really run."""
    assert all(importlib.util.find_spec(name) for name in ("fastapi", "rich", "looptime"))
