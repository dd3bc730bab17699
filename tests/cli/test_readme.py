"""The README's section on the command line: its commands run as printed, and print what it says."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from helpers.cli_runner import reset_signals
from sieve_async.cli.output import Exit
from sieve_async.cli.parser import build_parser

TEXT = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SECTION = TEXT.split("## Command line\n")[1].split("\n## ")[0]
(BLOCK,) = re.findall(r"```console\n(.*?)```", SECTION, re.DOTALL)
COMMANDS = [
    (entry.split("\n", 1)[0], entry.split("\n", 1)[1])
    for entry in re.split(r"^\$ ", BLOCK, flags=re.MULTILINE)[1:]
]


def without_times(text: str) -> list[str]:
    """The lines, in which times are not compared, and neither is the order of the ends."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    return sorted(re.sub(r"\d+\.\d s", "N s", text).splitlines())


async def test_block(tmp_path: Path) -> None:
    """The block works when it is pasted as it stands, and prints what the README says."""
    assert "serve" in COMMANDS[0][0]
    program = tmp_path / "sieve-async"
    text = f'#!/bin/sh\nexec "{sys.executable}" -W error -m sieve_async "$@"\n'
    await asyncio.to_thread(program.write_text, text, "utf-8")
    await asyncio.to_thread(program.chmod, 0o755)
    marked = [f"echo '%%% {number}'\n{line}" for number, (line, _) in enumerate(COMMANDS)]
    script = "\n".join(marked).replace("--port 8001", "--port 0")
    running = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=reset_signals,
    )

    stdout, stderr = map(bytes.decode, await running.communicate())

    printed = re.split(r"^%%% \d+\n", stdout, flags=re.MULTILINE)[1:]
    assert len(printed) == len(COMMANDS), stderr
    for (line, expected), actual in zip(COMMANDS, printed, strict=True):
        assert without_times(actual) == without_times(expected), line
    assert "10 Sieve jobs" in await asyncio.to_thread((tmp_path / "batch.html").read_text, "utf-8")


def test_exit_codes() -> None:
    """The table has every exit code, in the order of precedence."""
    cells = re.findall(r"^\| ([\d, ]+) \|", SECTION, re.MULTILINE)

    assert [int(code) for cell in cells for code in cell.split(",")] == list(Exit)


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
