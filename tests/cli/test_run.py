"""``run`` and ``push``: inputs and results."""

import json
import re
from pathlib import Path

import pytest

from helpers.cli_in_process import Command
from sieve_async.testing import FakeSieve


@pytest.fixture
def echo(sieve: FakeSieve) -> FakeSieve:
    """A server with a function whose output is its inputs, and others that end otherwise."""
    sieve.script_function("me/echo", outputs=lambda inputs: [{"data": inputs}])
    sieve.script_function("me/failing", status="error", error="Traceback\nValueError: no")
    sieve.script_function("me/endless", status=None)
    return sieve


@pytest.mark.parametrize("style", ["text", "json"])
async def test_push(echo: FakeSieve, command: Command, style: str) -> None:
    """``push`` prints the id of the job and nothing else, or as JSON the server's answer."""
    ended = await command("push", "me/echo", "--input", "text=hello", "--format", style)
    (push,) = echo.pushes
    assert (ended.exit_code, ended.stderr) == (0, "")
    printed = json.loads(ended.stdout)["id"] if style == "json" else ended.stdout.strip()
    assert (printed, push.inputs) == (push.job_id, {"text": "hello"})


async def test_inputs(echo: FakeSieve, command: Command, tmp_path: Path) -> None:
    """Inputs come from a file, a JSON object and single values; later ones replace earlier ones."""
    path = tmp_path / "inputs.json"
    path.write_text('\ufeff{"a": 1, "b": 1, "c": 1}', "utf-8")
    await command(
        *("push", "me/echo", "--inputs-file", str(path), "--input-json", '{"b": 2, "c": 2}'),
        *("--input", "c=3", "--input", "d=null"),
    )
    (push,) = echo.pushes
    assert push.inputs == {"a": 1, "b": 2, "c": 3, "d": None}


@pytest.mark.parametrize("text", ["[1]", "no", "", "\udcff"], ids=ascii)
async def test_invalid_inputs_file(
    echo: FakeSieve, command: Command, tmp_path: Path, text: str
) -> None:
    """A file without a JSON object is 2, a missing one 6; nothing is sent."""
    path = tmp_path / "inputs.json"
    path.write_text(text, "utf-8", "surrogateescape")
    invalid = await command("push", "me/echo", "--inputs-file", str(path))
    missing = await command("push", "me/echo", "--inputs-file", str(tmp_path / "none"))
    assert (invalid.exit_code, missing.exit_code) == (2, 6)
    assert "must hold a JSON object" in invalid.stderr
    assert not echo.requests


async def test_webhooks_and_variables(echo: FakeSieve, command: Command) -> None:
    """Webhooks have a default type, variables their value here; values are not shown."""
    ended = await command(
        *("push", "me/echo", "--webhook", "http://127.0.0.1:9/a"),
        *("--webhook", "job.start=http://127.0.0.1:9/b"),
        *("--env", "GIVEN=secret-1", "--env", "TAKEN"),
        TAKEN="secret-2",
    )
    missing = await command("push", "me/echo", "--env", "MISSING")
    (push,) = echo.pushes
    hooks = {hook.type: hook.url for hook in push.webhooks}
    assert ended.exit_code == 0
    assert hooks == {"job.complete": "http://127.0.0.1:9/a", "job.start": "http://127.0.0.1:9/b"}
    assert push.env == {"GIVEN": "secret-1", "TAKEN": "secret-2"}
    assert "secret" not in ended.stdout + ended.stderr
    assert (missing.exit_code, "MISSING" in missing.stderr) == (2, True)


@pytest.mark.looptime
async def test_run(echo: FakeSieve, command: Command) -> None:
    """``run`` prints the id at once and the job at its end."""
    ended = await command("run", "me/echo", "--input", "text=hello", "--format", "json")
    (push,) = echo.pushes
    assert ended.exit_code == 0
    assert f"job {push.job_id}: started\n" in ended.stderr
    assert json.loads(ended.stdout)["outputs"][0]["data"] == {"text": "hello"}


@pytest.mark.looptime
@pytest.mark.usefixtures("echo")
async def test_run_that_fails(command: Command) -> None:
    """A failed job is 1, with ``--exit-zero`` 0, and its error is printed once."""
    failed = await command("run", "me/failing")
    ignored = await command("run", "me/failing", "--exit-zero", "--format", "quiet")
    assert (failed.exit_code, ignored.exit_code) == (1, 0)
    assert (failed.stdout + failed.stderr).count("ValueError: no") == 1
    assert ignored.stdout == ""


@pytest.mark.looptime
@pytest.mark.parametrize("cancels", [False, True])
async def test_run_that_takes_too_long(echo: FakeSieve, command: Command, *, cancels: bool) -> None:
    """The deadline is 124, and cancels the job only when it is asked to."""
    option = ("--cancel-on-timeout",) * cancels
    ended = await command("run", "me/endless", "--timeout", "0.5s", *option)
    (push,) = echo.pushes
    assert ended.exit_code == 124
    assert f"job {push.job_id}: timed out" in ended.stderr
    assert ("the job was cancelled" in ended.stderr) is cancels
    assert (echo.job(push.job_id).status == "cancelled") is cancels


async def test_ambiguous_push(echo: FakeSieve, command: Command) -> None:
    """A push that may have arrived is not repeated; the line says where to check."""
    echo.fault(path="/v2/push", drop="after")
    ended = await command("push", "me/echo")
    assert ended.exit_code == 6
    assert len(echo.pushes) == 1
    assert "check with: sieve-async job list --function me/echo" in ended.stderr


async def test_download_after_run(echo: FakeSieve, command: Command, tmp_path: Path) -> None:
    """``--download`` saves the files of the finished job."""
    url = echo.add_file("dubbed.mp4", b"x" * 1000)
    echo.script_function("me/dub", outputs=[{"url": url}])
    ended = await command("run", "me/dub", "--download", str(tmp_path / "out"))
    saved = tmp_path / "out" / "dubbed.mp4"
    assert ended.exit_code == 0
    assert saved.read_bytes() == b"x" * 1000
    assert f"saved {saved}\n" in ended.stderr
    assert re.match(r"\S+  finished", ended.stdout)


async def test_where_to_download(echo: FakeSieve, command: Command, tmp_path: Path) -> None:
    """Where no files can be saved, no job is started."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "missing" / "there")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    for name in ("file", "file/out", "link", "loop", "x" * 300):
        ended = await command("run", "me/echo", "--download", str(tmp_path / name))
        assert ended.exit_code == 2
        assert "argument --download: cannot write" in ended.stderr
    assert not echo.pushes
