"""Signals: the command ends in order, the remote jobs continue, and the wait can be resumed."""

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest

from helpers.cli_runner import (
    environment,
    finish_command,
    run_command,
    start_command,
    wait_until_requested,
)
from sieve_async.testing import FakeSieve

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
async def test_interrupted(sieve: FakeSieve, tmp_path: Path, number: signal.Signals) -> None:
    """The pending ids and the command that continues are printed; that command does so."""
    sieve.add_job("done")
    job = sieve.job(sieve.add_job("going", by="manual"))
    report = tmp_path / "a batch.html"
    program = await start_command(
        sieve,
        *("watch", "done", "going", "--format", "json", "--timeout", "2h", "--rate", "50"),
        *("--strategy", "long_poll", "--report", str(report), "--exit-zero"),
    )
    assert program.stdout is not None
    await program.stdout.readuntil(b'"done"')

    await wait_until_requested(sieve, "/v2/jobs/going/await")
    program.send_signal(number)
    ended = await finish_command(program)

    assert ended.exit_code == CODES[number]
    assert "1 of 2 jobs ended" in ended.stderr
    assert "1 job still pending: going\n" in ended.stderr
    (command,) = re.findall(r"resume with: (.*)\n", ended.stderr)
    assert "Still pending (1)" in report.read_text("utf-8")
    job.start()
    job.finish()
    assert (await run_command(sieve, *shlex.split(command)[1:])).exit_code == 0
    assert shlex.split(command) == [
        *("sieve-async", "watch", "--exit-zero", "--timeout", "7200", "--rate", "50"),
        *("--strategy", "long_poll", "--format", "json", "--report", str(report), "going"),
    ]


async def test_complete_results(sieve: FakeSieve) -> None:
    """What was printed until then is complete in every format."""
    sieve.add_job("done")
    sieve.add_job("going", status=None)
    program = await start_command(sieve, "job", "wait", "done", "going", "--format", "json")
    assert program.stdout is not None

    printed = await program.stdout.readuntil(b'"done"')
    program.send_signal(signal.SIGINT)
    ended = await finish_command(program)

    (outcome,) = json.loads(printed.decode() + ended.stdout)
    assert (outcome["job_id"], ended.exit_code) == ("done", 130)
    assert ended.stderr.endswith("resume with: sieve-async job wait --format json going\n")


async def test_many_pending_jobs(sieve: FakeSieve) -> None:
    """More ids than fit on a line are saved in a file, which the command names."""
    ids = [sieve.add_job(f"job-{number}", status=None) for number in range(50)]
    program = await start_command(sieve, "job", "wait", *ids)

    await wait_until_requested(sieve, *(f"/v2/jobs/{job_id}" for job_id in ids))
    program.send_signal(signal.SIGINT)
    ended = await finish_command(program)

    (path,) = map(Path, re.findall(r"--ids-file (.*)\n", ended.stderr))
    assert f"50 jobs still pending; their ids are in {path}\n" in ended.stderr
    assert "resume with: sieve-async watch --ids-file" in ended.stderr
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
    code = await program.wait()

    assert code == 143
    assert "1 job still pending: going" in (await finish_command(program)).stderr


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("job", "outputs", "a"), "sieve-async job outputs a"),
        (("job", "outputs", "a", "--format", "json"), "sieve-async job outputs --format json a"),
        (
            ("version", "wait", "me/mine", "--timeout", "1h"),
            "sieve-async version wait --timeout 3600 me/mine",
        ),
    ],
    ids=["outputs", "outputs as JSON", "version"],
)
async def test_other_waits(sieve: FakeSieve, arguments: tuple[str, ...], command: str) -> None:
    """The other waits end as quickly and can be resumed, too."""
    sieve.add_job("a", status=None)
    sieve.add_version("me", "mine", status=None)
    program = await start_command(sieve, *arguments)

    await wait_until_requested(sieve)
    program.send_signal(signal.SIGINT)
    ended = await finish_command(program)

    assert ended.exit_code == 130
    assert ended.stderr.endswith(f"resume with: {command}\n")
    assert "Traceback" not in ended.stderr


async def test_printed_outputs(sieve: FakeSieve) -> None:
    """Outputs that were printed are left out when the command is resumed."""
    job = sieve.job(sieve.add_job("a", by="manual"))
    job.start()
    job.yield_output("first")
    program = await start_command(sieve, "job", "outputs", "a")
    assert program.stdout is not None

    await program.stdout.readline()
    program.send_signal(signal.SIGINT)
    ended = await finish_command(program)

    assert ended.stderr.endswith("resume with: sieve-async job outputs --offset 1 a\n")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
async def test_ignored_signals(sieve: FakeSieve, number: signal.Signals) -> None:
    """What is ignored at the start (nohup, background jobs) stays ignored."""
    job = sieve.job(sieve.add_job("a", by="manual"))
    program = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f'trap "" {int(number)}; exec "{sys.executable}" -m sieve_async watch a --no-progress',
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(sieve),
    )

    await wait_until_requested(sieve)
    program.send_signal(number)
    job.start()
    job.finish()
    ended = await finish_command(program)

    assert (ended.exit_code, ended.stderr) == (0, "")
    assert ended.stdout.startswith("a  finished")


async def test_second_signal(sieve: FakeSieve, tmp_path: Path) -> None:
    """A second signal ends the program at once: here while a fifo has no reader."""
    sieve.add_job("going", status=None)
    path = tmp_path / "fifo"
    os.mkfifo(path)
    program = await start_command(sieve, "watch", "going", "--report", str(path))
    assert program.stderr is not None

    await wait_until_requested(sieve)
    program.send_signal(signal.SIGTERM)
    await program.stderr.readuntil(b"resume with: ")
    program.send_signal(signal.SIGTERM)

    assert await program.wait() in {143, -signal.SIGTERM}
    await finish_command(program)
