"""Interruptions: the command ends in order, the remote jobs continue, the wait can be resumed."""

import asyncio
import json
import os
import re
import shlex
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from helpers.cli_in_process import Command
from helpers.cli_runner import (
    CommandResult,
    environment,
    finish_command,
    reset_signals,
    start_command,
    wait_until_requested,
)
from sieve_async.cli.parser import parse
from sieve_async.cli.watch import resume_line
from sieve_async.testing import FakeSieve


async def interrupt(command: Command, sieve: FakeSieve, line: str, *paths: str) -> CommandResult:
    """Run a command in this process, and cancel it as a signal would once it has sent requests."""
    running = asyncio.ensure_future(command(*shlex.split(line)))
    await wait_until_requested(sieve, *paths)
    await asyncio.sleep(0.1)
    running.cancel()
    return await running


@pytest.mark.looptime
async def test_watch(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """The pending ids and the command that continues are printed; that command does so."""
    sieve.add_job("done")
    job = sieve.job(sieve.add_job("going", by="manual"))
    report = tmp_path / "a batch.html"
    options = "--exit-zero --timeout 7200 --rate 50 --strategy long_poll --format json"
    line = f"watch {options} --report '{report}'"
    paths = ("/v2/jobs/done/await", "/v2/jobs/going/await")
    ended = await interrupt(command, sieve, f"{line} done going", *paths)
    assert ended.exit_code == 130
    assert [outcome["job_id"] for outcome in json.loads(ended.stdout)] == ["done"]
    assert "1 of 2 jobs ended" in ended.stderr
    assert "1 job still pending: going\n" in ended.stderr
    assert ended.stderr.endswith(f"resume with: sieve-async {line} going\n")
    assert "Still pending (1)" in report.read_text("utf-8")
    job.start()
    job.finish()
    assert (await command(*shlex.split(line), "going")).exit_code == 0


@pytest.mark.looptime
async def test_many_pending_jobs(command: Command, sieve: FakeSieve) -> None:
    """More ids than fit on a line are saved in a file, which the command names."""
    ids = [sieve.add_job(f"job-{number}", status=None) for number in range(30)]
    paths = (f"/v2/jobs/{job_id}" for job_id in ids)
    ended = await interrupt(command, sieve, f"job wait {' '.join(ids)}", *paths)
    (path,) = map(Path, re.findall(r"--ids-file (.*)\n", ended.stderr))
    assert f"30 jobs still pending; their ids are in {path}\n" in ended.stderr
    assert "resume with: sieve-async watch --ids-file" in ended.stderr
    assert path.read_text("utf-8").split() == ids
    path.unlink()


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("line", "resumed"),
    [
        ("job outputs --format json a", "job outputs --offset 1 --format json a"),
        ("version wait me/mine --timeout 1h", "version wait --timeout 3600 me/mine"),
        ("run me/mine --timeout 1h --exit-zero", "job wait --exit-zero --timeout 3600 {job_id}"),
    ],
)
async def test_other_waits(command: Command, sieve: FakeSieve, line: str, resumed: str) -> None:
    """The other waits can be resumed too: without printed outputs, and without another push."""
    job = sieve.job(sieve.add_job("a", by="manual"))
    job.start()
    job.yield_output("first")
    sieve.script_function("me/mine", status=None)
    sieve.add_version("me", "mine", status=None)
    ended = await interrupt(command, sieve, line)
    job_id = sieve.pushes[0].job_id if sieve.pushes else ""
    assert ended.exit_code == 130
    assert ended.stderr.endswith(f"resume with: sieve-async {resumed.format(job_id=job_id)}\n")


@pytest.mark.looptime
async def test_push_without_an_answer(command: Command, sieve: FakeSieve) -> None:
    """Where the push was not answered yet, the line says how to look for the job."""
    sieve.fault(path="/v2/push", delay=60)
    running = asyncio.ensure_future(command("run", "me/mine"))
    while not sieve.in_flight:  # noqa: ASYNC110 - the server has no event for this
        await asyncio.sleep(0)
    running.cancel()
    ended = await running
    hint = "the job may have been started; check with: sieve-async job list --function me/mine\n"
    assert ended.stderr.endswith(hint)


@pytest.mark.programs
@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "job wait going --format json"),
        (signal.SIGTERM, 143, "watch -"),  # an open standard input does not hold the program
        (signal.SIGHUP, 129, "demo"),
    ],
)
async def test_signals(sieve: FakeSieve, number: int, code: int, line: str) -> None:
    """Each signal has its exit code, and is no error."""
    sieve.add_job("going", status=None)
    program = await start_command(sieve, *line.split())
    assert program.stdin is not None
    assert program.stderr is not None
    program.stdin.write(b"going\n")
    await program.stderr.readline()
    program.send_signal(number)
    exit_code = await program.wait()
    ended = await finish_command(program)
    assert exit_code == code
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "line",
    [
        "watch --timeout 1000000000000000 --rate 0.001",
        "watch --timeout 0.000001 --rate 1000000 --strategy list --any --state=-x",
        "job wait --key-file=-k --base-url 'https://a.example/b c' --format json --fail-fast",
        "job outputs --offset 5 --on-restart continue --timeout 1h30m",
    ],
)
def test_resume_lines(line: str) -> None:
    """The line parses to the options that it was made from, whatever their values."""
    options = parse([*shlex.split(line), "a"])

    again = parse(shlex.split(resume_line(options, ["a"]))[3:])

    parsed, expected = vars(again), vars(options)
    assert parsed.pop("parser").prog == expected.pop("parser").prog
    assert parsed == expected


