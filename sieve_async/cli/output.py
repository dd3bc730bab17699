"""Exit codes, results on standard output, and errors and values as lines of text."""

import io
import json
import os
import sys
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Self

from sieve_async import errors
from sieve_async.cli.parser import Options, redirect_to_null
from sieve_async.converter import unstructure
from sieve_async.display import error_text, job_notes, last_line, shorten, text_of
from sieve_async.errors import ConfigError, SieveError
from sieve_async.models import FunctionVersion, InputOutput, Job
from sieve_async.outcomes import JobOutcome


class Exit(IntEnum):
    """Exit codes of the program, in order of precedence: uncertain results come first."""

    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143
    BROKEN_PIPE = 141
    AUTH = 4
    ERROR = 6
    TIMEOUT = 124
    USAGE = 2
    NOT_FOUND = 5
    FAILED = 1
    CANCELLED = 3
    OK = 0


class NoKeyError(ConfigError):
    """There is no API key, or what was found is not one."""


class BrokenPipe(Exception):  # noqa: N818 - not an error: the reader has what it wanted
    """The output pipe is closed."""


_MAX_DEPTH = 100  # of JSON that is nested too deeply to be written
_CHECK_ID = "check the id, and that the key from {key} belongs to the same organisation"
_CHECK_JOBS = "before another try, check with: sieve-async job list --function {function}"
_VOID = "the outputs printed so far are void; see --on-restart continue"

# Exit codes of errors, and what to do about them.
_ERRORS: tuple[tuple[type[SieveError], Exit, str], ...] = (
    (NoKeyError, Exit.AUTH, ""),
    (errors.AuthenticationError, Exit.AUTH, "the server refused the key from {key}"),
    (errors.PermissionDeniedError, Exit.AUTH, "the key from {key} does not give access"),
    (errors.NotFoundError, Exit.NOT_FOUND, _CHECK_ID),
    (errors.OutOfCreditsError, Exit.ERROR, "the organisation has no credits left"),
    (errors.TLSError, Exit.ERROR, "check {url}, and the certificates of this machine"),
    (errors.ConnectError, Exit.ERROR, "check the network, and {url}"),
    (errors.AmbiguousPushError, Exit.ERROR, _CHECK_JOBS),
    (errors.WaitTimeoutError, Exit.TIMEOUT, ""),
    (ConfigError, Exit.USAGE, ""),
    (errors.InvalidArgumentError, Exit.USAGE, ""),
    (errors.JobFailedError, Exit.FAILED, ""),
    (errors.BuildFailedError, Exit.FAILED, ""),
    (errors.JobRestartedError, Exit.FAILED, _VOID),
    (errors.JobNotCancellableError, Exit.FAILED, ""),
    (errors.JobCancelledError, Exit.CANCELLED, ""),
)


def exit_of_error(error: BaseException | None) -> Exit:
    """The exit code of an error."""
    return next((code for kind, code, _ in _ERRORS if isinstance(error, kind)), Exit.ERROR)


def exit_of_outcome(outcome: JobOutcome) -> Exit:
    """The exit code of one outcome."""
    if outcome.job is None:
        return exit_of_error(outcome.error)
    try:
        outcome.job.raise_for_status()
    except SieveError as error:
        return exit_of_error(error)
    return Exit.OK


def exit_of_many(codes: Iterable[Exit]) -> Exit:
    """The exit code of several jobs."""
    return min(codes, key=list(Exit).index, default=Exit.OK)


