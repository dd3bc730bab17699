"""Arguments: usage errors, suggestions, help, and options anywhere on the line."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from helpers.cli_in_process import Command
from sieve_async.cli import main
from sieve_async.cli.parser import COMMANDS, STRATEGIES, build_parser, parse
from sieve_async.testing import FakeSieve
from sieve_async.watch import Strategy


def usage_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is printed about invalid arguments."""
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "",
        "job",
        "dance",
        "job wait",
        "job get",
        "job get a b",
        "job wait a --timeout soon",
        "job wait a --timeout=",
        "job wait a --timeout -5",
        "job wait a --any --fail-fast",
        "job wait a --rate 0",
        "job get a --offset -1",
        "version get mine",
        "watch",
        "watch - a",
        "watch - --ids-file x",
        "watch a --report /nowhere/at/all.html",
        "watch a --report /",
        "watch a --format yaml",
        "watch a --strategy guess",
        "demo --jobs -1",
        "demo --jobs many",
        "demo --speed 0",
        "serve x",
        "serve --port 65536",
        "push me/mine --input a",
        "push me/mine --input a=1 --input a=2",
        "push me/mine --input-json []",
        "run me/mine --strategy list",
    ],
)
def test_usage_errors(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Invalid arguments end with 2 before anything is sent."""
    assert "usage: sieve-async" in usage_error(capsys, *line.split())


@pytest.mark.parametrize(
    ("line", "suggestion"),
    [
        ("wait a", "did you mean 'job wait' or 'version wait'?"),
        ("cancel a", "did you mean 'job cancel'?"),
        ("wtach a", "did you mean 'watch'?"),
        ("jobs", "did you mean 'job'?"),
        ("job wiat a", "did you mean 'job wait'?"),
        ("job watch a", "did you mean 'watch'?"),
        ("frobnicate", "--help lists the commands"),
        ("watch a --repot x", "there is no option --repot; did you mean --report?"),
        ("watch a --time=5", "did you mean --timeout?"),
        ("watch a -o json", "there is no option -o; did you mean --format?"),
        ("watch a --output=json", "did you mean --format?"),
        ("job get a --debgu", "did you mean --debug?"),
        ("job get a --zzz", "there is no option --zzz\n"),
    ],
)
def test_suggestions(line: str, suggestion: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A near miss is answered with what was probably meant."""
    assert suggestion in usage_error(capsys, *line.split())


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
    assert parse(["job", "wait", "a", "--timeout", text]).timeout == seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("true", True),
        ("null", None),
        ('{"url": "https://a.example/?b=c"}', {"url": "https://a.example/?b=c"}),
        ("spanish", "spanish"),
        ("", ""),
        ("a=b", "a=b"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("007", "007"),
        ("[1,", "[1,"),
    ],
)
def test_inputs(text: str, value: object) -> None:
    """The value of an input is JSON where it parses, or else a string."""
    assert parse(["push", "me/mine", "--input", f"x={text}"]).inputs == [("x", value)]


def test_ids_after_options() -> None:
    """Ids may stand on both sides of options."""
    assert parse(["watch", "a", "--any", "b", "c"]).job_ids == ["a", "b", "c"]


@pytest.mark.parametrize("place", range(4))
def test_global_options(place: int) -> None:
    """Global options are accepted anywhere on the line."""
    line = ["job", "get", "a"]
    line[place:place] = ["--debug", "--base-url", "https://a.example", "--key-file", "k"]

    options = parse(line)

    assert (options.debug, options.base_url) == (True, "https://a.example")
    assert (options.key_file, options.job_id) == (Path("k"), "a")


async def test_debug_in_front(command: Command, sieve: FakeSieve) -> None:
    """``--debug`` in front of the command logs the requests."""
    sieve.add_job("a", status="error")

    ended = await command("--debug", "job", "get", "gone")

    assert ended.exit_code == 5
    assert "Traceback" in ended.stderr


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser of a command and of those below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_help_is_narrow(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Help fits into 80 columns, also in a wider terminal."""
    monkeypatch.setenv("COLUMNS", str(columns))

    for parser in parsers(build_parser()):
        assert max(map(len, parser.format_help().splitlines())) <= 80, parser.prog


def test_help_without_repetition() -> None:
    """Exit codes and global options are explained once, in the help of the program."""
    root, *commands = parsers(build_parser())

    assert "exit codes" in root.format_help()
    assert len(commands) == len(COMMANDS)
    for command in commands:
        assert "--base-url" not in command.format_help()
        assert "sieve-async --help" in command.format_help()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` prints the name and the version of the package."""
    with pytest.raises(SystemExit):
        main(["--version"])

    assert re.fullmatch(r"sieve-async \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_strategies() -> None:
    """The strategies of the command line are those of the library."""
    assert get_args(Strategy) == STRATEGIES


@pytest.mark.parametrize(
    "arguments", [["--help"], ["watch", "--help"], ["--version"]], ids=" ".join
)
async def test_help_is_quick(arguments: list[str]) -> None:
    """Help imports neither the client nor anything else that takes long."""
    code = (
        "import sys; from sieve_async.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ,
    )

    printed, imported = await program.communicate()

    assert printed.startswith((b"usage: sieve-async", b"sieve-async "))
    assert {"aiohttp", "asyncio", "shtab"}.isdisjoint(imported.decode().split())
