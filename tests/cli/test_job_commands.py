"""``job list``, ``job cancel`` and ``job download``."""

import json
from pathlib import Path

import pytest

from helpers.cli_in_process import Command, TerminalCommand
from helpers.cli_runner import run_shell
from sieve_async.cli.progress import DownloadBar, Progress
from sieve_async.testing import FakeSieve

NOT_CANCELLED = "Job is not processing."


async def test_list(sieve: FakeSieve, command: Command) -> None:
    """Jobs are listed with status, time and function, filtered as the API does."""
    sieve.add_job("done", function="me/mine")
    sieve.add_job("going", status=None, function="me/mine")
    sieve.add_job("other", function="me/other")

    everything = await command("job", "list")
    filtered = await command("job", "list", "--status", "finished", "--function", "me/mine")

    assert everything.exit_code == 0
    rows = {line.split()[0]: line.split() for line in everything.stdout.splitlines()}
    assert rows.keys() == {"done", "going", "other"}
    assert rows["going"][1] == "processing"
    assert rows["going"][-1] == "me/mine"
    assert [line.split()[0] for line in filtered.stdout.splitlines()] == ["done"]


async def test_list_of_unknown_function(command: Command) -> None:
    """A function that does not exist is 5, in one line."""
    ended = await command("job", "list", "--function", "me/none")

    assert (ended.exit_code, ended.stderr.count("\n")) == (5, 1)


@pytest.mark.parametrize("limit", [0, 3])
async def test_list_as_json(sieve: FakeSieve, command: Command, limit: int) -> None:
    """As JSON the jobs are an array of at most so many."""
    sieve.add_jobs(10, seed=1)

    ended = await command("job", "list", "--format", "json", "--limit", str(limit))

    assert len(json.loads(ended.stdout)) == limit


async def test_closed_pipe(sieve: FakeSieve) -> None:
    """A list into a closed pipe ends at once."""
    sieve.add_jobs(1200, seed=1)

    ended = await run_shell(sieve, "set -o pipefail; sieve-async job list | head -n 1")

    assert (ended.exit_code, ended.stderr) == (141, "")


async def test_cancel(sieve: FakeSieve, command: Command) -> None:
    """Running jobs are cancelled, ended ones printed; others do not stop them."""
    sieve.add_job("going", status=None)
    sieve.add_job("done")
    sieve.add_job("queued", queued=1000)
    sieve.fault(method="DELETE", job="queued", status=400, body={"detail": NOT_CANCELLED})

    ended = await command("job", "cancel", "queued", "gone", "going", "done")

    lines = {line.split()[0]: line.split()[1] for line in ended.stdout.splitlines()}
    assert ended.exit_code == 5
    assert lines == {
        "queued": "JobNotCancellableError",
        "gone": "NotFoundError",
        "going": "cancelled",
        "done": "finished",
    }


async def test_cancelled(sieve: FakeSieve, command: Command) -> None:
    """A job that was cancelled as asked is success; one that cannot be is 1."""
    sieve.add_job("going", status=None)
    sieve.add_job("queued", queued=1000)
    sieve.fault(method="DELETE", job="queued", status=400, body={"detail": NOT_CANCELLED})

    good = await command("job", "cancel", "going")
    bad = await command("job", "cancel", "queued")

    assert (good.exit_code, bad.exit_code) == (0, 1)


@pytest.fixture
def files(sieve: FakeSieve) -> FakeSieve:
    """A server with a job of two files."""
    sizes = {"video.mp4": 1000, "VIDEO.mp4": 2000}  # one name on some file systems
    urls = [sieve.add_file(name, b"x" * size) for name, size in sizes.items()]
    sieve.add_job("a", outputs=[{"url": url} for url in urls])
    return sieve


@pytest.mark.usefixtures("files")
async def test_download(command: Command, tmp_path: Path) -> None:
    """Files are saved in a directory that is made, under different names, which are printed."""
    directory = tmp_path / "new" / "directory"

    ended = await command("job", "download", "a", str(directory))

    assert (ended.exit_code, ended.stderr) == (0, "")
    paths = [Path(line) for line in ended.stdout.splitlines()]
    assert [path.name for path in paths] == ["video.mp4", "VIDEO-2.mp4"]
    assert [path.stat().st_size for path in paths] == [1000, 2000]


@pytest.mark.usefixtures("files")
async def test_existing_file(command: Command, tmp_path: Path) -> None:
    """An existing file is kept, the others are downloaded; ``--overwrite`` replaces it."""
    (tmp_path / "video.mp4").write_bytes(b"before")

    kept = await command("job", "download", "a", str(tmp_path), "--format", "jsonl")
    content = (tmp_path / "video.mp4").read_bytes()
    replaced = await command("job", "download", "a", str(tmp_path), "--overwrite")

    assert (kept.exit_code, content) == (6, b"before")
    assert "video.mp4" in kept.stderr
    assert json.loads(kept.stdout) == {"path": str(tmp_path / "VIDEO-2.mp4")}
    assert replaced.exit_code == 0
    assert (tmp_path / "video.mp4").stat().st_size == 1000


async def test_no_files(sieve: FakeSieve, command: Command, tmp_path: Path) -> None:
    """A job without files has nothing to download."""
    sieve.add_job("a")

    ended = await command("job", "download", "a", str(tmp_path))

    assert (ended.exit_code, ended.stdout) == (0, "")
    assert "job a has no files (status: finished)" in ended.stderr


async def test_bar_at_a_terminal(
    at_terminal: TerminalCommand, sieve: FakeSieve, tmp_path: Path
) -> None:
    """At a terminal a bar shows the progress, and is removed."""
    url = sieve.add_file("video.mp4", b"x" * 3_000_000)
    sieve.add_job("a", outputs=[{"url": url}])

    ended, shown = await at_terminal("job", "download", "a", str(tmp_path), size=(80, 24))

    assert ended.exit_code == 0
    assert "of 1 files" in shown
    assert shown.endswith("\x1b[J")


def test_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """The bar has a share when the sizes of all files are known."""
    import sys  # noqa: PLC0415 - captured

    bar = DownloadBar(Progress(sys.stderr), 2)

    bar.update("a", 500_000, 1_000_000)
    assert bar.line() == "0 of 2 files, 0.5 MB"
    bar.update("b", 3_000_000, 3_000_000)
    assert bar.line().endswith("88%  1 of 2 files, 3.5 MB of 4.0 MB")
    bar.update("a", 500_000, None)
    assert bar.line() == "1 of 2 files, 3.5 MB"
    assert capsys.readouterr().err == ""
