"""Every exit code, which one stands for many, and errors in one line."""

import itertools
from pathlib import Path

import pytest

from helpers.cli_runner import run_command
from helpers.leak_checks import KEY
from sieve_async.cli.arguments import STRATEGIES, parse
from sieve_async.cli.exits import PRECEDENCE, Exit, exit_of_many
from sieve_async.cli.help_texts import EXIT_CODES
from sieve_async.testing import FakeSieve
from sieve_async.watching import STRATEGIES as KNOWN_STRATEGIES

ENDS = {
    "finished": 0,
    "error": 1,
    "cancelled": 3,
    "gone": 5,
    "never": 124,
    "broken": 6,
    "a/b": 2,
}


@pytest.fixture
async def town(sieve: FakeSieve) -> FakeSieve:
    """A server with a job for each way to end."""
    for end in ("finished", "error", "cancelled"):
        sieve.add_job(end, status=end)
    sieve.add_job("never", status=None)
    sieve.add_job("broken", fields={"created_at": "yesterday"})
    return sieve


@pytest.mark.parametrize(("job_id", "code"), ENDS.items(), ids=list(ENDS))
async def test_code_of_one(town: FakeSieve, job_id: str, code: int) -> None:
    """Each way in which a wait ends has its code."""
    ended = await run_command(town, "job", "wait", job_id, "--timeout", "1s")

    assert ended.exit_code == code
    assert ended.stdout.startswith(f"{job_id}  ")


@pytest.mark.parametrize(
    "job_ids",
    list(itertools.pairwise(["broken", "never", "a/b", "gone", "error", "cancelled", "finished"])),
    ids=" ".join,
)
async def test_precedence(town: FakeSieve, job_ids: tuple[str, str]) -> None:
    """Of two codes, the one that says that less is known comes first."""
    ended = await run_command(town, "watch", *reversed(job_ids), "--timeout", "1")

    assert ended.exit_code == ENDS[job_ids[0]]


async def test_no_fail(town: FakeSieve) -> None:
    """``--no-fail`` forgives how jobs end, but not that they were not found."""
    forgiven = await run_command(town, "job", "wait", "error", "cancelled", "--no-fail")
    missed = await run_command(town, "job", "wait", "error", "gone", "--no-fail")

    assert (forgiven.exit_code, missed.exit_code) == (0, 5)


async def test_builds(sieve: FakeSieve) -> None:
    """A failed build is 1, one that takes too long 124, one that is not there 5."""
    sieve.add_version("me", "bad", status="error")
    sieve.add_version("me", "slow", status=None)

    codes = [
        (await run_command(sieve, "version", "wait", *arguments)).exit_code
        for arguments in (
            ("me/bad",),
            ("me/bad", "--no-fail"),
            ("me/slow", "--timeout", "0.5s"),
            ("me/none",),
        )
    ]

    assert codes == [1, 0, 124, 5]


async def test_refused_key(sieve: FakeSieve) -> None:
    """A refused key is 4; the line says where the key came from, and never shows it."""
    sieve.add_job("a")

    ended = await run_command(sieve, "job", "get", "a", "--debug", SIEVE_API_KEY="wrong-key-1")

    assert ended.exit_code == 4
    assert "SIEVE_API_KEY was refused" in ended.stderr
    assert "wrong-key-1" not in ended.stderr
    assert "Traceback" in ended.stderr


@pytest.mark.parametrize("command_line", [("job", "get", "a"), ("watch", "a")], ids=" ".join)
async def test_no_key(sieve: FakeSieve, command_line: tuple[str, ...]) -> None:
    """Without a key, one line says where it can be put."""
    ended = await run_command(sieve, *command_line, SIEVE_API_KEY="")

    assert ended.exit_code == 4
    assert ended.stderr.count("\n") == 1
    assert all(
        word in ended.stderr for word in ("SIEVE_API_KEY", "SIEVE_API_KEY_FILE", "--key-file")
    )


async def test_key_file(sieve: FakeSieve, tmp_path: Path) -> None:
    """``--key-file`` comes before the environment; a file that is not there is named."""
    sieve.add_job("a")
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n", "utf-8")

    good = await run_command(
        sieve, "job", "get", "a", "--key-file", str(path), SIEVE_API_KEY="wrong"
    )
    bad = await run_command(sieve, "job", "get", "a", "--key-file", str(tmp_path / "none"))

    assert (good.exit_code, bad.exit_code) == (0, 4)
    assert "--key-file cannot be read: No such file" in bad.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (("job", "get", "gone"), 5, "job gone was not found"),
        (("version", "get", "me/none"), 5, "me/none"),
        (("job", "get", "a/b"), 2, "job_id must be"),
        (("job", "outputs", "never", "--timeout", "0"), 124, "job never (processing)"),
        (("job", "get", "a", "--base-url", "http://example.com"), 2, "https"),
        (("job", "get", "a", "--base-url", "http://127.0.0.1:9"), 6, "--base-url"),
        (("watch", "--ids-file", "/nowhere/ids"), 6, "/nowhere/ids"),
    ],
)
async def test_complaints(
    town: FakeSieve, arguments: tuple[str, ...], code: int, hint: str
) -> None:
    """What goes wrong is one line that says what to do, and a code."""
    ended = await run_command(town, *arguments)

    assert (ended.exit_code, ended.stderr.count("\n")) == (code, 1)
    assert ended.stderr.startswith("sieve-async: ")
    assert hint in ended.stderr
    assert KEY not in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["job"],
        ["job", "wait"],
        ["job", "wait", "a", "--timeout", "soon"],
        ["job", "wait", "a", "--timeout", ""],
        ["job", "wait", "a", "--any", "--fail-fast"],
        ["job", "get", "a", "--offset", "-1"],
        ["version", "get", "mine"],
        ["watch"],
        ["watch", "-", "a"],
        ["watch", "a", "--report", "/nowhere/at/all.html"],
        ["watch", "a", "-o", "yaml"],
    ],
    ids=" ".join,
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be understood ends with 2 before anything is asked."""
    with pytest.raises(SystemExit) as ended:
        parse(arguments)

    assert ended.value.code == 2
    assert "usage: sieve-async" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90m", 5400),
        ("1h30m", 5400),
        ("45s", 45),
        ("2d", 172800),
        ("1.5h", 5400),
        ("7", 7),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """Durations are written as people write them."""
    options = parse(["job", "wait", "a", "--timeout", text])

    assert (options.timeout, options.timeout_text) == (seconds, text)


def test_codes_are_documented() -> None:
    """The help lists every code, in the order of precedence."""
    listed = [int(word) for word in EXIT_CODES.replace(",", "").split() if word.isdigit()]

    assert set(listed) >= {code.value for code in Exit}
    assert [code for code in listed if code in set(Exit)][: len(Exit)] == list(PRECEDENCE)
    assert exit_of_many([]) == Exit.GOOD


def test_strategies() -> None:
    """The strategies of the command line are those that there are."""
    assert STRATEGIES == KNOWN_STRATEGIES
