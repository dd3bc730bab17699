"""``job get``, ``job list``, ``job cancel``, ``job download``, ``job outputs`` and ``version``."""

import asyncio
import io
import json
from pathlib import Path

import pytest

from helpers.cli_in_process import Command, TerminalCommand
from helpers.cli_runner import wait_until_requested
from sieve_async.cli.progress import DownloadBar, LiveView, Progress
from sieve_async.testing import FakeSieve

OUTPUTS = [{"url": "https://files.example/a.mp4"}, {"text": "höre"}]
NOT_CANCELLED = "Job is not processing."


async def test_get(command: Command, sieve: FakeSieve) -> None:
    """A job is printed with what fits on a screen, or not at all."""
    sieve.add_job("a", outputs=OUTPUTS)
    ended = await command("job", "get", "a")
    quiet = await command("job", "get", "a", "--format", "quiet")
    facts = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines() if line[0] != " ")
    expected = {
        "status": "finished",
        "function": "sieve/demo",
        "outputs": "2",
        "file": "https://files.example/a.mp4",
    }
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert facts.items() >= expected.items()
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")


async def test_get_as_json(command: Command, sieve: FakeSieve) -> None:
    """As JSON a job is the API's document, unknown keys included, in plain ASCII or as sent."""
    sieve.add_job("a", outputs=OUTPUTS, fields={"novelty": [1]})
    for style in ("json", "jsonl"):
        ended = await command("job", "get", "a", "--format", style)
        job = json.loads(ended.stdout)
        assert ended.stdout.isascii()
        assert job["outputs"][1]["data"] == {"text": "höre"}
        assert job["novelty"] == [1]
        assert job["completed_at"].endswith("+00:00")
        assert (style == "jsonl") is (ended.stdout.count("\n") == 1)
    raw = json.loads((await command("job", "get", "a", "--raw", "--offset", "1")).stdout)
    assert [output["data"] for output in raw["outputs"]] == OUTPUTS[1:]
    assert "restarts" in raw


async def test_list(sieve: FakeSieve, command: Command) -> None:
    """Jobs are listed with status, time and function, filtered as the API does."""
    sieve.add_job("done", function="me/mine")
    sieve.add_job("going", status=None, function="me/mine")
    sieve.add_job("other", function="me/other")
    everything = await command("job", "list")
    filtered = await command("job", "list", "--status", "finished", "--function", "me/mine")
    documents = await command("job", "list", "--format", "json", "--limit", "2")
    nothing = await command("job", "list", "--format", "json", "--limit", "0")
    rows = {line.split()[0]: line.split() for line in everything.stdout.splitlines()}
    assert (everything.exit_code, set(rows)) == (0, {"done", "going", "other"})
    assert (rows["going"][1], rows["going"][-1]) == ("processing", "me/mine")
    assert [line.split()[0] for line in filtered.stdout.splitlines()] == ["done"]
    assert [job["id"] for job in json.loads(documents.stdout)] == ["other", "going"]
    assert json.loads(nothing.stdout) == []


async def test_cancel(sieve: FakeSieve, command: Command) -> None:
    """Running jobs are cancelled, ended ones printed; others do not stop them."""
    for job_id in ("going", "again"):
        sieve.add_job(job_id, status=None)
    sieve.add_job("done")
    sieve.add_job("queued", queued=1000)
    sieve.fault(method="DELETE", job="queued", status=400, body={"detail": NOT_CANCELLED})
    ended = await command("job", "cancel", "queued", "gone", "going", "done")
    good = await command("job", "cancel", "again")
    bad = await command("job", "cancel", "queued")
    assert [line.split()[:2] for line in ended.stdout.splitlines()] == [
        ["queued", "JobNotCancellableError"],
        ["gone", "NotFoundError"],
        ["going", "cancelled"],
        ["done", "finished"],
    ]
    assert (ended.exit_code, good.exit_code, bad.exit_code) == (5, 0, 1)


@pytest.fixture
def files(sieve: FakeSieve) -> FakeSieve:
    """A server with a job of two files."""
    sizes = {"video.mp4": 1000, "VIDEO.mp4": 2000}  # one name on some file systems
    urls = [sieve.add_file(name, b"x" * size) for name, size in sizes.items()]
    sieve.add_job("a", outputs=[{"url": url} for url in urls])
    sieve.add_job("none")
    return sieve


