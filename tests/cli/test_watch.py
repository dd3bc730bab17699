"""``job wait`` and ``watch``: results, progress lines, and how the watch ends."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from helpers.cli_in_process import Command
from helpers.cli_runner import run_shell
from sieve_async import InputOutput, Job, JobOutcome
from sieve_async.cli.output import to_json
from sieve_async.testing import FakeSieve


@pytest.mark.looptime
async def test_results(command: Command, sieve: FakeSieve) -> None:
    """Each job is printed once, in the order of the ends, in any format."""
    error = "Traceback\nValueError: no"
    for style in ("text", "json", "jsonl", "quiet"):
        sieve.add_job(f"slow-{style}", processing=1.5)
        sieve.add_job(f"fast-{style}", status="error", error=error)
        ids = [f"{name}-{style}" for name in ("slow", "fast", "slow")]
        ended = await command("watch", *ids, "--format", style)
        match style:
            case "text":
                rows = [line.split()[:2] for line in ended.stdout.splitlines()]
            case "quiet":
                rows = []
            case _:
                text = f"[{','.join(ended.stdout.splitlines())}]" if style == "jsonl" else ""
                rows = [[row["job_id"], row["status"]] for row in json.loads(text or ended.stdout)]
        expected = [[f"fast-{style}", "error"], [f"slow-{style}", "finished"]]
        assert ended.exit_code == 1
        assert rows == expected * (style != "quiet")
        assert "Traceback" not in ended.stderr
        assert (ended.stderr == "") is (style == "quiet")


@pytest.mark.looptime
async def test_first_and_last_line(command: Command, sieve: FakeSieve) -> None:
    """The progress begins with what is watched and ends with a summary, both with a time."""
    sieve.add_job("good")
    sieve.add_job("bad", status="error")
    ended = await command("job", "wait", "good", "bad", "gone")
    silent = await command("job", "wait", "bad", "--no-progress")
    first, *_, last = ended.stderr.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  watching 3 jobs \(strategy: poll\)", first)
    counts = "1 finished, 1 error, 1 NotFoundError"
    assert re.fullmatch(rf"\d\d:\d\d:\d\d  3 of 3 jobs ended in \d+\.\d s: {counts}", last)
    assert (silent.exit_code, silent.stderr) == (1, "")


@pytest.mark.parametrize(
    ("output", "errors"),
    [("both", "both"), ("results", "both"), (os.devnull, "both"), ("pipe", "pipe")],
)
async def test_failures_once(
    command: Command,
    sieve: FakeSieve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    output: str,
    errors: str,
) -> None:
    """A failure stands once in a log, and also where only errors can be seen."""
    sieve.add_job("bad", status="error", error="ValueError: no")
    reading, writing = os.pipe()
    paths = {"pipe": f"/dev/fd/{writing}"}
    with (
        open(tmp_path / paths.get(output, output), "a", encoding="utf-8") as stdout,  # noqa: ASYNC230, PTH123 - at once
        open(tmp_path / paths.get(errors, errors), "a", encoding="utf-8") as stderr,  # noqa: ASYNC230, PTH123 - at once
    ):
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        ended = await command("watch", "bad")
    os.close(writing)
    piped = os.read(reading, 65536).decode()
    os.close(reading)
    text = piped if errors == "pipe" else (tmp_path / errors).read_text("utf-8")
    assert ended.exit_code == 1
    assert text.count("ValueError: no") == 1


@pytest.mark.looptime
@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_strategies(command: Command, sieve: FakeSieve, strategy: str) -> None:
    """Thirty jobs are watched by any strategy, at the rate asked for."""
    ids = sieve.add_jobs(30, seed=1, processing=0.2, queued=0.2)
    ended = await command("watch", *ids, "--strategy", strategy, "--rate", "10")
    assert sorted(line.split()[0] for line in ended.stdout.splitlines()) == ids
    assert ended.exit_code == 1
    assert asyncio.get_running_loop().time() > 2.5


@pytest.mark.looptime
async def test_any_and_fail_fast(command: Command, sieve: FakeSieve) -> None:
    sieve.add_job("never", status=None)
    sieve.add_job("soon", status="cancelled")
    sieve.add_job("good")
    sieve.add_job("bad", processing=0.5, status="error")
    first = await command("job", "wait", "never", "gone", "soon", "--any")
    line = ("job", "wait", "never", "good", "bad", "--fail-fast", "--format", "json")
    failure = await command(*line)
    assert (first.exit_code, failure.exit_code) == (3, 1)
    assert "soon  cancelled" in first.stdout
    assert [row["job_id"] for row in json.loads(failure.stdout)] == ["good", "bad"]


@pytest.mark.programs
async def test_closed_pipe(sieve: FakeSieve) -> None:
    """When the reader of the results has gone, the watch ends at once and without a word."""
    sieve.add_jobs(100, seed=1)
    ended = await run_shell(
        sieve, "set -o pipefail; sieve-async watch job-{00..99} --no-progress | head -n 1"
    )
    assert (ended.exit_code, ended.stderr) == (141, "")
    assert ended.stdout.count("\n") == 1


@pytest.mark.programs
async def test_closed_output(sieve: FakeSieve) -> None:
    """With closed streams the exit code is still right."""
    sieve.add_job("a", status="cancelled")
    ended = await run_shell(sieve, "sieve-async watch a --no-progress >&- 2>&-")
    assert (ended.exit_code, ended.stdout, ended.stderr) == (3, "", "")


@pytest.mark.programs
@pytest.mark.parametrize(("line", "code"), [("watch a", 3), ("watch a --nope", 2)])
async def test_lost_errors(sieve: FakeSieve, line: str, code: int) -> None:
    """It is right also when standard error cannot be written."""
    sieve.add_job("a", status="cancelled")

    ended = await run_shell(sieve, f"sieve-async {line} 2>/dev/full", PYTHONUNBUFFERED="")

    assert (ended.exit_code, ended.stdout.count("\n")) == (code, code - 2)


@pytest.mark.programs
async def test_full_disk(sieve: FakeSieve) -> None:
    """Results that cannot be written are one line and 6."""
    sieve.add_job("a")
    ended = await run_shell(sieve, "sieve-async watch a --no-progress >/dev/full")
    assert ended.exit_code == 6
    assert ended.stderr == "sieve-async: [Errno 28] No space left on device\n"


def test_deep_outputs() -> None:
    """A job that is nested deeper than JSON can be written is cut, and ends no watch."""
    data: object = "end"
    for _ in range(100_000):
        data = [data]
    job = Job("a", "finished", outputs=(InputOutput(data={"deep": data, "flat": [1]}),))

    document = json.loads(to_json(JobOutcome("a", job)))

    assert document["status"] == "finished"
    assert document["job"]["outputs"][0]["data"]["flat"] == [1]
    assert "(nested too deeply)" in str(document)
