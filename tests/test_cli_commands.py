"""The commands that look up and wait, in pipes, as scripts run them."""

import json
from pathlib import Path

import pytest

from helpers.cli_runner import finish_command, run_command, run_shell, start_command
from sieve_async.testing import FakeSieve

OUTPUTS = [{"url": "https://files.example/a.mp4"}, {"text": "höre"}]


async def test_job_get(sieve: FakeSieve) -> None:
    """A job is shown with all that fits on a screen."""
    sieve.add_job("a", outputs=OUTPUTS)

    ended = await run_command(sieve, "job", "get", "a")

    facts = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines() if line[0] != " ")
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert facts["status"] == "finished"
    assert facts["function"] == "sieve/demo"
    assert facts["outputs"] == "2"
    assert "https://files.example/a.mp4" in ended.stdout


@pytest.mark.parametrize("output", ["json", "jsonl"])
async def test_job_get_as_json(sieve: FakeSieve, output: str) -> None:
    """As JSON a job has every field, the unknown ones too, by the names that the API gives them."""
    sieve.add_job("a", outputs=OUTPUTS, fields={"novelty": [1]})

    ended = await run_command(sieve, "job", "get", "a", "-o", output)

    job = json.loads(ended.stdout)
    assert ended.stdout.isascii()
    assert job["outputs"][1]["data"] == {"text": "höre"}
    assert job["novelty"] == [1]
    assert job["completed_at"].endswith("+00:00")
    assert (output == "jsonl") is (ended.stdout.count("\n") == 1)


async def test_job_get_raw(sieve: FakeSieve) -> None:
    """``--raw`` prints the document as it was sent, and ``--offset`` leaves outputs out."""
    sieve.add_job("a", outputs=OUTPUTS)

    ended = await run_command(sieve, "job", "get", "a", "--raw", "--offset", "1")

    document = json.loads(ended.stdout)
    assert [output["data"] for output in document["outputs"]] == OUTPUTS[1:]
    assert document["restarts"] is None


async def test_job_get_quiet(sieve: FakeSieve) -> None:
    """``-o quiet`` prints nothing: the exit code is all."""
    sieve.add_job("a", status="error")

    ended = await run_command(sieve, "job", "get", "a", "-o", "quiet")

    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", "")


async def test_job_outputs(sieve: FakeSieve) -> None:
    """Outputs come one JSON object a line, those of several parts as an array."""
    parts = [{"data": 1}, {"data": {}}]
    sieve.add_job("a", processing=1, streams=True, outputs=[*OUTPUTS, parts])

    ended = await run_command(sieve, "job", "outputs", "a")

    first, second, last = map(json.loads, ended.stdout.splitlines())
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert [first["data"], second["data"]] == OUTPUTS
    assert [part["data"] for part in last] == [1, {}]


async def test_outputs_of_failed_job(sieve: FakeSieve) -> None:
    """After the outputs, a failure is told in one line and is the exit code."""
    sieve.add_job("a", outputs=["x"], streams=True, processing=1, status="error", error="Boom: no")

    ended = await run_command(sieve, "job", "outputs", "a", "-o", "json")

    assert ended.exit_code == 1
    assert len(json.loads(ended.stdout)) <= 1
    assert ended.stderr == "sieve-async: job a failed: Boom: no\n"


async def test_version(sieve: FakeSieve) -> None:
    """A version is looked up by owner, name and slug, and waited for with its stages told."""
    sieve.add_version("me", "mine", "v1", building=1, pushing=1, cuda_version="11.8")

    ended = await run_command(sieve, "version", "wait", "me/mine")
    got = await run_command(sieve, "version", "get", "me/mine:v1", "-o", "json")

    assert (ended.exit_code, got.exit_code) == (0, 0)
    assert "build_status      ready" in ended.stdout
    assert "cuda_version      11.8" in ended.stdout
    assert "v1  building" in ended.stderr
    assert json.loads(got.stdout)["build_status"] == "ready"


@pytest.mark.parametrize("output", ["text", "json", "jsonl", "quiet"])
async def test_watch(sieve: FakeSieve, output: str) -> None:
    """Each job is printed once in the order of the ends, in any format."""
    sieve.add_job("slow", processing=1.5)
    sieve.add_job("fast", status="error", error="Traceback\nValueError: no")

    ended = await run_command(sieve, "watch", "slow", "fast", "slow", "-o", output)

    match output:
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
    assert rows == ([] if output == "quiet" else [["fast", "error"], ["slow", "finished"]])
    assert ("ValueError: no" in ended.stderr) is (output != "quiet")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("strategy", ["poll", "long_poll", "list"])