@pytest.mark.usefixtures("files")
async def test_download(command: Command, tmp_path: Path) -> None:
    """Files are saved in a directory that is made, under different names, which are printed."""
    directory = tmp_path / "new" / "directory"
    ended = await command("job", "download", "a", str(directory))
    nothing = await command("job", "download", "none", str(directory))
    assert (ended.exit_code, ended.stderr) == (0, "")
    paths = [Path(line) for line in ended.stdout.splitlines()]
    assert [path.name for path in paths] == ["video.mp4", "VIDEO-2.mp4"]
    assert [path.stat().st_size for path in paths] == [1000, 2000]
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "job none has no files (status: finished)" in nothing.stderr


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


@pytest.mark.usefixtures("files")
async def test_bar_at_a_terminal(at_terminal: TerminalCommand, tmp_path: Path) -> None:
    ended, shown = await at_terminal("job", "download", "a", str(tmp_path), size=(80, 24))
    assert ended.exit_code == 0
    assert "of 2 files" in shown
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


def test_bar_at_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar stays on one line, for only one is cleared."""
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    bar = DownloadBar(LiveView(stream, has_colours=False), 1)

    bar.update("a", 1_000_000, 3_000_000)

    assert stream.getvalue() == "[##########--------"


@pytest.mark.looptime
@pytest.mark.parametrize("style", ["text", "json"])
async def test_outputs(command: Command, sieve: FakeSieve, style: str) -> None:
    """Outputs are printed as JSON, those of several parts as an array."""
    parts = [{"data": 1}, {"data": {}}]
    sieve.add_job("a", processing=1, streams=True, outputs=[*OUTPUTS, parts])
    ended = await command("job", "outputs", "a", "--format", style)
    printed = json.loads(ended.stdout) if style == "json" else None
    first, second, last = printed or map(json.loads, ended.stdout.splitlines())
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert [first["data"], second["data"]] == OUTPUTS
    assert [part["data"] for part in last] == [1, {}]


@pytest.mark.looptime
async def test_outputs_of_failed_job(command: Command, sieve: FakeSieve) -> None:
    """After the outputs a failure is one line, and the exit code."""
    sieve.add_job("a", outputs=["x"], streams=True, processing=1, status="error", error="Boom: no")
    ended = await command("job", "outputs", "a", "--format", "json")
    assert (ended.exit_code, len(json.loads(ended.stdout))) == (1, 1)
    assert ended.stderr == "sieve-async: job a failed: Boom: no\n"


@pytest.mark.looptime
@pytest.mark.parametrize("action", ["raise", "continue"])
async def test_outputs_of_restarted_job(command: Command, sieve: FakeSieve, action: str) -> None:
    """When a job restarts, the command fails with a hint, or prints the new outputs."""
    job = sieve.job(sieve.add_job("a", by="manual"))
    job.start()
    job.yield_output("first")
    running = asyncio.ensure_future(command("job", "outputs", "a", "--on-restart", action))
    await wait_until_requested(sieve, "/v2/jobs/a")
    await asyncio.sleep(0.1)
    job.restart("OOM")
    job.yield_output("again")
    job.finish()
    ended = await running
    printed = [json.loads(each)["data"] for each in ended.stdout.splitlines()]
    is_failure = action == "raise"
    assert (ended.exit_code, printed) == (is_failure, ["first"] + ["again"] * (not is_failure))
    assert ("see --on-restart continue" in ended.stderr) is is_failure


@pytest.mark.looptime
async def test_version(command: Command, sieve: FakeSieve) -> None:
    """A version is found by owner, name and slug; while it is built, each stage is a line."""
    sieve.add_version("me", "mine", "v1", building=1, pushing=1, by="polls", cuda_version="11.8")
    ended = await command("version", "wait", "me/mine")
    found = await command("version", "get", "me/mine:v1", "--format", "json")
    quiet = await command("version", "wait", "me/mine", "--no-progress")
    assert (ended.exit_code, found.exit_code, quiet.exit_code) == (0, 0, 0)
    assert "build_status      ready" in ended.stdout
    assert "cuda_version      11.8" in ended.stdout
    assert "version v1: building" in ended.stderr
    assert json.loads(found.stdout)["build_status"] == "ready"
    assert quiet.stderr == ""


async def test_download_here(
    sieve: FakeSieve, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a directory, files are saved in the current one."""
    sieve.add_job("a", outputs=[{"url": sieve.add_file("a.mp4", b"film")}])
    monkeypatch.chdir(tmp_path)

    ended = await command("job", "download", "a")

    assert ended.stdout == "a.mp4\n"
    assert (tmp_path / "a.mp4").read_bytes() == b"film"
