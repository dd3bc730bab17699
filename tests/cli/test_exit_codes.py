"""Exit codes, their precedence, and errors in one line."""

import itertools
from pathlib import Path

import pytest

from helpers.cli_in_process import Command
from helpers.leak_checks import KEY
from sieve_async.cli.output import Exit, exit_of_many
from sieve_async.cli.parser import EXIT_CODES
from sieve_async.testing import FakeSieve

CODES = {
    "finished": 0,
    "error": 1,
    "cancelled": 3,
    "gone": 5,
    "never": 124,
    "a/b": 2,
}


@pytest.fixture
async def jobs(sieve: FakeSieve) -> FakeSieve:
    """A server with a job for each end."""
    for status in ("finished", "error", "cancelled"):
        sieve.add_job(status, status=status)
    sieve.add_job("never", status=None)
    return sieve


@pytest.mark.parametrize(("job_id", "code"), CODES.items(), ids=list(CODES))
@pytest.mark.usefixtures("jobs")
async def test_code_of_one(command: Command, job_id: str, code: int) -> None:
    """Each end has its exit code."""
    ended = await command("job", "wait", job_id, "--timeout", "1s")

    assert ended.exit_code == code
    assert ended.stdout.startswith(f"{job_id}  ")


@pytest.mark.parametrize(
    "job_ids",
    list(itertools.pairwise(["never", "a/b", "gone", "error", "cancelled", "finished"])),
    ids=" ".join,
)
@pytest.mark.usefixtures("jobs")
async def test_precedence(command: Command, job_ids: tuple[str, str]) -> None:
    """Of two codes the less certain one counts."""
    ended = await command("watch", *reversed(job_ids), "--timeout", "1")

    assert ended.exit_code == CODES[job_ids[0]]


@pytest.mark.usefixtures("jobs")
async def test_exit_zero(command: Command) -> None:
    """``--exit-zero`` ignores how jobs end, but not that they were not found."""
    failed = await command("job", "wait", "error", "cancelled", "--exit-zero")
    missing = await command("job", "wait", "error", "gone", "--exit-zero")

    assert (failed.exit_code, missing.exit_code) == (0, 5)


async def test_builds(command: Command, sieve: FakeSieve) -> None:
    """A failed build is 1, one that takes too long 124, one that does not exist 5."""
    sieve.add_version("me", "bad", status="error")
    sieve.add_version("me", "slow", status=None)

    codes = [
        (await command("version", "wait", *arguments)).exit_code
        for arguments in (
            ("me/bad",),
            ("me/bad", "--exit-zero"),
            ("me/slow", "--timeout", "0.5s"),
            ("me/none",),
        )
    ]

    assert codes == [1, 0, 124, 5]


async def test_refused_key(command: Command, sieve: FakeSieve) -> None:
    """A refused key is 4; the line says where the key came from, and never shows it."""
    sieve.add_job("a")

    ended = await command("job", "get", "a", "--debug", SIEVE_API_KEY="wrong-key-1")

    assert ended.exit_code == 4
    assert "the server refused the key from SIEVE_API_KEY" in ended.stderr
    assert "wrong-key-1" not in ended.stderr
    assert "Traceback" in ended.stderr


@pytest.mark.parametrize("arguments", [("job", "get", "a"), ("watch", "a")], ids=" ".join)
async def test_no_key(command: Command, arguments: tuple[str, ...]) -> None:
    """Without a key, one line says where it can be put."""
    ended = await command(*arguments, SIEVE_API_KEY="")

    assert ended.exit_code == 4
    assert ended.stderr.count("\n") == 1
    assert all(
        word in ended.stderr for word in ("SIEVE_API_KEY", "SIEVE_API_KEY_FILE", "--key-file")
    )


async def test_key_file(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """``--key-file`` comes before the environment; a missing file is named."""
    sieve.add_job("a")
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n", "utf-8")

    good = await command("job", "get", "a", "--key-file", str(path), SIEVE_API_KEY="wrong")
    bad = await command("job", "get", "a", "--key-file", str(tmp_path / "none"))

    assert (good.exit_code, bad.exit_code) == (0, 4)
    assert "--key-file cannot be read: No such file" in bad.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (("job", "get", "gone"), 5, "/v2/jobs/gone: HTTP 404"),
        (("version", "get", "me/none"), 5, "me/none"),
        (("job", "get", "a/b"), 2, "job_id must be"),
        (("job", "outputs", "never", "--timeout", "0"), 124, "job never: timed out"),
        (("job", "get", "a", "--base-url", "http://example.com"), 2, "https"),
        (("job", "get", "a", "--base-url", "http://127.0.0.1:9"), 6, "--base-url"),
        (("watch", "--ids-file", "/nowhere/ids"), 6, "/nowhere/ids"),
    ],
)
@pytest.mark.usefixtures("jobs")
async def test_error_lines(
    command: Command, arguments: tuple[str, ...], code: int, hint: str
) -> None:
    """An error is one line that says what to do, and an exit code."""
    ended = await command(*arguments)

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
