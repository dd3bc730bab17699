"""Fixtures of the command line's tests."""

import pytest

from helpers.cli_in_process import Command, TerminalCommand, make_command, make_terminal_command
from sieve_async.testing import FakeSieve


@pytest.fixture
def command(
    sieve: FakeSieve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command against the server, in this process."""
    return make_command(sieve, monkeypatch, capfd)


@pytest.fixture
def at_terminal(
    sieve: FakeSieve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> TerminalCommand:
    """Runs a command at a terminal, in this process."""
    return make_terminal_command(sieve, monkeypatch, capfd)
