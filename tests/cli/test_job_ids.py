"""Ids from files and pipes: encodings, separators and comments."""

from pathlib import Path

import pytest

from helpers.cli_in_process import Command
from helpers.cli_runner import finish_command, start_command
from sieve_async.cli.watch import _split_ids, parse_ids
from sieve_async.testing import FakeSieve

TEXT = "one, two;three\tfour\n# a comment, with commas\nfive # and another one\n\n six"
IDS = ["one", "two", "three", "four", "five", "six"]
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts(encoding: str, end: str) -> None:
    """White space, commas and semicolons separate ids; # begins a comment; any encoding will do."""
    assert parse_ids(TEXT.replace("\n", end).encode(encoding)) == IDS


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"#", []),
        (b"# only a comment", []),
        (b"one\0two\0", ["one", "two"]),  # as `find -print0` writes them
        (b"\xef\xbb\xbfone\n\xef\xbb\xbftwo", ["one", "two"]),  # two files joined by cat
        (b"a#b", ["a#b"]),  # no comment, but an id that the client refuses
        (b"one\xff", ["one\N{REPLACEMENT CHARACTER}"]),
    ],
)
def test_unusual_texts(data: bytes, expected: list[str]) -> None:
    """Nothing is guessed: what is neither separator nor comment is part of an id."""
    assert parse_ids(data) == expected


@pytest.mark.parametrize("size", [1, 2, 7])
def test_pieces(size: int) -> None:
    """However a text is cut into pieces, its ids are the same."""
    found, rest = [], ""
    for start in range(0, len(TEXT), size):
        complete, rest = _split_ids(rest + TEXT[start : start + size])
        found += complete

    assert [*found, rest] == IDS


async def test_ids_file(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """Ids of a file are watched beside those of the command line, each once."""
    for job_id in IDS:
        sieve.add_job(job_id)
    path = tmp_path / "ids.txt"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode("utf-16"))

    ended = await command("watch", "one", "--ids-file", str(path))

    assert ended.exit_code == 0
    assert sorted(line.split()[0] for line in ended.stdout.splitlines()) == sorted(IDS)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_pipe(sieve: FakeSieve, command: Command, encoding: str) -> None:
    """Standard input is read like a file."""
    sieve.add_job("first")
    sieve.add_job("second")

    ended = await command("watch", "-", stdin="first # ok\r\nsecond".encode(encoding))

    assert ended.exit_code == 0
    assert sorted(line.split()[0] for line in ended.stdout.splitlines()) == ["first", "second"]


async def test_pipe_byte_by_byte(sieve: FakeSieve) -> None:
    """However the input arrives, its encoding is found."""
    sieve.add_job("first")
    sieve.add_job("second")
    program = await start_command(sieve, "watch", "-", "--no-progress")
    assert program.stdin is not None

    for byte in "first # ok\r\nsecond".encode("utf-16"):
        program.stdin.write(bytes([byte]))
        await program.stdin.drain()
    ended = await finish_command(program)

    assert ended.exit_code == 0
    assert sorted(line.split()[0] for line in ended.stdout.splitlines()) == ["first", "second"]


async def test_short_lines(sieve: FakeSieve) -> None:
    """The shortest line is watched at once: its encoding is clear enough."""
    sieve.add_job("a")
    program = await start_command(sieve, "watch", "-", "--no-progress")
    assert program.stdin is not None
    assert program.stdout is not None

    program.stdin.write(b"a\n")
    line = await program.stdout.readline()
    ended = await finish_command(program)

    assert line.startswith(b"a  finished")
    assert ended.exit_code == 0


async def test_invalid_id(sieve: FakeSieve, command: Command) -> None:
    """An invalid id is one outcome and does not disturb the others."""
    sieve.add_job("a")

    ended = await command("watch", "-", stdin="a,\N{SNOWMAN}".encode())

    assert ended.exit_code == 2
    assert "InvalidArgumentError" in ended.stdout
    assert "a  finished" in ended.stdout
