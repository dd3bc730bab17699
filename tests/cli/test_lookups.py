"""``job get``, ``job outputs``, ``version get`` and ``version wait``, as scripts run them."""

import json

import pytest

from helpers.cli_in_process import Command
from helpers.cli_runner import finish_command, start_command
from sieve_async.testing import FakeSieve

OUTPUTS = [{"url": "https://files.example/a.mp4"}, {"text": "höre"}]


async def test_job_get(command: Command, sieve: FakeSieve) -> None:
    """A job is printed with what fits on a screen."""
    sieve.add_job("a", outputs=OUTPUTS)

    ended = await command("job", "get", "a")

    facts = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines() if line[0] != " ")
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert facts["status"] == "finished"
    assert facts["function"] == "sieve/demo"
    assert facts["outputs"] == "2"
    assert facts["file"] == "https://files.example/a.mp4"


@pytest.mark.parametrize("style", ["json", "jsonl"])
async def test_job_get_as_json(command: Command, sieve: FakeSieve, style: str) -> None:
    """As JSON a job is the API's document, unknown keys included, in plain ASCII."""
    sieve.add_job("a", outputs=OUTPUTS, fields={"novelty": [1]})

    ended = await command("job", "get", "a", "--format", style)

    job = json.loads(ended.stdout)
    assert ended.stdout.isascii()
    assert job["outputs"][1]["data"] == {"text": "höre"}
    assert job["novelty"] == [1]
    assert job["completed_at"].endswith("+00:00")
    assert (style == "jsonl") is (ended.stdout.count("\n") == 1)


async def test_job_get_raw(command: Command, sieve: FakeSieve) -> None:
    """``--raw`` prints the document as it was sent, and ``--offset`` leaves outputs out."""
    sieve.add_job("a", outputs=OUTPUTS)

    ended = await command("job", "get", "a", "--raw", "--offset", "1")

    document = json.loads(ended.stdout)
    assert [output["data"] for output in document["outputs"]] == OUTPUTS[1:]
    assert "restarts" in document


async def test_job_get_quiet(command: Command, sieve: FakeSieve) -> None:
    """``--format quiet`` prints nothing: the exit code is the result."""
    sieve.add_job("a", status="error")

    ended = await command("job", "get", "a", "--format", "quiet")

    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("style", ["text", "jsonl", "json"])
async def test_job_outputs(command: Command, sieve: FakeSieve, style: str) -> None:
    """Outputs are printed as JSON, those of several parts as an array."""
    parts = [{"data": 1}, {"data": {}}]
    sieve.add_job("a", processing=1, streams=True, outputs=[*OUTPUTS, parts])

    ended = await command("job", "outputs", "a", "--format", style)

    printed = json.loads(ended.stdout) if style == "json" else None
    first, second, last = printed or map(json.loads, ended.stdout.splitlines())
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert [first["data"], second["data"]] == OUTPUTS
    assert [part["data"] for part in last] == [1, {}]


async def test_outputs_of_failed_job(command: Command, sieve: FakeSieve) -> None:
    """After the outputs a failure is one line, and the exit code."""
    sieve.add_job("a", outputs=["x"], streams=True, processing=1, status="error", error="Boom: no")

    ended = await command("job", "outputs", "a", "--format", "json")

    assert ended.exit_code == 1
    assert len(json.loads(ended.stdout)) <= 1
    assert ended.stderr == "sieve-async: job a failed: Boom: no\n"


@pytest.mark.parametrize("action", ["raise", "continue"])
async def test_outputs_of_restarted_job(sieve: FakeSieve, action: str) -> None:
    """When a job restarts, the command fails with a hint, or prints the new outputs."""
    job = sieve.job(sieve.add_job("a", by="manual"))
    job.start()
    job.yield_output("first")
    program = await start_command(sieve, "job", "outputs", "a", "--on-restart", action)
    assert program.stdout is not None

    line = await program.stdout.readline()
    job.restart("OOM")
    job.yield_output("again")
    job.finish()
    ended = await finish_command(program)

    again = [json.loads(each)["data"] for each in ended.stdout.splitlines()]
    assert json.loads(line)["data"] == "first"
    assert (ended.exit_code, again) == ((0, ["again"]) if action == "continue" else (1, []))
    assert ("see --on-restart continue" in ended.stderr) is (action == "raise")


async def test_version(command: Command, sieve: FakeSieve) -> None:
    """A version is found by owner, name and slug; while it is built, each stage is a line."""
    sieve.add_version("me", "mine", "v1", building=1, pushing=1, by="polls", cuda_version="11.8")

    ended = await command("version", "wait", "me/mine")
    found = await command("version", "get", "me/mine:v1", "--format", "json")

    assert (ended.exit_code, found.exit_code) == (0, 0)
    assert "build_status      ready" in ended.stdout
    assert "cuda_version      11.8" in ended.stdout
    assert "version v1: building" in ended.stderr
    assert json.loads(found.stdout)["build_status"] == "ready"


@pytest.mark.parametrize("option", [("--no-progress",), ("--format", "quiet")], ids=" ".join)
async def test_version_without_progress(
    command: Command, sieve: FakeSieve, option: tuple[str, ...]
) -> None:
    """``--no-progress`` and ``--format quiet`` leave the stages out."""
    sieve.add_version("me", "mine", "v1", building=0.5)

    ended = await command("version", "wait", "me/mine", *option)

    assert (ended.exit_code, ended.stderr) == (0, "")
