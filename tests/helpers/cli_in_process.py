"""Runs commands in the process of the test, which takes milliseconds instead of a second."""

from collections.abc import Awaitable
from typing import Protocol, cast

import pytest

from helpers.cli_runner import CommandResult
from sieve_async.cli.runner import run_command
from sieve_async.cli.parser import parse
from sieve_async.testing import FakeSieve


class Command(Protocol):
    """Runs a command to its end."""

    def __call__(self, *arguments: str, **environment: str) -> Awaitable[CommandResult]:
        """Run it with these arguments and environment variables."""


def make_command(
    sieve: FakeSieve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """A function that runs commands against a server."""

    async def run(*arguments: str, **environment: str) -> CommandResult:
        settings = {"SIEVE_API_URL": sieve.url, "SIEVE_API_KEY": sieve.api_key} | environment
        capfd.readouterr()
        with monkeypatch.context() as patch:
            for name in ("CI", "NO_COLOR"):
                patch.delenv(name, raising=False)
            for name, value in settings.items():
                patch.setenv(name, value)
            try:
                code = int(await run_command(parse(arguments)))
            except SystemExit as ended:
                code = cast("int", ended.code)
        printed = capfd.readouterr()
        return CommandResult(code, printed.out, printed.err)

    return run
