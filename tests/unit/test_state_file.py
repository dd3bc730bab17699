"""The state file: what is on disk, who may open it, and what it refuses."""

import asyncio
import contextlib
import os
import pickle
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sieve_async import InputOutput, Job, JobOutcome, JobStatus, WatchState, errors

# Holds a state file open until it is killed.
_HOLDER = """
import asyncio, sys
from sieve_async import WatchState

async def main():
    async with WatchState.open(sys.argv[1]) as state:
        await state.add(["j1"])
        print("open", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of a test is."""
    return tmp_path / "batch.sieve"


async def test_ids_are_on_disk_when_add_returns(path: Path) -> None:
    """A second reader sees the ids at once, in the order given, each once, from any source."""

    async def asynchronous() -> AsyncIterator[str]:
        for job_id in ("j3", "j4"):
            yield job_id

    async with WatchState.open(path) as state:
        added = [await state.add(iter(["j2", "j1", "j2"])), await state.add(asynchronous())]
        with contextlib.closing(sqlite3.connect(path)) as reader:
            rows = reader.execute("SELECT job_id FROM sieve_jobs ORDER BY number").fetchall()
    assert added == [2, 2]
    assert rows == [("j2",), ("j1",), ("j3",), ("j4",)]


async def test_known_ids_are_ignored(path: Path) -> None:
    """Pending, ended and acknowledged jobs stay what they are when they are added again."""
    async with WatchState.open(path) as state:
        await state.add(["j1", "j2", "j3"])
        await state.commit([_outcome("j2"), _outcome("j3")], ["j3"])
        before = await state.counts()
        added = await state.add(["j1", "j2", "j3", "j4"])
        assert before == (1, 1, 1)
        assert added == 1
        assert await state.counts() == (2, 1, 1)
        assert await state.pending() == ["j1", "j4"]


async def test_one_invalid_id_adds_none(path: Path) -> None:
    """Invalid ids, a single id, or what cannot be iterated raise before anything is written."""
    ids: list[Any] = ["", "a/b", None, 7, "x" * 300, "\ud800"]
    sources: list[Any] = ["j1", b"j2", None, 7]
    async with WatchState.open(path) as state:
        for invalid in ids:
            with pytest.raises(errors.InvalidArgumentError):
                await state.add(["j1", invalid])
        for source in sources:
            with pytest.raises(errors.InvalidArgumentError, match="job_ids"):
                await state.add(source)
        assert await state.counts() == (0, 0, 0)


async def test_outcomes_survive_in_the_order_of_ending(path: Path) -> None:
    """Stored outcomes are read back equal, more than one portion of them, with their age."""
    outcomes = [_outcome(f"j{number}") for number in range(1200)]
    async with WatchState.open(path) as state:
        await state.commit(outcomes, [])
    _make_older(path, seconds=3600)
    async with WatchState.open(path) as state:
        read = [outcome async for outcome in state.outcomes()]
    assert read == outcomes
    assert all(3600 <= outcome.age < 3700 for outcome in read)


async def test_repeating_a_commit_changes_nothing(path: Path) -> None:
    """The first outcome of a job stays; an acknowledgement stays."""
    async with WatchState.open(path) as state:
        await state.add(["j1"])
        await state.commit([_outcome("j1")], ["j1"])
        await state.commit([_outcome("j1", JobStatus.ERROR)], ["j1"])
        assert [outcome.status async for outcome in state.outcomes()] == ["finished"]
        assert await state.counts() == (0, 0, 1)


async def test_an_outcome_nested_too_deeply(path: Path) -> None:
    """An outcome that cannot be written stays pending, and holds up no other one."""
    data: object = 1
    for _ in range(100_000):
        data = [data]
    deep = JobOutcome("j1", Job("j1", JobStatus.FINISHED, outputs=(InputOutput(data=data),)))
    async with WatchState.open(path) as state:
        await state.add(["j1", "j2"])
        await state.commit([deep, _outcome("j2")], ["j1"])
        assert await state.pending() == ["j1"]
        assert await state.counts() == (1, 1, 0)


async def test_only_the_owner_may_read_it(path: Path) -> None:
    """All files have mode 0600, whatever the umask; a mode set by the user stays."""
    before = os.umask(0)
    try:
        async with WatchState.open(path) as state:
            await state.add(["j1"])
            modes = {file.name: _mode(file) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) >= {"batch.sieve", "batch.sieve-wal", "batch.sieve.lock"}
    assert set(modes.values()) == {0o600}
    path.chmod(0o640)  # noqa: ASYNC240
    async with WatchState.open(path):
        assert _mode(path) == 0o640


