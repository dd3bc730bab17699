"""A part file: what is there of a download, beside its target.

Its name is made from the target's name and the URL without the query, so that a later call finds
what an earlier one left, and files of other programs are never taken for it. A lock of the
operating system says whether another download writes it at this moment: that one then keeps it, and
the new one takes the next name. A second file beside it remembers which content it is the beginning
of.
"""

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

import attrs

from sieve_async.errors import DownloadError
from sieve_async.files.names import cut_bytes
from sieve_async.files.ranges import Content

Result = TypeVar("Result")

_MAX_WRITERS = 100  # of one file at a time
_MAX_NAME_BYTES = 210  # of the target's name in that of the part
_MAX_RECORD_BYTES = 4096
_STEP = 8 * 1024 * 1024
_OPEN_FLAGS = (
    os.O_RDWR
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe of that name would hold up the call
)
_LOCKED = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})


class PartFile:
    """An open and locked part file. All methods block; call them in a thread."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.size = file.seek(0, os.SEEK_END)
        self.content = Content()
        self._file = file
        self._record = path.with_name(f"{path.name}.json")
        self._new_record = path.with_name(f"{path.name}.json.new")
        if self.size:
            self._read_record()

    @classmethod
    def open(cls, target: Path, source: str) -> Self:
        """Open the part of an earlier download that nothing writes now, or a new one.

        Args:
            target: Where the complete file is to be.
            source: The URL without its query.

        Raises:
            OSError: It cannot be made.
        """
        tag = hashlib.sha256(f"{target.name}\n{source}".encode("utf-8", "replace")).hexdigest()[:12]
        stem = f"{cut_bytes(target.name, _MAX_NAME_BYTES)}.{tag}"
        for number in range(1, _MAX_WRITERS + 1):
            name = f"{stem}.part" if number == 1 else f"{stem}-{number}.part"
            path = target.with_name(name)
            file = _open_locked(path)
            if file is not None:
                return cls(path, file)
        raise OSError(errno.EBUSY, "too many downloads write this file", str(target))

    def start(self, content: Content) -> None:
        """Hold nothing, and remember which content is to come."""
        self._file.truncate(0)  # first: the bytes must never stand beside another content's record
        self._file.seek(0)
        self.size = 0
        self.content = content
        if content.etag is None:
            self._record.unlink(missing_ok=True)
            return
        self._write_record()

    def append(self, data: bytes | bytearray) -> None:
        """Write behind what is there."""
        self._file.seek(self.size)
        self._file.write(data)
        self._file.flush()
        self.size += len(data)

    def free_space(self) -> int:
        """Bytes that this user may still write on the file system."""
        return shutil.disk_usage(self.path.parent).free

    def start_digest(self) -> "hashlib._Hash":
        """An MD5 digest of nothing, for ``digest_step``; it guards against damage, not malice."""
        self._file.seek(0)
        return hashlib.md5(usedforsecurity=False)

    def digest_step(self, digest: "hashlib._Hash") -> bool:
        """Add the next few megabytes; False when there are none."""
        block = self._file.read(_STEP)
        digest.update(block)
        return bool(block)

    def finish(self, target: Path, *, overwrite: bool) -> None:
        """Make the part the target, in one step that a crash cannot halve.

        Raises:
            FileExistsError: There is a target by now, and it is not to be overwritten.
            OSError: The disk failed.
        """
        os.fsync(self._file.fileno())
        if not overwrite and os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        if sys.platform == "win32":  # pragma: no cover - an open file cannot be renamed there
            self._file.close()
        self._record.unlink(missing_ok=True)  # first: afterwards another writer may make its own
        try:
            if overwrite:
                self.path.replace(target)
            else:
                _rename_to_new(self.path, target)
        except OSError:
            self._write_record()
            raise
        _sync_directory(target.parent)

    def discard(self) -> None:
        """Remove the part and its record."""
        self._record.unlink(missing_ok=True)
        self._new_record.unlink(missing_ok=True)  # the disk was full
        if sys.platform == "win32":  # pragma: no cover
            self._file.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give up the lock; an empty part is of no use and is removed before."""
        if self._file.closed:  # pragma: no cover
            return
        with contextlib.suppress(OSError):
            if self.size == 0 and self._is_own():
                self.discard()
        self._file.close()

    def _write_record(self) -> None:
        self._new_record.write_text(json.dumps(attrs.asdict(self.content)), encoding="utf-8")
        self._new_record.replace(self._record)

    def _is_own(self) -> bool:
        return _is_same_file(self._file, self.path)

    def _read_record(self) -> None:
        """Recall which content this is; without a record it is of no use."""
        try:
            with self._record.open("rb") as file:
                content = _parse_record(file.read(_MAX_RECORD_BYTES))
        except OSError:
            return
        if content.length is None or self.size <= content.length:
            self.content = content


