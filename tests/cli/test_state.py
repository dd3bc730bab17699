"""``watch --state``: a watch that continues after any interruption."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from helpers.cli_in_process import Command
from helpers.cli_runner import (
    finish_command,
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

    first = await command("watch", "done", "going", "--state", state, "--timeout", "1s")
    sieve.job("going").start()
    sieve.job("going").finish()
    second = await command("watch", "--state", state)
    third = await command("watch", "--state", state)

    assert first.exit_code == 124
    assert [line.split()[0] for line in first.stdout.splitlines()] == ["done", "going"]
    assert (second.exit_code, second.stdout.split()[:2]) == (0, ["going", "finished"])
    assert "watching 1 job of " in second.stderr
    assert (third.exit_code, third.stdout) == (0, "")


async def test_interrupted(sieve: FakeSieve, state: str) -> None:
    """The resume line names the file, not the ids."""
    sieve.add_job("going", status=None)
    program = await start_command(sieve, "watch", "going", "--state", state)

    await wait_until_requested(sieve)
    program.send_signal(signal.SIGINT)
    ended = await finish_command(program)

    assert ended.exit_code == 130
    assert ended.stderr.endswith(
        f"1 job still pending\nresume with: sieve-async watch --state '{state}'\n"
    )


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
    """With ``--any`` each run prints another outcome."""
    for job_id in ("a", "b", "c"):
        sieve.add_job(job_id)

    printed = [
        (await command("watch", *ids, "--state", state, "--any")).stdout.split()[0]
        for ids in (["a", "b", "c"], [], [])
    ]

    assert sorted(printed) == ["a", "b", "c"]


async def test_ids_of_a_pipe(sieve: FakeSieve, command: Command, state: str) -> None:
    """Ids of standard input are stored before they are watched."""
    sieve.add_job("a")
    sieve.add_job("b")

    ended = await command("watch", "-", "--state", state, stdin=b"a, b")

    assert ended.exit_code == 0
    assert len(ended.stdout.splitlines()) == 2


@pytest.mark.parametrize("style", ["text", "json"])
async def test_show(sieve: FakeSieve, command: Command, state: str, style: str) -> None:
    """``--show`` prints outcomes and pending ids, without a key or a request."""
    sieve.add_job("done")
    sieve.add_job("going", status=None)
    await command("watch", "done", "going", "--state", state, "--timeout", "1s")
    requests = len(sieve.requests)

    shown = await command("watch", "--state", state, "--show", "--format", style, SIEVE_API_KEY="")

    if style == "text":
        rows = [line.split()[:2] for line in shown.stdout.splitlines()]
    else:
        rows = [[row["job_id"], row["status"]] for row in json.loads(shown.stdout)]
    assert shown.exit_code == 0
    assert rows == [["done", "finished"], ["going", "pending"]]
    assert "2 jobs of" in shown.stderr
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
    assert state not in map(str, await asyncio.to_thread(lambda: [*tmp_path.iterdir()]))


async def test_invalid_id(command: Command, state: str) -> None:
    """Invalid ids are refused before any is stored."""
    refused = await command("watch", "a/b", "--state", state)
    shown = await command("watch", "--state", state, "--show")

    assert (refused.exit_code, shown.stdout) == (2, "")
