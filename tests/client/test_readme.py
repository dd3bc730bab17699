"""The README: programs run as printed, tables name what there is, links are absolute."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import sieve_async
from sieve_async import Limits, PollPolicy, RetryPolicy, SieveClient, SieveError, Timeout
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


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare(sieve: FakeSieve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Script the function of the README, which puts out a file, and point the client to it."""
    url = sieve.add_file("talk-spanish.mp4", b"a video")
    sieve.script_function("sieve/dubbing", processing=0.3, outputs=[{"url": url}])
    monkeypatch.setenv("SIEVE_API_URL", sieve.url)
    monkeypatch.setenv("SIEVE_API_KEY", sieve.api_key)


def test_first_program(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program at the top pushes, waits, and downloads what it says."""
    with FakeSieve.in_thread() as sieve:
        prepare(sieve, monkeypatch)
        exec(compile(WHOLE[0], "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102
    printed = capsys.readouterr().out
    assert "talk-spanish.mp4" in printed
    assert printed.endswith("dubbed.mp4\n")
    assert (in_folder / "dubbed.mp4").read_bytes() == b"a video"


@pytest.mark.programs
@pytest.mark.looptime
@pytest.mark.usefixtures("in_folder")
async def test_cells(
    sieve: FakeSieve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The blocks that continue each other run in their order, a thousand jobs as a hundred."""
    prepare(sieve, monkeypatch)
    names: dict[str, Any] = {"__name__": "__main__"}
    for text in CELLS:
        fewer = text.replace("range(1000)", "range(100)").replace("jobs=200", "jobs=20")
        code = compile(fewer, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)  # noqa: S307 - it is our own
        if inspect.isawaitable(result):
            await result
    await names["client"].close()
    printed = capsys.readouterr().out
    for words in ("5 of 5", "100 finished", "('done',)", "StateCounts(pending=0"):
        assert words in printed


@pytest.mark.looptime
async def test_test_program(fake_sieve: FakeSieve, sieve_client: SieveClient) -> None:
    """The tests of the block pass, with the fixtures of the package's plugin."""
    names: dict[str, Any] = {}
    exec(compile(TESTS[0], "README.md", "exec"), names)  # noqa: S102
    tests = [call for name, call in names.items() if name.startswith("test_")]
    assert len(tests) == 1
    for test in tests:
        await test(fake_sieve, sieve_client)


def test_every_block_has_a_test() -> None:
    """No block is left out, and those of engines compile."""
    assert (len(WHOLE), len(TESTS)) == (1, 1)
    assert len(CELLS) >= 10
    assert ENGINE_PROGRAMS
    for text in ENGINE_PROGRAMS:
        compile(text, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_errors_table() -> None:
    public = {name: getattr(sieve_async, name) for name in sieve_async.__all__}
    errors = {
        name
        for name, value in public.items()
        if isinstance(value, type) and issubclass(value, SieveError)
    }
    rows = " ".join(line.split("|")[1] for line in README.splitlines() if line.startswith("| `"))
    left = errors - set(re.findall(r"`(\w+Error)`", rows))
    assert left == {"SieveError", "ResponseError", "APIError"}


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
