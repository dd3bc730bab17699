"""``demo`` and ``serve``: the commands on an embedded server."""

import asyncio
import json
import re
import signal
import urllib.request
from collections import Counter

import pytest

from helpers.cli_in_process import Command, TerminalCommand
from helpers.cli_runner import finish_command, start_command
from sieve_async.testing import FakeSieve


async def test_demo(command: Command) -> None:
    """The demo starts jobs, prints each as it ends, downloads a file, and exits with 0."""
    ended = await command("demo", "--speed", "20")
    assert ended.exit_code == 0, ended
    *lines, downloaded, totals, delay = ended.stdout.splitlines()
    statuses = Counter(line.split()[1] for line in lines)
    assert statuses == {"finished": 40, "error": 5, "cancelled": 5}
    assert re.fullmatch(r"downloaded video.mp4 of job \S+: 1,000,000 bytes", downloaded)
    assert totals.endswith("unexpected outcomes: none")
    assert re.fullmatch(r"outcomes came \d\.\d\d s after the end of the job on average", delay)
    assert "version sieve/dubbing: ready" in ended.stderr
    assert "50 of 50 jobs ended" in ended.stderr


@pytest.mark.programs
@pytest.mark.parametrize(("strategy", "jobs"), [("long_poll", 30), ("list", 30), ("poll", 0)])
async def test_options(command: Command, strategy: str, jobs: int) -> None:
    """The demo watches as many jobs as asked for, by any strategy."""
    line = ("demo", "--jobs", str(jobs), "--strategy", strategy, "--speed", "20")
    ended = await command(*line)
    assert ended.exit_code == 0, ended
    assert f"watching {jobs} jobs (strategy: {strategy})" in ended.stderr
    assert ("24 finished, 3 error, 3 cancelled" in ended.stderr) is (jobs > 0)
    assert "unexpected outcomes: none\n" in ended.stdout


@pytest.mark.programs
async def test_terminal(at_terminal: TerminalCommand) -> None:
    line = ("demo", "--jobs", "10", "--speed", "5")
    _, shown = await at_terminal(*line, size=(120, 40), shared=True)
    assert " of 10 ended" in shown
    assert shown.count("  finished") == 8


@pytest.mark.programs
async def test_serve(sieve: FakeSieve) -> None:
    """The server prints the variables to set, answers, and exits with 0 when it is stopped."""
    program = await start_command(sieve, "serve", "--port", "0", "--jobs", "3", "--speed", "100")
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
    program.send_signal(signal.SIGTERM)
    ended = await finish_command(program)
    assert ended.exit_code == 0
    assert "served 1 request\n" in ended.stderr
