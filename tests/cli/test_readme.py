"""The README's section on the command line: its commands run as they stand."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from helpers.cli_runner import reset_signals
from sieve_async.cli import parser

TEXT = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SECTION = TEXT.split("## Command line\n")[1].split("\n## ")[0]
(BLOCK,) = re.findall(r"```console\n(.*?)```", SECTION, re.DOTALL)
COMMANDS = re.findall(r"^\$ (.*)$", BLOCK, re.MULTILINE)


@pytest.mark.programs
async def test_block(tmp_path: Path) -> None:
    """The block works when it is pasted as it stands."""
    program = tmp_path / "sieve-async"
    text = f'#!/bin/sh\nexec "{sys.executable}" -W error -m sieve_async "$@"\n'
    await asyncio.to_thread(program.write_text, text, "utf-8")
    await asyncio.to_thread(program.chmod, 0o755)
    script = "\n".join(COMMANDS).replace("--port 8001", "--port 0")
    running = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=reset_signals,
    )
    stdout, stderr = map(bytes.decode, await running.communicate())
    assert running.returncode == 0, stderr
    assert "command not found" not in stderr
    assert "sieve-async: " not in stderr  # as errors begin
    assert sum(line.startswith("job-0") for line in stdout.splitlines()) == 2
    assert "\nbatch.html\n" in stdout
    assert re.search(r"^[0-9a-f-]{36}  finished", stdout, re.MULTILINE)
    assert "10 Sieve jobs" in await asyncio.to_thread((tmp_path / "batch.html").read_text, "utf-8")


def test_options() -> None:
    """Every option that the section names is one that a command has."""
    known = {"--help", "--debug", "--print-completion"}
    known = known.union(*(command.arguments for command in parser.COMMANDS.values()))
    assert set(re.findall(r"--[a-z][a-z-]+", SECTION)) <= known
