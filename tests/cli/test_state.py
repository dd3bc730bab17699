"""``watch --state``: a watch that continues after any interruption."""

import asyncio
import json
import os
import select
import signal
import sys
from pathlib import Path

import pytest

from helpers.cli_in_process import Command
from helpers.cli_runner import (
    environment,
    finish_command,
    reset_signals,
    start_command,
    wait_until_requested,
)
from sieve_async.testing import FakeSieve


@pytest.fixture
def state(tmp_path: Path) -> str:
    """The path of a state file."""
    return str(tmp_path / "state file.db")


async def test_continued(sieve: FakeSieve, command: Command, state: str) -> None:
    """A second watch prints only what the first one did not."""
    sieve.add_job("done")
    sieve.add_job("going", by="manual")
    first = await command("watch", "done", "going", "--state", state, "--timeout", "0")
    sieve.job("going").start()
    sieve.job("going").finish()
    second = await command("watch", "--state", state)
    third = await command("watch", "--state", state)
    assert first.exit_code == 124
    assert [line.split()[0] for line in first.stdout.splitlines()] == ["done", "going"]
    assert (second.exit_code, second.stdout.split()[:2]) == (0, ["going", "finished"])
    assert "watching 1 job of " in second.stderr
    assert (third.exit_code, third.stdout) == (0, "")


async def test_interrupted(sieve: FakeSieve, command: Command, state: str) -> None:
    """The resume line names the file, not the ids."""
    sieve.add_job("going", status=None)
    running = asyncio.ensure_future(command("watch", "going", "--state", state))
    await wait_until_requested(sieve)
    running.cancel()
    ended = await running
    assert ended.exit_code == 130
    assert ended.stderr.endswith(
        f"1 job still pending\nresume with: sieve-async watch --state '{state}'\n"
    )


@pytest.mark.programs
async def test_killed(sieve: FakeSieve, command: Command, state: str) -> None:
    """After a kill the watch continues from the file."""
    sieve.add_job("done")
    sieve.add_job("going", by="manual")
    program = await start_command(sieve, "watch", "done", "going", "--state", state)
    assert program.stdout is not None
    await program.stdout.readline()
    program.kill()
    await finish_command(program)
    sieve.job("going").start()
    sieve.job("going").finish()
    ended = await command("watch", "--state", state, "--format", "json")
    assert ended.exit_code == 0
    assert {row["job_id"] for row in json.loads(ended.stdout)} >= {"going"}


async def test_one_at_a_time(sieve: FakeSieve, command: Command, state: str) -> None:
    """With ``--any`` each run prints another outcome; ids of a pipe are stored first."""
    for job_id in ("a", "b", "c"):
        sieve.add_job(job_id)
    first = await command("watch", "-", "--state", state, "--any", stdin=b"a, b c")
    others = [await command("watch", "--state", state, "--any") for _ in range(2)]
    assert sorted(ended.stdout.split()[0] for ended in (first, *others)) == ["a", "b", "c"]


async def test_show(sieve: FakeSieve, command: Command, state: str) -> None:
    """``--show`` prints outcomes and pending ids, without a key or a request."""
    sieve.add_job("done")
    sieve.add_job("going", status=None)
    await command("watch", "done", "going", "--state", state, "--timeout", "0")
    requests = len(sieve.requests)
    line = ("watch", "--state", state, "--show")
    text = await command(*line, SIEVE_API_KEY="")
    documents = await command(*line, "--format", "json", SIEVE_API_KEY="")
    expected = [["done", "finished"], ["going", "pending"]]
    assert (text.exit_code, documents.exit_code) == (0, 0)
    assert [row.split()[:2] for row in text.stdout.splitlines()] == expected
    rows = json.loads(documents.stdout)
    assert [[row["job_id"], row["status"]] for row in rows] == expected
    assert "2 jobs of" in text.stderr
    assert len(sieve.requests) == requests


async def test_invalid_files(command: Command, tmp_path: Path, state: str) -> None:
    """A file that is no state file is one line and 6; so is one that is missing, for --show."""
    path = tmp_path / "other"
    path.write_text("no", "utf-8")
    other = await command("watch", "--state", str(path))
    missing = await command("watch", "--state", state, "--show")
    for ended in (other, missing):
        assert (ended.exit_code, ended.stderr.count("\n")) == (6, 1)
        assert ended.stderr.startswith("sieve-async: state file ")
    assert Path(state).name not in os.listdir(tmp_path)  # noqa: PTH208 - at once


async def test_invalid_id(command: Command, state: str) -> None:
    """Invalid ids are refused before any is stored."""
    refused = await command("watch", "a/b", "--state", state)
    shown = await command("watch", "--state", state, "--show")
    assert (refused.exit_code, shown.stdout) == (2, "")


@pytest.mark.programs
@pytest.mark.parametrize("stored", [True, False])
async def test_input_without_an_end(
    sieve: FakeSieve, command: Command, state: str, *, stored: bool
) -> None:
    """A pipe that stays open does not hold the watch longer than its time; its ids are known."""
    sieve.add_job("a")
    line = ("--state", state) if stored else ()
    program = await start_command(sieve, "watch", "-", "--timeout", "0.5", *line)
    assert program.stdin is not None

    program.stdin.write(b"a\n")
    assert await asyncio.wait_for(program.wait(), 30) == 124
    ended = await finish_command(program)

    assert ended.stdout.startswith("a  finished")
    assert "1 of 1+ jobs ended" in ended.stderr
    if stored:
        shown = await command("watch", "--state", state, "--show")
        assert shown.stdout.startswith("a  finished")


@pytest.mark.programs
async def test_interrupted_input(sieve: FakeSieve, command: Command, state: str) -> None:
    """Ids that have come by standard input are stored also when the reading is interrupted."""
    ours, theirs = os.pipe()
    with os.fdopen(ours) as reading, os.fdopen(theirs, "wb", buffering=0) as writing:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sieve_async", "watch", "-", "--state", state),
            stdin=reading,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(sieve),
            preexec_fn=reset_signals,
        )
        writing.write(b"a, b\n")
        while select.select([reading], [], [], 0)[0]:  # noqa: ASYNC110 - not read yet
            await asyncio.sleep(0.01)
        program.send_signal(signal.SIGTERM)
        ended = await finish_command(program)
    shown = await command("watch", "--state", state, "--show")

    assert ended.exit_code == 143
    assert ended.stderr.endswith(f"resume with: sieve-async watch --state '{state}'\n")
    assert shown.stdout == "a  pending\nb  pending\n"


@pytest.mark.programs
async def test_invalid_input(sieve: FakeSieve, command: Command, state: str) -> None:
    """An invalid id ends the command at once, not with the input; the ids before it are stored."""
    program = await start_command(sieve, "watch", "-", "--state", state)
    assert program.stdin is not None

    program.stdin.write(b"a\nb/c\n")
    assert await asyncio.wait_for(program.wait(), 30) == 2
    ended = await finish_command(program)
    shown = await command("watch", "--state", state, "--show")

    assert "'b/c'" in ended.stderr
    assert shown.stdout == "a  pending\n"
