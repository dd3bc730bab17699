"""Runs commands in the process of the test, which takes milliseconds instead of a second."""

import asyncio
import os
import sys
from collections.abc import Awaitable
from typing import Protocol, cast

import pytest

from helpers.cli_runner import CommandResult, terminal
from sieve_async.cli.commands import run_command
from sieve_async.cli.parser import parse
from sieve_async.testing import FakeSieve


class Command(Protocol):
    """Runs a command to its end."""

    def __call__(
        self, *arguments: str, stdin: bytes = b"", **environment: str
    ) -> Awaitable[CommandResult]:
        """Run it with these arguments, this input and these environment variables."""


class TerminalCommand(Protocol):
    """Runs a command whose standard error is a terminal."""

    def __call__(
        self, *arguments: str, size: tuple[int, int], shared: bool = False, **environment: str
    ) -> Awaitable[tuple[CommandResult, str]]:
        """Run it, and return its result and what the terminal showed.

        Args:
            arguments: The command line.
            size: Columns and rows.
            shared: Whether standard output is the terminal, too.
            environment: Environment variables.
        """


def make_command(
    sieve: FakeSieve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """A function that runs commands against a server."""

    async def run(*arguments: str, stdin: bytes = b"", **environment: str) -> CommandResult:
        ours, theirs = os.pipe()
        await asyncio.to_thread(_fill, theirs, stdin)
        capfd.readouterr()
        with monkeypatch.context() as patch, os.fdopen(ours) as pipe:
            patch.setattr(sys, "stdin", pipe)
            code = await _run(sieve, patch, arguments, environment)
        printed = capfd.readouterr()
        return CommandResult(code, printed.out, printed.err)

    return run


def make_terminal_command(
    sieve: FakeSieve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> TerminalCommand:
    """A function that runs commands at a terminal."""

    async def run(
        *arguments: str, size: tuple[int, int], shared: bool = False, **environment: str
    ) -> tuple[CommandResult, str]:
        capfd.readouterr()
        settings = {"TERM": "xterm-256color"} | environment
        async with terminal(*size) as screen:
            reading = asyncio.create_task(screen.read())
            with monkeypatch.context() as patch, os.fdopen(screen.theirs, "w") as stream:
                patch.setattr(sys, "stderr", stream)
                if shared:
                    patch.setattr(sys, "stdout", stream)
                code = await _run(sieve, patch, arguments, settings)
            await reading
        return CommandResult(code, capfd.readouterr().out, ""), screen.shown

    return run


async def _run(
    sieve: FakeSieve,
    patch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    environment: dict[str, str],
) -> int:
    for name in ("CI", "NO_COLOR"):
        patch.delenv(name, raising=False)
    settings = {"SIEVE_API_URL": sieve.url, "SIEVE_API_KEY": sieve.api_key} | environment
    for name, value in settings.items():
        patch.setenv(name, value)
    try:
        return int(await run_command(parse(arguments)))
    except SystemExit as ended:
        return cast("int", ended.code)


def _fill(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(data)