@pytest.mark.programs
async def test_ignored_signals(sieve: FakeSieve) -> None:
    """What is ignored at the start (nohup, background jobs) stays ignored."""
    job = sieve.job(sieve.add_job("a", by="manual"))
    program = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f'trap "" INT HUP; exec "{sys.executable}" -m sieve_async watch a --no-progress',
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(sieve),
    )
    await wait_until_requested(sieve)
    program.send_signal(signal.SIGINT)
    program.send_signal(signal.SIGHUP)
    job.start()
    job.finish()
    ended = await finish_command(program)
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert ended.stdout.startswith("a  finished")


@pytest.mark.programs
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
    assert await program.wait() == -signal.SIGTERM
    await finish_command(program)


@pytest.mark.programs
async def test_thread_that_hangs(sieve: FakeSieve) -> None:
    """What cannot be cancelled, such as a host lookup in a thread, does not hold the program."""
    # A real thread that cannot be cancelled; the signal ends the program long before it wakes.
    lookup = "print('looking up', file=sys.stderr, flush=True) or time.sleep(60)"
    code = f"""
import socket, sys, time
from sieve_async.cli import main
socket.getaddrinfo = lambda *_, **__: {lookup}
sys.exit(main())
"""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "job", "get", "a"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(sieve, SIEVE_API_URL="https://nowhere.example"),
        preexec_fn=reset_signals,
    )
    assert program.stderr is not None
    await program.stderr.readuntil(b"looking up")
    program.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(program.wait(), 30) == 143
    await finish_command(program)


@pytest.mark.programs
@pytest.mark.parametrize(
    "line", ["watch --ids-file", "run me/mine --inputs-file", "push me/mine --key-file"]
)
async def test_files_that_are_pipes(sieve: FakeSieve, line: str, tmp_path: Path) -> None:
    """A signal ends the program also while a pipe that it reads is open without a word."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    program = await start_command(sieve, *line.split(), str(path))

    with await asyncio.to_thread(path.open, "wb"):  # when the program has opened it, too
        program.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(program.wait(), 30) == 143
    ended = await finish_command(program)

    assert "may have been started" not in ended.stderr
    assert not sieve.requests


@pytest.mark.looptime
async def test_outputs_of_two_runs(command: Command, sieve: FakeSieve) -> None:
    """Outputs of an earlier run do not make the continued command leave out some of the new run."""
    job = sieve.job(sieve.add_job("a", by="manual"))
    job.start()
    job.yield_output("old")
    job.yield_output("old")
    line = "job outputs --on-restart continue a"
    running = asyncio.ensure_future(command(*shlex.split(line)))
    await wait_until_requested(sieve)
    await asyncio.sleep(0.1)
    job.restart()
    job.yield_output("new")
    await asyncio.sleep(10)
    running.cancel()
    ended = await running

    assert [json.loads(each)["data"] for each in ended.stdout.split("\n")[:-1]] == [
        "old",
        "old",
        "new",
    ]
    assert ended.stderr.endswith(f"resume with: sieve-async {line}\n")


@pytest.mark.looptime
async def test_many_pending_jobs_on_a_full_disk(
    command: Command, sieve: FakeSieve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file can be made for their ids, the line itself names them all."""
    ids = [sieve.add_job(f"job-{number}", status=None) for number in range(30)]
    paths = [f"/v2/jobs/{job_id}" for job_id in ids]
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", "/dev/null/missing")
        ended = await interrupt(command, sieve, f"job wait {' '.join(ids)}", *paths)

    assert ended.exit_code == 130
    assert ended.stderr.endswith(f"resume with: sieve-async job wait {' '.join(ids)}\n")


@pytest.mark.looptime
async def test_interrupted_download(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """The files of a job that was run can still be had."""
    sieve.script_function("me/mine", outputs=[{"url": sieve.add_file("a.mp4", b"x" * 1000)}])
    sieve.fault(path="/files/a.mp4", slow_body=60)
    directory = tmp_path / "my files"
    line = f"run me/mine --download '{directory}'"

    ended = await interrupt(command, sieve, line, "/files/a.mp4")

    (push,) = sieve.pushes
    resumed = f"job download {push.job_id} '{directory}'"
    assert ended.exit_code == 130
    assert ended.stderr.endswith(f"resume with: sieve-async {resumed}\n")
    assert (await command(*shlex.split(resumed))).exit_code == 0


@pytest.mark.looptime
async def test_options_of_an_interrupted_download(
    command: Command, sieve: FakeSieve, tmp_path: Path
) -> None:
    """The line goes to the same server with the same key, and has no options of other commands."""
    sieve.script_function("me/mine", outputs=[{"url": sieve.add_file("a.mp4", b"x" * 1000)}])
    sieve.fault(path="/files/a.mp4", slow_body=60)
    key_file, directory = tmp_path / "key", tmp_path / "files"
    key_file.write_text(sieve.api_key, "utf-8")
    options = f"--format json --base-url {sieve.url} --key-file {key_file}"
    run = f"run me/mine --timeout 1h --rate 5 --exit-zero --download {directory} {options}"

    ended = await interrupt(command, sieve, run, "/files/a.mp4")
    (push,) = sieve.pushes
    line = f"job download --overwrite {options} {push.job_id} {directory}"
    again = await interrupt(command, sieve, line, "/files/a.mp4")

    resumed = f"job download {options} {push.job_id} {directory}"
    assert ended.stderr.endswith(f"resume with: sieve-async {resumed}\n")
    assert again.stderr.endswith(f"resume with: sieve-async {line}\n")
