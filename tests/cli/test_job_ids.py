"""Ids from files and pipes: encodings, separators and comments."""

import asyncio
import os
import select
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from helpers.cli_in_process import Command
from sieve_async.cli.watch import parse_ids, read_stdin_ids
from sieve_async.testing import FakeSieve

TEXT = "one, two;three\tfour\n# a comment, with commas\nfive # and another one\n\n six"
IDS = ["one", "two", "three", "four", "five", "six"]
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts(encoding: str) -> None:
    """White space, commas and semicolons separate ids; # begins a comment; any encoding will do."""
    for end in ("\n", "\r\n", "\r"):
        assert parse_ids(TEXT.replace("\n", end).encode(encoding)) == IDS


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
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


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[BinaryIO]:
    """The other end of standard input."""
    ours, theirs = os.pipe()
    with os.fdopen(ours) as reading, os.fdopen(theirs, "wb", buffering=0) as writing:
        monkeypatch.setattr(sys, "stdin", reading)
        yield writing


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_pieces(encoding: str, stdin: BinaryIO) -> None:
    """However standard input arrives, its ids are the same."""
    ids = read_stdin_ids()
    if encoding == "utf-8":
        stdin.write(b"a\n")
        assert await anext(ids) == "a"  # the encoding of the shortest line is clear enough
    first = asyncio.ensure_future(anext(ids))
    data = f"a\n{TEXT}".encode(encoding)  # in UTF-16 three bytes of it look like a line
    for byte in data[:4]:
        stdin.write(bytes([byte]))
        while select.select([sys.stdin], [], [], 0)[0]:  # noqa: ASYNC110 - not read yet
            await asyncio.sleep(0)
    stdin.write(data[4:])
    stdin.close()
    assert [await first, *[job_id async for job_id in ids]] == ["a", *IDS]


def test_interrupted_reading(stdin: BinaryIO) -> None:
    """The thread that reads ends without an error when its loop does, also amid a chunk."""
    before = {*threading.enumerate()}
    os.set_blocking(stdin.fileno(), False)

    async def read() -> None:
        ids = read_stdin_ids()
        stdin.write(b"a\n")
        await anext(ids)
        waiting: set[asyncio.Task[object]] = set()
        while not waiting & asyncio.all_tasks():  # a chunk that has no room
            waiting = asyncio.all_tasks() - {asyncio.current_task()}
            stdin.write(b"b\n" * 1000)
            await asyncio.sleep(0.01)

    asyncio.run(read())
    for thread in {*threading.enumerate()} - before:
        thread.join(60)
        assert not thread.is_alive()


async def test_file_and_pipe(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """Ids of a file are watched beside those of the command line, each once; so are a pipe's."""
    for job_id in IDS:
        sieve.add_job(job_id)
    data = TEXT.replace("\n", "\r\n").encode("utf-16")
    path = tmp_path / "ids.txt"
    path.write_bytes(data)
    file = await command("watch", "one", "--ids-file", str(path))
    pipe = await command("watch", "-", stdin=data)
    for ended in (file, pipe):
        assert ended.exit_code == 0
        assert sorted(line.split()[0] for line in ended.stdout.splitlines()) == sorted(IDS)
    assert "watching jobs from standard input" in pipe.stderr
    assert "6 of 6 jobs ended" in pipe.stderr


async def test_invalid_id(sieve: FakeSieve, command: Command) -> None:
    """An invalid id is one outcome and does not disturb the others."""
    sieve.add_job("a")
    ended = await command("watch", "-", stdin="a,\N{SNOWMAN}".encode())
    assert ended.exit_code == 2
    assert "InvalidArgumentError" in ended.stdout
    assert "a  finished" in ended.stdout


async def test_no_ids(command: Command) -> None:
    """No ids are no failure: the results are an empty array."""
    ended = await command("watch", "-", "--format", "json")
    assert (ended.exit_code, ended.stdout) == (0, "[]\n")
    assert "0 of 0 jobs ended" in ended.stderr