async def test_watch_ids_of_file(sieve: FakeSieve, tmp_path: Path, strategy: str) -> None:
    """Ids come also from a file, whatever white space parts them, and any strategy will do."""
    ids = sieve.add_jobs(60, seed=1, processing=0.2, queued=0.2)
    path = tmp_path / "ids.txt"
    path.write_text("\n".join(ids[:30]) + "\n\n " + "\t".join(ids[30:]), "utf-8")

    ended = await run_command(sieve, "watch", "--ids-file", str(path), "--strategy", strategy)

    assert sorted(line.split()[0] for line in ended.stdout.splitlines()) == ids
    assert ended.exit_code == 1


async def test_watch_ids_of_pipe(sieve: FakeSieve) -> None:
    """With ``-`` ids are watched as they come, before the input has ended."""
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


async def test_watch_nothing(sieve: FakeSieve) -> None:
    """No ids are no failure, and an empty array is one."""
    ended = await run_command(sieve, "watch", "-", "-o", "json")

    assert (ended.exit_code, json.loads(ended.stdout), ended.stderr) == (0, [], "")


async def test_any(sieve: FakeSieve) -> None:
    """``--any`` ends with the first end; its code is that job's."""
    sieve.add_job("never", status=None)
    sieve.add_job("soon", status="cancelled")

    ended = await run_command(sieve, "job", "wait", "never", "gone", "soon", "--any")

    assert ended.exit_code == 3
    assert "soon  cancelled" in ended.stdout


async def test_fail_fast(sieve: FakeSieve) -> None:
    """``--fail-fast`` ends with the first that goes wrong."""
    sieve.add_job("never", status=None)
    sieve.add_job("good")
    sieve.add_job("bad", processing=0.5, status="error")

    ended = await run_command(
        sieve, "job", "wait", "never", "good", "bad", "--fail-fast", "-o", "json"
    )

    assert ended.exit_code == 1
    assert [row["job_id"] for row in json.loads(ended.stdout)] == ["good", "bad"]


async def test_reader_that_goes(sieve: FakeSieve) -> None:
    """When nobody reads the results any more, the watch ends at once and says nothing."""
    sieve.add_jobs(100, seed=1)

    ended = await run_shell(
        sieve, "set -o pipefail; sieve-async watch job-{00..99} --no-progress | head -n 1"
    )

    assert (ended.exit_code, ended.stderr) == (141, "")
    assert ended.stdout.count("\n") == 1


async def test_closed_output(sieve: FakeSieve) -> None:
    """With standard output closed, the exit code still tells."""
    sieve.add_job("a", status="cancelled")

    ended = await run_shell(sieve, "sieve-async watch a --no-progress >&- 2>&-")

    assert (ended.exit_code, ended.stdout, ended.stderr) == (3, "", "")


async def test_full_disk(sieve: FakeSieve) -> None:
    """Results that cannot be written are one line and 6."""
    sieve.add_job("a")

    ended = await run_shell(sieve, "sieve-async watch a --no-progress >/dev/full")

    assert ended.exit_code == 6
    assert ended.stderr == "sieve-async: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("how", ["raise", "continue"])
async def test_outputs_of_restarted_job(sieve: FakeSieve, how: str) -> None:
    """When a job begins its outputs again, that is 1 with a hint, or they are printed again."""
    job = sieve.job(sieve.add_job("a", by="manual"))
    job.start()
    job.yield_output("first")
    program = await start_command(sieve, "job", "outputs", "a", "--on-restart", how)
    assert program.stdout is not None

    line = await program.stdout.readline()
    job.restart("OOM")
    job.yield_output("again")
    job.finish()
    ended = await finish_command(program)

    again = [json.loads(each)["data"] for each in ended.stdout.splitlines()]
    assert json.loads(line)["data"] == "first"
    assert (ended.exit_code, again) == ((0, ["again"]) if how == "continue" else (1, []))
    assert ("--on-restart again" in ended.stderr) is (how == "raise")
