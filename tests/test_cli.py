"""The command line, run as a user runs it."""

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import sys
import urllib.request

import pytest

from sieve_async.cli import main


async def run(*arguments: str) -> asyncio.subprocess.Process:
    """Start the program."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-m",
        "sieve_async",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_demo() -> None:
    """The demo waits for every job and build, tells of each end, and ends with 0."""
    program = await run("demo", "--speed", "2")

    printed, told = map(bytes.decode, await program.communicate())

    assert program.returncode == 0, printed + told
    rows = [line.split() for line in printed.splitlines()]
    ends = [row[1] for row in rows if row and row[0].startswith("job-")]
    assert len(ends) == 50
    assert {end: ends.count(end) for end in set(ends)} == {
        "finished": 40,
        "error": 5,
        "cancelled": 5,
    }
    assert "restarted after" in printed
    assert "dubbing-version" in printed
    assert "52 waits" in printed
    assert "none ended otherwise than scripted" in printed
    assert "40 finished, 5 error, 5 cancelled" in printed
    assert len(re.findall(r"job-\d\d +(?:finished|error|cancelled)", told)) == 50


@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_demo_of_many_jobs(strategy: str) -> None:
    """The demo watches as many jobs as it is asked to, by any strategy, and prints the totals."""
    program = await run("demo", "--jobs", "200", "--strategy", strategy, "--speed", "5")

    printed, told = map(bytes.decode, await program.communicate())

    assert program.returncode == 0, printed + told
    assert "160 finished, 20 error, 20 cancelled" in printed
    assert "202 waits" in printed
    assert strategy in told
    assert "job-" not in printed


@pytest.mark.parametrize(
    "arguments", [("--jobs", "-1"), ("--jobs", "many"), ("--strategy", "guess")], ids=" ".join
)
async def test_demo_refuses(arguments: tuple[str, str]) -> None:
    """Arguments that cannot be right are a usage error."""
    program = await run("demo", *arguments)

    _, told = map(bytes.decode, await program.communicate())

    assert program.returncode == 2
    assert arguments[0] in told


@pytest.mark.parametrize("is_installed", [True, False], ids=["with rich", "without rich"])
async def test_demo_on_a_terminal(*, is_installed: bool) -> None:
    """On a terminal the table has colours where rich is installed, and is there in any case."""
    blocked = "" if is_installed else "sys.modules['rich'] = None; "
    program = f"import sys; {blocked}from sieve_async.cli import main; sys.exit(main(sys.argv[1:]))"
    ours, theirs = pty.openpty()
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        "demo",
        "--speed",
        "9",
        stdout=theirs,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    reading = asyncio.create_task(asyncio.to_thread(read_all, ours))

    assert await running.wait() == 0

    shown = await reading
    assert ("\x1b[32m" in shown) is is_installed
    assert shown.count("job-") >= 50


def read_all(descriptor: int) -> str:
    """Everything that is written to a terminal until its writer has gone."""
    pieces = []
    with contextlib.suppress(OSError):  # Linux ends a terminal with an error
        while piece := os.read(descriptor, 65536):
            pieces.append(piece)
    os.close(descriptor)
    return b"".join(pieces).decode()


async def test_serve() -> None:
    """The server says how to use it, answers, and ends in peace when it is interrupted."""
    program = await run("serve", "--port", "0", "--jobs", "3", "--speed", "100")
    assert program.stdout is not None
    url, key = re.findall(r"=(\S+)", (await program.stdout.readline()).decode())
    request = urllib.request.Request(f"{url}/v2/jobs/job-00", headers={"X-API-Key": key})  # noqa: S310 - our own server

    def ask() -> str:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own server
            return str(json.load(answer)["id"])

    assert await asyncio.to_thread(ask) == "job-00"
    program.send_signal(signal.SIGINT)
    printed, complaints = await program.communicate()

    assert (program.returncode, complaints) == (0, b"")
    assert b"answered 1 requests" in printed


async def test_interrupted_demo() -> None:
    """Ctrl-C ends the demo with 130 and without a traceback."""
    program = await run("demo")
    assert program.stderr is not None
    await program.stderr.readline()

    program.send_signal(signal.SIGINT)
    _, told = await program.communicate()

    assert program.returncode == 130
    assert b"Traceback" not in told


@pytest.mark.parametrize("arguments", [[], ["dance"], ["demo", "--speed", "0"], ["serve", "x"]])
def test_usage(arguments: list[str]) -> None:
    """What cannot be understood ends with 2, as argparse does."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` names the package and its version."""
    with pytest.raises(SystemExit):
        main(["--version"])

    assert re.fullmatch(r"sieve-async \d+\.\d+\.\d+\n", capsys.readouterr().out)
