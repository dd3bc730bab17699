"""``demo`` and ``serve``: the commands on an embedded server."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from helpers.cli_in_process import Command, TerminalCommand
from helpers.cli_runner import finish_command, reset_signals

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


async def test_demo(command: Command) -> None:
    """The demo starts jobs, prints each as it ends, downloads a file, and exits with 0."""
    ended = await command("demo", "--speed", "5")

    assert ended.exit_code == 0, ended
    *lines, downloaded, totals, delay = ended.stdout.splitlines()
    statuses = Counter(line.split()[1] for line in lines)
    assert statuses == {"finished": 40, "error": 5, "cancelled": 5}
    assert re.fullmatch(r"downloaded video.mp4 of job \S+: 1,000,000 bytes", downloaded)
    assert totals.endswith("unexpected outcomes: none")
    assert re.fullmatch(r"outcomes came \d\.\d\d s after the end of the job on average", delay)
    assert "version sieve/dubbing: ready" in ended.stderr
    assert "50 of 50 jobs ended" in ended.stderr


@pytest.mark.parametrize("strategy", ["long_poll", "list"])
async def test_demo_of_many_jobs(command: Command, strategy: str) -> None:
    """The demo watches as many jobs as asked for, by any strategy."""
    ended = await command("demo", "--jobs", "200", "--strategy", strategy, "--speed", "5")

    assert ended.exit_code == 0, ended
    assert f"watching 200 jobs (strategy: {strategy})" in ended.stderr
    assert "160 finished, 20 error, 20 cancelled" in ended.stderr


async def test_demo_without_jobs(command: Command) -> None:
    """Without jobs the demo waits for the builds only."""
    ended = await command("demo", "--jobs", "0", "--speed", "9")

    assert ended.exit_code == 0, ended
    assert ended.stdout.endswith("unexpected outcomes: none\n")


async def test_demo_at_a_terminal(at_terminal: TerminalCommand) -> None:
    """At a terminal the demo has the live view."""
    _, shown = await at_terminal("demo", "--speed", "3", size=(120, 40), shared=True)

    assert " of 50 ended" in shown
    assert shown.count("  finished") == 40


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
