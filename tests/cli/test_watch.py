"""``job wait`` and ``watch`` in pipes: results, progress lines, and how the watch ends."""

import json
import re
import time
from pathlib import Path

import pytest

from helpers.cli_in_process import Command
from helpers.cli_runner import finish_command, run_command, run_shell, start_command
from sieve_async.testing import FakeSieve


@pytest.mark.parametrize("style", ["text", "json", "jsonl", "quiet"])
async def test_results(command: Command, sieve: FakeSieve, style: str) -> None:
    """Each job is printed once, in the order of the ends, in any format."""
    sieve.add_job("slow", processing=1.5)
    sieve.add_job("fast", status="error", error="Traceback\nValueError: no")

    ended = await command("watch", "slow", "fast", "slow", "--format", style)

    match style:
        case "text":
            rows = [line.split()[:2] for line in ended.stdout.splitlines()]
        case "json":
            rows = [[row["job_id"], row["status"]] for row in json.loads(ended.stdout)]
        case "jsonl":
            rows = [
                [row["job_id"], row["status"]] for row in map(json.loads, ended.stdout.splitlines())
            ]
        case _:
            rows = []
    assert ended.exit_code == 1
    assert rows == ([] if style == "quiet" else [["fast", "error"], ["slow", "finished"]])
    assert "Traceback" not in ended.stderr


async def test_first_and_last_line(sieve: FakeSieve) -> None:
    """The progress begins with what is watched and ends with a summary, both with a time."""
    sieve.add_job("good")
    sieve.add_job("bad", status="error")

    ended = await run_command(sieve, "job", "wait", "good", "bad", "gone")

    first, last = ended.stderr.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  watching 3 jobs \(strategy: poll\)", first)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d  3 of 3 jobs ended in \d+\.\d s: 1 finished, 1 error, 1 NotFoundError",
        last,
    )


@pytest.mark.parametrize("option", [("--no-progress",), ("--format", "quiet")], ids=" ".join)
async def test_no_progress(command: Command, sieve: FakeSieve, option: tuple[str, ...]) -> None:
    """``--no-progress`` and ``--format quiet`` write nothing to standard error."""
    sieve.add_job("bad", status="error")

    ended = await command("watch", "bad", *option)

    assert (ended.exit_code, ended.stderr) == (1, "")


@pytest.mark.parametrize(
    ("redirection", "copies"),
    [
        ("> both 2>&1", 1),
        ("2>&1 | cat > both", 1),
        ("> both 2>> both", 1),
        ("--format json > both 2>&1", 1),
        ("> results 2> both", 1),
        ("> /dev/null 2> both", 1),
        ("--format quiet > both 2>&1", 0),
    ],
)
async def test_failures_once(
    sieve: FakeSieve, tmp_path: Path, redirection: str, copies: int
) -> None:
    """A failure stands once in a log, and also where only errors can be seen."""
    sieve.add_job("bad", status="error", error="ValueError: no")

    ended = await run_shell(sieve, f"cd {tmp_path}; sieve-async watch bad {redirection}")

    text = (tmp_path / "both").read_text("utf-8")
    assert ended.exit_code in {0, 1}  # of cat, in the pipe
    assert text.count("ValueError: no") == copies


@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_strategies(
    command: Command, sieve: FakeSieve, tmp_path: Path, strategy: str
) -> None:
    """Sixty jobs are watched by any strategy."""
    ids = sieve.add_jobs(60, seed=1, processing=0.2, queued=0.2)
    path = tmp_path / "ids.txt"
    path.write_text("\n".join(ids), "utf-8")

    ended = await command("watch", "--ids-file", str(path), "--strategy", strategy)

    assert sorted(line.split()[0] for line in ended.stdout.splitlines()) == ids
    assert ended.exit_code == 1


async def test_rate(command: Command, sieve: FakeSieve) -> None:
    """``--rate`` spreads the polls."""
    ids = sieve.add_jobs(20, seed=1, processing=0, queued=0)
    started = time.monotonic()

    await command("watch", *ids, "--rate", "20", "--exit-zero")

    assert time.monotonic() - started > 0.9  # 20 polls at 20 a second


async def test_any(command: Command, sieve: FakeSieve) -> None:
    """``--any`` ends with the first job that ends; the exit code is that job's."""
    sieve.add_job("never", status=None)
    sieve.add_job("soon", status="cancelled")

    ended = await command("job", "wait", "never", "gone", "soon", "--any")

    assert ended.exit_code == 3
    assert "soon  cancelled" in ended.stdout


async def test_fail_fast(command: Command, sieve: FakeSieve) -> None:
    """``--fail-fast`` ends with the first failure."""
    sieve.add_job("never", status=None)
    sieve.add_job("good")
    sieve.add_job("bad", processing=0.5, status="error")

    ended = await command("job", "wait", "never", "good", "bad", "--fail-fast", "--format", "json")

    assert ended.exit_code == 1
    assert [row["job_id"] for row in json.loads(ended.stdout)] == ["good", "bad"]


async def test_closed_pipe(sieve: FakeSieve) -> None:
    """When the reader of the results has gone, the watch ends at once and without a word."""
    sieve.add_jobs(100, seed=1)

    ended = await run_shell(
        sieve, "set -o pipefail; sieve-async watch job-{00..99} --no-progress | head -n 1"
    )

    assert (ended.exit_code, ended.stderr) == (141, "")
    assert ended.stdout.count("\n") == 1


async def test_closed_output(sieve: FakeSieve) -> None:
    """With closed streams the exit code is still right."""
    sieve.add_job("a", status="cancelled")

    ended = await run_shell(sieve, "sieve-async watch a --no-progress >&- 2>&-")

    assert (ended.exit_code, ended.stdout, ended.stderr) == (3, "", "")


async def test_full_disk(sieve: FakeSieve) -> None:
    """Results that cannot be written are one line and 6."""
    sieve.add_job("a")

    ended = await run_shell(sieve, "sieve-async watch a --no-progress >/dev/full")

    assert ended.exit_code == 6
    assert ended.stderr == "sieve-async: [Errno 28] No space left on device\n"


async def test_arriving_ids(sieve: FakeSieve) -> None:
    """With ``-`` ids are watched as they arrive, before the input has ended."""
    sieve.add_job("first")
    sieve.add_job("second")
    program = await start_command(sieve, "watch", "-")
    assert program.stdin is not None
    assert program.stdout is not None

    program.stdin.write(b"first\nsec")
    line = await program.stdout.readline()
    ended = await finish_command(program, b"ond first")

    assert line.split()[:2] == [b"first", b"finished"]
    assert ended.stdout.split()[:2] == ["second", "finished"]
    assert ended.exit_code == 0
    assert "watching jobs from standard input" in ended.stderr
    assert "2 of 2 jobs ended" in ended.stderr


async def test_no_ids(command: Command) -> None:
    """No ids are no failure: the results are an empty array."""
    ended = await command("watch", "-", "--format", "json")

    assert (ended.exit_code, json.loads(ended.stdout)) == (0, [])
    assert "0 of 0 jobs ended" in ended.stderr