async def test_one_user_at_a_time(path: Path) -> None:
    """A second opening fails at once, also by another name; then the file is free again."""
    other_name = path.with_name("link.sieve")
    other_name.symlink_to(path)
    async with WatchState.open(path):
        for name in (
            path,
            other_name,
            str(path),
            path.parent / ".." / path.parent.name / path.name,
        ):
            with pytest.raises(errors.StateBusyError, match="another process has it open"):
                await _open_and_close(name)
    await _open_and_close(other_name)


async def test_a_killed_process_frees_the_file(path: Path) -> None:
    """Another process has the file; after SIGKILL it opens, with what was added."""
    with _holder(path) as process:
        with pytest.raises(errors.StateBusyError):
            await _open_and_close(path)
        async with WatchState.open(path, read_only=True) as state:
            assert await state.counts() == (1, 0, 0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        async with WatchState.open(path) as state:
            assert await state.pending() == ["j1"]


async def test_reading_only(path: Path) -> None:
    """A file that is read only cannot be changed, and is not created."""
    with pytest.raises(errors.StateFileError, match="No such file"):
        await _open_and_close(path, read_only=True)
    assert not list(path.parent.iterdir())
    async with WatchState.open(path) as state:
        await state.add(["j1"])
    async with WatchState.open(path, read_only=True) as state:
        with pytest.raises(errors.StateFileError, match="open for reading only"):
            await state.add(["j2"])
        assert await state.pending() == ["j1"]


async def test_names_that_mean_something_to_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may have any name: none is an address or a database in memory."""
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "file:x?mode=memory", "a b%20c#d?e"):
        async with WatchState.open(name) as state:
            await state.add(["j1"])
        assert (tmp_path / name).is_file()
        async with WatchState.open(name, read_only=True) as state:
            assert await state.pending() == ["j1"]


def _another_database(path: Path) -> None:
    path.unlink()
    _execute(path, "CREATE TABLE people (name TEXT)")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


UNUSABLE: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "malformed"),
    (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "not whole pages"),
    (lambda path: path.write_bytes(path.read_bytes()[:-4096] + b"\xff" * 4096), "damaged|malform"),
    (lambda path: path.write_text("no database\n" * 500), "not a database"),
    (_another_database, "not a state file"),
    (lambda path: _execute(path, "PRAGMA user_version = 2"), "later version of this package"),
    (_directory, "not a regular file"),
    (_pipe, "not a regular file"),
]


@pytest.mark.parametrize(("change", "reason"), UNUSABLE, ids=range(len(UNUSABLE)))
async def test_unusable_files(path: Path, change: Callable[[Path], object], reason: str) -> None:
    """A damaged, foreign or later file is a typed error, which leaves it as it is."""
    async with WatchState.open(path) as state:
        await state.add(f"job-{number}" for number in range(2000))
    change(path)
    before = _content(path)
    for read_only in (False, True):
        with pytest.raises(errors.StateFileError, match=reason) as caught:
            await _open_and_close(path, read_only=read_only)
        assert caught.value.path == str(path)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        assert _content(path) == before


@pytest.mark.parametrize("damaged", [b"\xff\xfe\xfd\xfc", b"{{{{", b"\x00\x00\x00\x00"])
async def test_a_damaged_outcome(path: Path, damaged: bytes) -> None:
    """An outcome whose text cannot be read is an error of the file, also where it is not UTF-8."""
    async with WatchState.open(path) as state:
        await state.commit([_outcome("j1")], [])
    _replace(path, b'"job', damaged)
    async with WatchState.open(path) as state:
        with pytest.raises(errors.StateFileError) as caught:
            assert [outcome async for outcome in state.outcomes()]
    assert len(str(caught.value)) < 600


async def test_damaged_tables(path: Path) -> None:
    """So is a table that lacks a column."""
    await _open_and_close(path)
    _replace(path, b"job_id TEXT", b"job_it TEXT")
    async with WatchState.open(path) as state:
        with pytest.raises(errors.StateFileError, match="no such column: job_id"):
            await state.pending()
        with pytest.raises(errors.StateFileError, match="no column named job_id"):
            await state.add(["j1"])


async def test_invalid_paths(path: Path) -> None:
    """What cannot be a path raises in the call itself; a missing directory is a typed error."""
    paths: list[Any] = [None, 7, "a\0b", b"bytes"]
    for invalid in paths:
        with pytest.raises(errors.InvalidArgumentError, match="path must be"):
            WatchState.open(invalid)
    with pytest.raises(errors.StateFileError, match="No such file or directory"):
        await _open_and_close(path / "missing" / "batch.sieve")


async def test_a_write_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite does not say why a file cannot grow, the free space of the disk says so."""
    many = [f"job-{number}" for number in range(20_000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with WatchState.open(path) as state:
        resource.setrlimit(resource.RLIMIT_FSIZE, (128 * 1024, hard))
        try:
            with pytest.raises(errors.StateFileError, match=r"batch\.sieve: disk I/O error"):
                await state.add(many)
            monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
            with pytest.raises(errors.StateFileError, match="the disk is full: disk I/O error"):
                await state.add(many)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert await state.counts() == (0, 0, 0)


async def test_use_when_closed(path: Path) -> None:
    """Before and after its block the state raises a typed error; its repr names the file."""
    state = WatchState.open(path)
    assert repr(state) == f"<WatchState {path} (closed)>"
    with pytest.raises(TypeError):
        pickle.dumps(state)
    with pytest.raises(errors.StateFileError, match="not open"):
        await state.counts()
    async with state:
        with pytest.raises(errors.InvalidArgumentError, match="open already"):
            await state.__aenter__()
    with pytest.raises(errors.StateFileError, match="not open"):
        await state.add(["j1"])
    async with state:
        assert await state.counts() == (0, 0, 0)


async def test_use_from_another_loop(path: Path) -> None:
    async with WatchState.open(path) as state:
        with pytest.raises(errors.WrongEventLoopError):
            await asyncio.to_thread(lambda: asyncio.run(state.counts()))


async def test_cancelled_while_opening_or_closing(path: Path) -> None:
    for turns in range(6):
        task = asyncio.ensure_future(_open_and_close(path))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await _open_when_free(path)


async def test_cancelled_while_the_file_is_busy(path: Path) -> None:
    """Closing that is cancelled behind other work in the file still closes it."""
    state = WatchState.open(path)
    await state.__aenter__()
    adding = asyncio.create_task(state.add(f"job-{number}" for number in range(5_000)))
    await asyncio.sleep(0)
    closing = asyncio.create_task(state.__aexit__())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert await adding == 5_000
    await _open_when_free(path)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _replace(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _outcome(job_id: str, status: JobStatus = JobStatus.FINISHED) -> JobOutcome:
    return JobOutcome(job_id, Job(id=job_id, status=status), polls=3, elapsed=1.5)


async def _open_and_close(path: str | Path, *, read_only: bool = False) -> None:
    async with WatchState.open(path, read_only=read_only):
        pass


async def _open_when_free(path: Path) -> None:
    """Open the file as soon as the thread of a cancelled call has closed it."""
    while True:
        with contextlib.suppress(errors.StateBusyError):
            return await _open_and_close(path)


def _execute(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def _make_older(path: Path, *, seconds: float) -> None:
    _execute(path, f"UPDATE sieve_outcomes SET ended_at = ended_at - {seconds}")  # noqa: S608


@contextlib.contextmanager
def _holder(path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", _HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


async def test_outcomes_that_are_just_not_nested_too_deeply(path: Path) -> None:
    """What can be written can be read again: one job does not make the file unreadable."""
    data: object = "end"
    outcomes = []
    for depth in range(1, sys.getrecursionlimit()):
        data = [data]
        job = Job(f"j{depth}", JobStatus.FINISHED, outputs=(InputOutput(data=data),))
        outcomes.append(JobOutcome(job.id, job))
    async with WatchState.open(path) as state:
        await state.add(outcome.job_id for outcome in outcomes)
        await state.commit(outcomes, [])
        stored = [outcome.job_id async for outcome in state.outcomes()]
        assert stored + await state.pending() == [outcome.job_id for outcome in outcomes]


async def test_nothing_is_left_beside_what_is_no_file(tmp_path: Path) -> None:
    """A path that cannot be a state file gets no lock beside it."""
    directory = tmp_path / "directory"
    directory.mkdir()
    with pytest.raises(errors.StateFileError, match="not a regular file"):
        async with WatchState.open(directory):
            pass
    assert os.listdir(tmp_path) == ["directory"]  # noqa: PTH208 - at once
