"""Downloads: one file to a path, or all of a job into a directory; fresh URLs for expired ones."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from yarl import URL

from sieve_async.config import check_whole
from sieve_async.errors import DownloadError, FileExpiredError, InvalidArgumentError, SieveError
from sieve_async.files.hosts import ForbiddenUrlError, HostRules, parse_url, without_query
from sieve_async.files.names import distinct_names, name_of_url, safe_name
from sieve_async.files.parts import PartFile, on_disk, run_blocking
from sieve_async.files.transfer import DownloadSettings, Progress, Renew, Transfer
from sieve_async.models import File, Job


async def download(
    file: File | str,
    path: str | os.PathLike[str],
    *,
    settings: DownloadSettings,
    renew: Renew | None = None,
    overwrite: bool = False,
    resume: bool = True,
    on_progress: Progress | None = None,
) -> Path:
    """Download one file; ``SieveClient.download`` describes what it promises."""
    target = check_target(path)
    if on_progress is not None and not callable(on_progress):
        raise InvalidArgumentError(f"on_progress must be callable, got {on_progress!r}")
    source = check_file(file)
    if not overwrite:
        _check_absent(target)
    shown = without_query(source.url)
    part = await on_disk(target, shown, PartFile.open, target, shown)
    try:
        transfer = Transfer(source, part, settings, on_progress)
        await transfer.run(renew, resume=resume)
        await transfer.finish(target, overwrite=overwrite)
    finally:
        await run_blocking(part.close)
    return target


async def download_all(
    files: Sequence[File],
    directory: str | os.PathLike[str],
    *,
    settings: DownloadSettings,
    renew: Renew | None = None,
    concurrency: int = 4,
) -> list[Path]:
    """Download files side by side; ``SieveClient.download_all`` describes what it promises."""
    check_whole("concurrency", concurrency, at_least=1)
    folder = _check_path("directory", directory, "directory")
    for path in _paths_in(folder, files):
        _check_absent(path)
    one = partial(download, settings=settings, renew=renew)
    saved, errors = await download_each(one, files, folder, concurrency)
    if errors:
        errors[0].add_note(f"{len(saved)} of {len(files)} files were downloaded")
        raise errors[0]
    return saved


async def download_each(
    one: Callable[[File, Path], Awaitable[Path]],
    files: Sequence[File],
    directory: Path,
    concurrency: int = 4,
) -> tuple[list[Path], list[Exception]]:
    """Download files side by side into a directory, each by a call; what was saved, what failed."""
    await on_disk(directory, "", partial(directory.mkdir, parents=True, exist_ok=True))
    paths = _paths_in(directory, files)
    slots = asyncio.Semaphore(concurrency)

    async def attempt(file: File, path: Path) -> Path | Exception:
        async with slots:
            try:
                return await one(file, path)
            except (SieveError, OSError) as error:
                return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(*pair)) for pair in zip(files, paths, strict=True)]
    results = [task.result() for task in tasks]
    saved = [result for result in results if isinstance(result, Path)]
    return saved, [result for result in results if isinstance(result, Exception)]


class Renewal:
    """Looks up the job of an expired file, each job once, however many of its files have expired.

    Args:
        get_job: Looks up a job.
    """

    def __init__(self, get_job: Callable[[str], Awaitable[Job]]) -> None:
        self._get_job = get_job
        self._jobs: dict[str, Job] = {}
        self._lock = asyncio.Lock()

    async def __call__(self, file: File) -> File | None:
        """The same file with the URL that the API gives now; None where it gives none.

        Raises:
            FileExpiredError: The job is not known, or could not be looked up.
        """
        url = without_query(file.url)
        if file.job_id is None:
            raise FileExpiredError("the URL has expired, and its job is not known", url)
        async with self._lock:
            if file.job_id not in self._jobs:
                try:
                    self._jobs[file.job_id] = await self._get_job(file.job_id)
                except SieveError as error:
                    reason = f"the URL has expired, and its job cannot be looked up: {error}"
                else:
                    reason = ""
                if reason:
                    raise FileExpiredError(reason, url)
        files = self._jobs[file.job_id].files
        same = [each for each in files if without_query(each.url) == url]
        # The query may say which file it is, beside when it was signed.
        known = _parameters(file)
        return max(same, key=lambda each: len(known & _parameters(each)), default=None)


def _parameters(file: File) -> set[tuple[str, str]]:
    return {*URL(file.url, encoded=True).query.items()}


def _paths_in(directory: Path, files: Sequence[File]) -> list[Path]:
    """Where files go in a directory: their names are made safe, and equal ones get numbers."""
    names = (safe_name(file.name) if file.name else name_of_url(file.url) for file in files)
    return [directory / name for name in distinct_names(names)]


def check_target(path: object) -> Path:
    """The path as a ``Path``.

    Raises:
        InvalidArgumentError: It is not the path of a file.
    """
    target = _check_path("path", path, "file")
    try:
        is_directory = not target.name or target.name == ".." or target.is_dir()
    except OSError as error:
        reason = f"path must be the path of a file: {error.strerror or error}"
        raise InvalidArgumentError(reason) from None
    if is_directory:
        raise InvalidArgumentError(
            f"path must be the path of a file, got the directory {str(target)!r}"
        )
    return target


def check_file(file: object) -> File:
    """The file as a ``File``; its URL is one that can be downloaded.

    Raises:
        InvalidArgumentError: It is no file, or a string that is no such URL.
        DownloadError: The job's URL cannot be downloaded.
    """
    if not isinstance(file, (File, str)):
        raise InvalidArgumentError(f"file must be a File or a URL, got {type(file).__name__}")
    url = file.url if isinstance(file, File) else file
    try:
        parsed = parse_url(url)
        HostRules.for_first(parsed).check_url(parsed)
    except ForbiddenUrlError as error:
        reason = str(error)
    else:
        return file if isinstance(file, File) else File(url=file)
    if isinstance(file, File):
        raise DownloadError(reason, without_query(url))
    raise InvalidArgumentError(f"file: {reason} ({without_query(url):.200})")


def _check_path(name: str, path: object, kind: str) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidArgumentError(f"{name} must be a path, got {type(path).__name__}")
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text or not _can_be_encoded(text):
        raise InvalidArgumentError(f"{name} must be the path of a {kind}, got {text!r:.100}")
    return Path(text)


def _can_be_encoded(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _check_absent(path: Path) -> None:
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
