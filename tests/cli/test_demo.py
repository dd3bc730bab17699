"""``demo`` and ``serve``: the commands on an embedded server."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from helpers.cli_runner import CommandResult, finish_command, reset_signals, run_at_terminal
from sieve_async.testing import FakeSieve

_PROGRAM = (sys.executable, "-W", "error", "-m", "sieve_async")


async def start(*arguments: str) -> asyncio.subprocess.Process:
    """Start the program with two pipes."""
    return await asyncio.create_subprocess_exec(
        *_PROGRAM,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=reset_signals,
    )


async def run(*arguments: str) -> CommandResult:
    """Run the program to its end."""
    return await finish_command(await start(*arguments))


async def test_demo() -> None:
    """The demo waits for every job and build, reports each, and exits with 0."""
    ended = await run("demo", "--speed", "2")

    assert ended.exit_code == 0, ended
    rows = [line.split() for line in ended.stdout.splitlines() if line.startswith("job-")]
    statuses = [row[1] for row in rows]
    assert {status: statuses.count(status) for status in statuses} == {
        "finished": 40,
        "error": 5,
        "cancelled": 5,
    }
    assert "restarted after" in ended.stdout
    assert "dubbing-version" in ended.stdout
    assert "52 waits" in ended.stdout
    assert "unexpected outcomes: none" in ended.stdout
    assert "40 finished, 5 error, 5 cancelled" in ended.stdout
    assert len(re.findall(r"job job-\d\d: (?:finished|error|cancelled)", ended.stderr)) == 50


@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_demo_of_many_jobs(strategy: str) -> None:
    """Of many jobs the demo prints the totals only, whatever the strategy."""
    ended = await run("demo", "--jobs", "200", "--strategy", strategy, "--speed", "5")

    assert ended.exit_code == 0, ended
    assert "160 finished, 20 error, 20 cancelled" in ended.stdout
    assert "202 waits" in ended.stdout
    assert f"strategy: {strategy}" in ended.stderr
    assert "job-" not in ended.stdout


@pytest.mark.parametrize("no_color", ["", "1"])
async def test_demo_at_a_terminal(sieve: FakeSieve, no_color: str) -> None:
    """At a terminal the table has colours, unless NO_COLOR is set."""
    _, shown = await run_at_terminal(
        sieve, "demo", "--speed", "9", size=(120, 40), results="shared", NO_COLOR=no_color
    )

    assert ("\x1b[32m" in shown) is (no_color == "")
    assert shown.count("job-") >= 50


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_interrupted_demo(number: int, code: int) -> None:
    """A signal ends the demo like every other command."""
    program = await start("demo")
    assert program.stderr is not None
    await program.stderr.readline()

    program.send_signal(number)
    ended = await finish_command(program)

    assert ended.exit_code == code
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_serve(number: int) -> None:
    """The server prints the variables to set, answers, and exits with 0 when it is stopped."""
    program = await start("serve", "--port", "0", "--jobs", "3", "--speed", "100")
    assert program.stdout is not None
    printed = (await program.stdout.read()).decode()  # the pipe is closed while it serves
    variables = dict(re.findall(r"^export (\w+)=(\S+)$", printed, re.MULTILINE))
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{variables['SIEVE_API_URL']}/v2/jobs/job-00",
        headers={"X-API-Key": variables["SIEVE_API_KEY"]},
    )

    def look_up() -> str:
        with urllib.request.urlopen(request) as response:  # noqa: S310 - our own server
            return str(json.load(response)["id"])

    assert await asyncio.to_thread(look_up) == "job-00"
    assert int(variables["SIEVE_SERVER_PID"]) == program.pid
    program.send_signal(number)
    ended = await finish_command(program)

    assert ended.exit_code == 0
    assert "served 1 request\n" in ended.stderr


async def test_serve_in_eval(tmp_path: Path) -> None:
    """``eval "$(sieve-async serve ... &)"`` sets the variables of the shell."""
    program = tmp_path / "sieve-async"
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -W error -m sieve_async "$@"\n', "utf-8"
    )
    program.chmod(0o755)
    line = (
        'eval "$(sieve-async serve --port 0 --jobs 2 --speed 100 2> /dev/null &)"\n'
        "sieve-async job get job-00 --format jsonl\n"
        'kill "$SIEVE_SERVER_PID"'
    )

    ended = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", line],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert json.loads(ended.stdout)["id"] == "job-00"
    assert ended.stderr == ""
