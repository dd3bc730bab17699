"""Exit codes, their precedence, and errors in one line."""

import itertools
from pathlib import Path
from unittest.mock import Mock

import pytest

from helpers.cli_in_process import Command
from helpers.leak_checks import KEY
from sieve_async.cli.output import Exit, exit_of_many
from sieve_async.cli.parser import EXIT_CODES
from sieve_async.testing import FakeSieve

# By precedence.
CODES = {"never": 124, "a/b": 2, "gone": 5, "error": 1, "cancelled": 3, "finished": 0}


@pytest.fixture
async def jobs(sieve: FakeSieve) -> FakeSieve:
    """A server with a job for each end."""
    for status in ("finished", "error", "cancelled"):
        sieve.add_job(status, status=status)
    sieve.add_job("never", status=None)
    return sieve


@pytest.mark.looptime
@pytest.mark.usefixtures("jobs")
async def test_codes(command: Command) -> None:
    """Each end has its exit code; of two codes the less certain one counts; some are ignored."""
    for job_id, code in CODES.items():
        ended = await command("job", "wait", job_id, "--timeout", "1s")
        assert (ended.exit_code, ended.stdout.split()[0]) == (code, job_id)
    for first, second in itertools.pairwise(CODES):
        ended = await command("watch", second, first, "--timeout", "1")
        assert ended.exit_code == CODES[first]
    failed = await command("job", "wait", "error", "cancelled", "--exit-zero")
    missing = await command("job", "wait", "error", "gone", "--exit-zero")
    assert (failed.exit_code, missing.exit_code) == (0, 5)


@pytest.mark.looptime
async def test_builds(command: Command, sieve: FakeSieve) -> None:
    """A failed build is 1, one that takes too long 124, one that does not exist 5."""
    sieve.add_version("me", "bad", status="error")
    sieve.add_version("me", "slow", status=None)
    lines = ("me/bad", "me/bad --exit-zero", "me/slow --timeout 0.5s", "me/none")
    codes = [(await command("version", "wait", *line.split())).exit_code for line in lines]
    assert codes == [1, 0, 124, 5]


async def test_refused_key(command: Command, sieve: FakeSieve) -> None:
    """A refused key is 4; the line says where the key came from, and never shows it."""
    sieve.add_job("a")
    ended = await command("job", "get", "a", "--debug", SIEVE_API_KEY="wrong-key-1")
    assert ended.exit_code == 4
    assert "the server refused the key from SIEVE_API_KEY" in ended.stderr
    assert "wrong-key-1" not in ended.stderr
    assert "Traceback" in ended.stderr


async def test_key_file(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """``--key-file`` comes before the environment; without a key, a line says where to put it."""
    sieve.add_job("a")
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n", "utf-8")
    good = await command("job", "get", "a", "--key-file", str(path), SIEVE_API_KEY="wrong")
    bad = await command("job", "get", "a", "--key-file", str(tmp_path / "none"))
    none = await command("job", "get", "a", SIEVE_API_KEY="")
    assert (good.exit_code, bad.exit_code, none.exit_code) == (0, 4, 4)
    assert "--key-file cannot be read: No such file" in bad.stderr
    assert none.stderr.count("\n") == 1
    for name in ("SIEVE_API_KEY", "SIEVE_API_KEY_FILE", "--key-file"):
        assert name in none.stderr


async def test_no_home_directory(
    command: Command, sieve: FakeSieve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container without one, the environment serves."""
    sieve.add_job("a")
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError("no home directory")))
    assert (await command("job", "get", "a")).exit_code == 0


@pytest.mark.parametrize(
    ("line", "code", "hint"),
    [
        ("job get gone", 5, "/v2/jobs/gone: HTTP 404"),
        ("version get me/none", 5, "me/none"),
        ("run me/none", 5, "HTTP 404"),
        ("job list --function me/none", 5, "HTTP 404"),
        ("job get a/b", 2, "job_id must be"),
        ("job outputs never --timeout 0", 124, "job never: timed out"),
        ("job get a --base-url http://example.com", 2, "https"),
        ("job get a --base-url http://127.0.0.1:9", 6, "--base-url"),
        ("watch --ids-file /nowhere/ids", 6, "/nowhere/ids"),
    ],
)
@pytest.mark.usefixtures("jobs")
async def test_error_lines(command: Command, line: str, code: int, hint: str) -> None:
    """An error is one line that says what to do, and an exit code."""
    ended = await command(*line.split())
    assert (ended.exit_code, ended.stderr.count("\n")) == (code, 1)
    assert ended.stderr.startswith("sieve-async: ")
    assert hint in ended.stderr
    assert KEY not in ended.stderr + ended.stdout


def test_codes_are_documented() -> None:
    """The help lists every code, in the order of precedence."""
    words = EXIT_CODES.replace(",", "").split()
    listed = [int(word) for word in words if word.isdigit()]
    assert [code for code in listed if code in set(Exit)][: len(Exit)] == list(Exit)
    assert exit_of_many([]) == Exit.OK