async def run_blocking(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a thread.

    A cancellation waits for the end of the call, and passes then: a file must not be closed while a
    thread still writes it.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        while not call.done():
            try:
                await asyncio.wait([call])
            except asyncio.CancelledError:
                continue
        if not call.cancelled():
            call.exception()  # seen, so that nothing warns of it
        raise


async def on_disk(
    place: Path, url: str, function: Callable[..., Result], *arguments: object
) -> Result:
    """Call a function of the disk in a thread; what the system refuses is a download error.

    Raises:
        FileExistsError: As the function raises it.
        DownloadError: Any other error of the system; it names the place and the URL.
    """
    try:
        return await run_blocking(function, *arguments)
    except FileExistsError:
        raise
    except OSError as error:
        reason = f"{place}: {error.strerror or error}"
    raise DownloadError(reason, url)


def _parse_record(raw: bytes) -> Content:
    """The content that a record describes; nothing is known where it describes none."""
    try:
        known = json.loads(raw)
        etag, length, md5 = known["etag"], known["length"], known["md5"]
    except (ValueError, KeyError, TypeError):
        return Content()
    is_valid = isinstance(etag, str) and isinstance(length, int | None)
    return Content(etag, length, md5) if is_valid and isinstance(md5, str | None) else Content()


def _open_locked(path: Path) -> BinaryIO | None:
    """Open a file and lock it; None if it is locked, or no plain file of this user."""
    while True:
        try:
            descriptor, is_new = _open_or_create(path)
        except FileNotFoundError:
            if path.parent.is_dir():
                continue  # it was removed in this moment
            raise
        except OSError:
            if os.path.lexists(path):
                return None  # a link, a directory, or a file of another user
            raise
        file = _locked(descriptor, is_new=is_new)
        if file is None or _is_same_file(file, path):
            return file
        file.close()  # it became the target or was removed between opening and locking


def _locked(descriptor: int, *, is_new: bool) -> BinaryIO | None:
    """The open file, locked; None if another download writes it or it is more than a part."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        return None
    file = os.fdopen(descriptor, "r+b")
    if _lock(file, is_new=is_new):
        return file
    file.close()
    return None


def _open_or_create(path: Path) -> tuple[int, bool]:
    try:
        return os.open(path, _OPEN_FLAGS | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        return os.open(path, _OPEN_FLAGS), False


def _is_same_file(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except OSError:
        return False


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _lock(file: BinaryIO, *, is_new: bool) -> bool:  # noqa: ARG001
        """Lock one byte far behind the end, which hinders no reading."""
        file.seek(2**62)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _rename_to_new(path: Path, target: Path) -> None:
        """Rename a file, unless there is a target: what Windows does by itself."""
        path.rename(target)

    def _sync_directory(directory: Path) -> None:
        """Windows has no such call."""

else:
    import fcntl

    def _lock(file: BinaryIO, *, is_new: bool) -> bool:
        """Lock a file; where the file system knows no locks, only a new file is surely ours."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return is_new and error.errno not in _LOCKED
        return True

    def _rename_to_new(path: Path, target: Path) -> None:
        """Rename a file, unless there is a target: ``rename`` would replace it."""
        try:
            os.link(path, target)
        except FileExistsError:
            raise
        except OSError:  # the file system knows no links
            path.replace(target)
        else:
            path.unlink()

    def _sync_directory(directory: Path) -> None:
        """Make a rename last; some file systems cannot."""
        with contextlib.suppress(OSError):
            descriptor = os.open(directory, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
