"""Ctrl-C and SIGTERM: the remote jobs go on, and so can whoever waited for them."""

import json
import re
import shlex
import signal
import time
from pathlib import Path

import pytest

from helpers.cli_runner import finish_command, run_command, start_command, wait_until_requested
from sieve_async.testing import FakeSieve

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.mark.parametrize("number", CODES, ids=["Ctrl-C", "SIGTERM"])
async def test_interrupted(sieve: FakeSieve, tmp_path: Path, number: int) -> None:
    """The ids that still run and the command that goes on are told, within a second."""
    sieve.add_job("done")
    job = sieve.job(sieve.add_job("going", by="manual"))
    report = tmp_path / "a batch.html"
    program = await start_command(
        sieve,
        *("watch", "done", "going", "-o", "json", "--timeout", "2h", "--strategy", "long_poll"),
        *("--report", str(report), "--no-fail"),
    )
    assert program.stdout is not None
    await program.stdout.readuntil(b"}}")

    await wait_until_requested(sieve, "/v2/jobs/going/await")
    program.send_signal(number)
    began = time.monotonic()
    ended = await finish_command(program)

    took = time.monotonic() - began
    assert ended.exit_code == CODES[signal.Signals(number)]
    assert took < 1
    assert "1 job still runs: going\n" in ended.stderr
    (again,) = re.findall(r"to go on waiting: (.*)\n", ended.stderr)
    words = shlex.split(again)
    assert "Still running (1)" in report.read_text("utf-8")
    job.start()
    job.finish()
    assert (await run_command(sieve, *words[1:])).exit_code == 0
    assert words == [
        *("sieve-async", "watch", "--no-fail", "--timeout", "2h", "--strategy", "long_poll"),
        *("-o", "json", "--report", str(report), "going"),
    ]


async def test_whole_results(sieve: FakeSieve) -> None:
    """What was printed until then is whole in every format."""
    sieve.add_job("done")
    sieve.add_job("going", status=None)
    program = await start_command(sieve, "job", "wait", "done", "going", "-o", "json")
    assert program.stdout is not None

    printed = await program.stdout.readuntil(b"}}")
    program.send_signal(signal.SIGINT)
    ended = await finish_command(program)

    (outcome,) = json.loads(printed.decode() + ended.stdout)
    assert (outcome["job_id"], ended.exit_code) == ("done", 130)
    assert ended.stderr.endswith("sieve-async job wait -o json going\n")


async def test_many_that_still_run(sieve: FakeSieve) -> None:
    """Ids that are too many for a command are put into a file, which the command names."""
    ids = [sieve.add_job(f"job-{number}", status=None) for number in range(50)]
    program = await start_command(sieve, "job", "wait", *ids)

    await wait_until_requested(sieve, *(f"/v2/jobs/{job_id}" for job_id in ids))
    program.send_signal(signal.SIGINT)
    ended = await finish_command(program)

    (path,) = map(Path, re.findall(r"--ids-file (.*)\n", ended.stderr))
    assert f"50 jobs still run; their ids are in {path}\n" in ended.stderr
    assert "sieve-async watch --ids-file" in ended.stderr
    assert path.read_text("utf-8").split() == ids
    path.unlink()


async def test_while_reading_ids(sieve: FakeSieve) -> None:
    """An open standard input does not hold the program."""
    sieve.add_job("going", status=None)
    program = await start_command(sieve, "watch", "-")
    assert program.stdin is not None

    program.stdin.write(b"going\n")
    await wait_until_requested(sieve)
    program.send_signal(signal.SIGTERM)
    began = time.monotonic()
    code = await program.wait()

    assert (code, time.monotonic() - began < 1) == (143, True)
    assert "going" in (await finish_command(program)).stderr


@pytest.mark.parametrize(
    ("arguments", "again"),
    [
        (("job", "outputs", "a"), "sieve-async job outputs a --offset 0"),
        (("version", "wait", "me/mine"), "sieve-async version wait me/mine:latest"),
    ],
    ids=["outputs", "version"],
)
async def test_other_waits(sieve: FakeSieve, arguments: tuple[str, ...], again: str) -> None:
    """The other waits end as soon, and say how to go on."""
    sieve.add_job("a", status=None)
    sieve.add_version("me", "mine", status=None)
    program = await start_command(sieve, *arguments)

    await wait_until_requested(sieve)
    program.send_signal(signal.SIGINT)
    ended = await finish_command(program)

    assert ended.exit_code == 130
    assert ended.stderr.endswith(f": {again}\n")
    assert "Traceback" not in ended.stderr
