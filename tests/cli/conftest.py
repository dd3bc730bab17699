"""Fixtures of the command line's tests."""

import pytest

from helpers.cli_in_process import Command, make_command
from sieve_async.testing import FakeSieve


@pytest.fixture
def command(
    sieve: FakeSieve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command against the server, in this process."""
    return make_command(sieve, monkeypatch, capfd)