class Printer:
    """Writes results to standard output in one format; a JSON array is always closed."""

    def __init__(self, style: str) -> None:
        self._style = style
        self._stream = sys.stdout
        self._count = 0
        if isinstance(self._stream, io.TextIOWrapper):
            self._stream.reconfigure(errors="backslashreplace")

    @property
    def is_at_terminal(self) -> bool:
        """Whether results appear at a terminal."""
        return self._style != "quiet" and self._stream.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._style == "json" and kind is not BrokenPipe:
            self._write("\n]\n" if self._count else "[]\n")

    def item(self, value: object, text: str) -> None:
        """Write one of several results."""
        if self._style == "json":
            self._write(f"{',' if self._count else '['}\n{to_json(value)}")
        else:
            self.only(value, text)
        self._count += 1

    def only(self, value: object, text: str) -> None:
        """Write the only result."""
        if self._style == "text":
            self._write(f"{text}\n")
        elif self._style != "quiet":
            self._write(f"{to_json(value, indent=2 if self._style == 'json' else None)}\n")

    def verbatim(self, text: str) -> None:
        """Write a document as the server sent it."""
        self._write(text if text.endswith("\n") else f"{text}\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            redirect_to_null(self._stream)
            if isinstance(error, BrokenPipeError):
                raise BrokenPipe from None
            raise


def to_json(value: object, *, indent: int | None = None) -> str:
    """A value as JSON in plain ASCII, which every terminal and pipe can carry.

    What is nested deeper than the standard library writes is cut: one job must not end a watch.
    """
    if isinstance(value, tuple):  # an output of several parts
        value = [unstructure(part) for part in value]
    elif isinstance(value, InputOutput):
        value = unstructure(value)
    elif to_dict := getattr(value, "to_dict", None):
        value = to_dict()
    try:
        return json.dumps(value, indent=indent)
    except RecursionError:
        return json.dumps(_cut(value, _MAX_DEPTH), indent=indent)


def _cut(value: Any, levels: int) -> Any:
    """A JSON value without what is nested deeper than so many levels."""
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        return "(nested too deeply)"
    if isinstance(value, list):
        return [_cut(each, levels - 1) for each in value]
    return {name: _cut(each, levels - 1) for name, each in value.items()}


def describe_error(error: BaseException, options: Options) -> str:
    """One line: what went wrong, and what to do about it."""
    text = shorten("; ".join([str(error), *getattr(error, "__notes__", ())]))
    if not isinstance(error, SieveError):
        if isinstance(error, OSError):
            return text
        return f"internal error: {type(error).__name__}: {text} (--debug shows the traceback)"
    url = "--base-url" if options.base_url is not None else "SIEVE_API_URL (or --base-url)"
    hint = next((hint for kind, _, hint in _ERRORS if isinstance(error, kind)), "")
    words = {"key": _key_source(options), "url": url, "function": getattr(options, "function", "")}
    return f"{text.removesuffix('.')}; {hint.format(**words)}" if hint else text


def _key_source(options: Options) -> str:
    if options.key_file is not None:
        return f"--key-file {options.key_file}"
    names = ("SIEVE_API_KEY", "SIEVE_API_KEY_FILE")
    return next((name for name in names if os.environ.get(name)), "~/.config/.sieve/config")


def outcome_line(outcome: JobOutcome) -> str:
    """One line: id, status, and durations and files, or the error."""
    job = outcome.job
    note = shorten(str(outcome.error)) if job is None else ", ".join(job_notes(job, job.files))
    return f"{shorten(outcome.job_id)}  {shorten(outcome.status):<9}  {note}".rstrip()


def job_row(job: Job) -> str:
    """One line of a list of jobs."""
    created = f"{job.created_at:%Y-%m-%d %H:%M:%S}" if job.created_at else ""
    return f"{shorten(job.id)}  {shorten(job.status):<10}  {created:<19}  {_name(job)}".rstrip()


def _name(job: Job) -> str:
    if job.function is None or not job.function.name:
        return ""
    return shorten(f"{job.function.owner_name or '?'}/{job.function.name}")


def job_text(job: Job) -> str:
    """What of a job fits on a screen."""
    times = ("created_at", "started_at", "completed_at", "queue_duration", "run_duration")
    return _table(
        ("id", job.id),
        ("status", job.status),
        ("function", _name(job)),
        *((name, getattr(job, name)) for name in times),
        ("restarts", len(job.restarts) or None),
        ("outputs", len(job.outputs)),
        *(("" if number else "file", file.url) for number, file in enumerate(job.files)),
        ("error", last_line(error_text(job))),
    )


def version_text(version: FunctionVersion) -> str:
    """What of a version fits on a screen."""
    names = (
        *("id", "build_status", "queued_at", "built_at", "ready_at", "compute_type", "gpu"),
        *("cuda_version", "minimum_replicas", "maximum_replicas"),
    )
    workers = version.current_workers
    counts = workers and f"{workers.active or 0} active, {workers.idle or 0} idle"
    return _table(*((name, getattr(version, name)) for name in names), ("workers", counts))


def _table(*facts: tuple[str, object]) -> str:
    """A line for each fact; those that are None or empty are left out."""
    texts = ((label, shorten(text_of(value))) for label, value in facts)
    return "\n".join(f"{label:<16}  {text}" for label, text in texts if text)
