"""Arguments: usage errors, suggestions, help, and options anywhere on the line."""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from sieve_async.cli import main
from sieve_async.cli.parser import COMMANDS, STRATEGIES, build_parser, parse
from sieve_async.watch import Strategy


def usage_error(capsys: pytest.CaptureFixture[str], line: str) -> str:
    """What is printed about invalid arguments."""
    with pytest.raises(SystemExit) as ended:
        parse(line.split())
    assert ended.value.code == 2
    return capsys.readouterr().err


USAGE_ERRORS = [
    *("", "job", "job wait", "job get a b", "job wait a --timeout soon"),
    *("job wait a --timeout=", "job wait a --timeout -5", "job wait a --any --fail-fast"),
    *("job wait a --rate 0", "job get a --offset -1", "version get mine", "watch", "watch - a"),
    *("watch - --ids-file x", "watch --state x --report x", "watch --ids-file x --report x"),
    *("watch a --show", "watch a --format yaml"),
    *("demo --jobs many", "serve --port 65536", "push me/mine --input a"),
    *("push me/mine --input a=1 --input a=2", "push me/mine --input-json []"),
    *("push me/mine --env =1", "push me/mine --webhook here", "run me/mine --strategy list"),
    *(f"watch a --timeout={time}" for time in ("", "1h30", "1.2.3", ".", "1H", "-1", "1e3", "m")),
]


@pytest.mark.parametrize("line", USAGE_ERRORS)
def test_usage_errors(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Invalid arguments end with 2 before anything is sent."""
    assert "usage: sieve-async" in usage_error(capsys, line)


@pytest.mark.parametrize(
    ("line", "suggestion"),
    [
        ("wait a", "did you mean 'job wait' or 'version wait'?"),
        ("wtach a", "did you mean 'watch'?"),
        ("job wiat a", "did you mean 'job wait'?"),
        ("job watch a", "did you mean 'watch'?"),
        ("frobnicate", "--help lists the commands"),
        ("watch a --repot x", "there is no option --repot; did you mean --report?"),
        ("watch a --time=5", "did you mean --timeout?"),
        ("watch a -o json", "there is no option -o; did you mean --format?"),
        ("job get a --debgu", "did you mean --debug?"),
        ("job get a --zzz", "there is no option --zzz\n"),
    ],
)
def test_suggestions(line: str, suggestion: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A near miss is answered with what was probably meant."""
    assert suggestion in usage_error(capsys, line)


def test_durations() -> None:
    """Durations are written as people write them."""
    texts = {"90m": 5400, "1h30m": 5400, "45s": 45, "2d": 172800, "1.5h": 5400, "7": 7, "0": 0}
    assert {text: parse(["watch", "a", "--timeout", text]).timeout for text in texts} == texts


def test_inputs() -> None:
    """The value of an input is JSON where it parses, or else a string."""
    texts = {
        "5": 5,
        "true": True,
        "null": None,
        '{"url": "https://a.example/?b=c"}': {"url": "https://a.example/?b=c"},
        **{text: text for text in ("spanish", "", "a=b", "NaN", "Infinity", "007", "[1,")},
    }
    for text, value in texts.items():
        assert parse(["push", "me/mine", "--input", f"x={text}"]).inputs == [("x", value)]


@pytest.mark.parametrize("place", range(4))
def test_options_anywhere(place: int) -> None:
    """Global options are accepted anywhere on the line, and ids on both sides of options."""
    line = ["watch", "a", "--any", "b"]
    line[place:place] = ["--debug", "--base-url", "https://a.example", "--key-file", "k"]
    options = parse(line)
    assert (options.debug, options.base_url) == (True, "https://a.example")
    assert (options.key_file, options.job_ids) == (Path("k"), ["a", "b"])


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser of a command and of those below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


def test_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """Help fits into 80 columns, and explains exit codes and global options once."""
    root, *commands = parsers(build_parser())
    for columns in ("60", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        for parser in (root, *commands):
            assert max(map(len, parser.format_help().splitlines())) <= 80, parser.prog
    assert "exit codes" in root.format_help()
    assert len(commands) == len(COMMANDS)
    for command in commands:
        assert "--base-url" not in command.format_help()
        assert "sieve-async --help" in command.format_help()


def test_strategies() -> None:
    """The strategies of the command line are those of the library."""
    assert get_args(Strategy) == STRATEGIES


def test_help_is_quick() -> None:
    """Help imports neither the client nor anything else that takes long."""
    code = (
        "import sys; from sieve_async.cli import main\n"
        "for line in ('--help', 'watch --help', '--version'):\n"
        "    try: main(line.split())\n"
        "    except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert re.search(r"^usage: sieve-async .*sieve-async \d+\.\d+\.\d+\n$", ended.stdout, re.DOTALL)
    assert {"aiohttp", "asyncio", "shtab"}.isdisjoint(ended.stderr.split())


@pytest.mark.parametrize("line", ["watch --help", "--version"])
def test_texts_that_cannot_be_written(line: str) -> None:
    """A closed pipe and a full disk have their exit codes, and no traceback."""
    program = f'"{sys.executable}" -m sieve_async {line}'
    for shell_line, codes, reason in (
        (f"({program}) | true; echo ${{PIPESTATUS[0]}}", "141\n", ""),
        (f"{program} > /dev/full; echo $?", "6\n", "No space left on device"),
    ):
        ended = subprocess.run(  # noqa: S603 - our own program
            ["bash", "-c", shell_line],  # noqa: S607 - as users have it
            capture_output=True,
            text=True,
            check=True,
        )

        assert (ended.stdout, ended.stderr.count("\n")) == (codes, bool(reason))
        assert reason in ended.stderr


def test_webhooks() -> None:
    """A webhook is a URL, whose scheme may be in capitals, or an event and a URL."""
    texts = {
        "HTTPS://a.example/?b=c": ("job.complete", "HTTPS://a.example/?b=c"),
        "job.start=http://a.example/?b=c": ("job.start", "http://a.example/?b=c"),
    }

    for text, webhook in texts.items():
        assert parse(["push", "me/mine", "--webhook", text]).webhooks == [webhook]


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With shtab there is a completion script for each shell, which knows the commands."""
    with pytest.raises(SystemExit):
        main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert all(word in script for word in ("watch", "outputs", "report"))


def test_completion_in_bash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bash completes commands, options, words, and the names of files and directories."""
    expected = {
        "wat": "watch",
        "job outp": "outputs",
        "watch --strategy long": "long_poll",
        "watch --repo": "--report",
        "watch --ids-file ./some": "./some-ids.txt",
        "--key-file ./some": "./some-ids.txt",
        "run me/mine --download ./some": "./some-directory",
    }
    (tmp_path / "some-ids.txt").touch()
    (tmp_path / "some-directory").mkdir()
    with pytest.raises(SystemExit):
        main(["--print-completion", "bash"])
    lines = [capsys.readouterr().out]
    for words in expected:
        lines += [f"COMP_WORDS=(sieve-async {words}) COMP_CWORD={len(words.split())}"]
        lines += ["COMPREPLY=(); _shtab_sieve_async; echo ${COMPREPLY[@]}"]
    monkeypatch.chdir(tmp_path)
    ended = subprocess.run(  # noqa: S603 - our own script
        ["/bin/bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    for reply, word in zip(ended.stdout.splitlines(), expected.values(), strict=True):
        assert word in reply.split()


def test_completion_without_shtab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without shtab one line says what to install."""
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert 'pip install "sieve-async[cli]"' in usage_error(capsys, "--print-completion bash")
