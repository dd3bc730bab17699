"""The README's section on the command line: its commands run as printed, and print what it says."""

import argparse
import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sieve_async.cli.arguments import build_parser
from sieve_async.cli.exits import PRECEDENCE

TEXT = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
SECTION = TEXT.split("## Command line\n")[1].split("\n## ")[0]
SERVING, *BLOCKS = re.findall(r"```console\n(.*?)```", SECTION, re.DOTALL)
COMMANDS = [
    (entry.split("\n", 1)[0], entry.split("\n", 1)[1])
    for block in BLOCKS
    for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
]
SHELL = f'sieve-async() {{ "{sys.executable}" -W error -m sieve_async "$@"; }}; '


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[dict[str, str]]:
    """The server of the README, on any port, and the variables that it says are to be set."""
    words = SERVING.strip().removeprefix("$ sieve-async ").removesuffix(" &").split()
    words[words.index("--port") + 1] = "0"
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sieve_async", *words, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    line = (await server.stdout.readline()).decode()
    try:
        yield dict(word.split("=", 1) for word in line.split()[1:])
    finally:
        server.send_signal(signal.SIGINT)
        await server.communicate()


def without_times(text: str) -> list[str]:
    """The lines, in which times are not compared, and neither is the order of the ends."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    return sorted(re.sub(r"\d+\.\d s", "N s", text).splitlines())


def test_there_are_commands() -> None:
    """The commands are found at all."""
    assert len(COMMANDS) == 5


async def test_commands(tmp_path: Path) -> None:
    """Each command prints what the README says, but for times."""
    async with serving() as variables:
        for line, expected in COMMANDS:
            running = await asyncio.create_subprocess_exec(
                *("bash", "-c", SHELL + line),
                cwd=tmp_path,
                env=os.environ | variables,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            printed, _ = await running.communicate()

            assert without_times(printed.decode()) == without_times(expected), line

    assert "10 jobs of Sieve" in (tmp_path / "batch.html").read_text("utf-8")


def test_exit_codes() -> None:
    """The table has every exit code, in the order of precedence."""
    cells = re.findall(r"^\| ([\d, ]+) \|", SECTION, re.MULTILINE)

    assert [int(code) for cell in cells for code in cell.split(",")] == list(PRECEDENCE)


def helps_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The help of a command and of those below it."""
    yield parser.format_help()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from helps_of(each)


def test_options() -> None:
    """Every option that the section names is one that a command has."""
    named = set(re.findall(r"--[a-z][a-z-]+", SECTION))

    helps = " ".join(helps_of(build_parser()))

    assert {option for option in named if option not in helps} == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
async def test_completion(shell: str) -> None:
    """With shtab there is a completion script for each shell, which knows the commands."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sieve_async", "--print-completion", shell),
        stdout=asyncio.subprocess.PIPE,
    )

    printed, _ = await program.communicate()

    assert program.returncode == 0
    assert all(word in printed for word in (b"watch", b"outputs", b"report"))


async def test_completion_without_shtab() -> None:
    """Without shtab one line says what to install."""
    blocked = "import sys; sys.modules['shtab'] = None; "
    code = f"{blocked}from sieve_async.cli import main; main(sys.argv[1:])"
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "--print-completion", "bash"),
        stderr=asyncio.subprocess.PIPE,
    )

    _, told = await program.communicate()

    assert program.returncode == 2
    assert b'pip install "sieve-async[cli]"' in told


@pytest.mark.parametrize(
    "arguments", [["--help"], ["watch", "--help"], ["--version"]], ids=" ".join
)
async def test_help_is_light(arguments: list[str]) -> None:
    """Help loads neither the client nor anything else that takes long."""
    code = (
        "import sys; from sieve_async.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

    printed, loaded = await program.communicate()

    assert printed.startswith((b"usage: sieve-async", b"sieve-async "))
    assert {"aiohttp", "asyncio", "rich", "shtab"}.isdisjoint(loaded.decode().split())
