"""Values as lines of text for people."""

from collections.abc import Iterator
from datetime import timedelta

from sieve_async.cli.exits import Exit, exit_of_outcome
from sieve_async.messages import shorten
from sieve_async.models import FunctionVersion, Job
from sieve_async.watching import JobOutcome

# What stands in the place of the status when there is no end to tell of.
_NO_ENDS = {
    Exit.TIMEOUT: "timeout",
    Exit.NOT_FOUND: "not-found",
    Exit.KEY: "refused",
    Exit.USAGE: "invalid",
}


def duration(seconds: float) -> str:
    """A duration of any size, in at most two units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, smaller, name_of_smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // smaller} {name_of_smaller}"
    return f"{whole} s"


def word_of(outcome: JobOutcome) -> str:
    """How the wait for a job ended, in one word."""
    if outcome.job is not None:
        return shorten(outcome.job.status)
    return _NO_ENDS.get(exit_of_outcome(outcome), "unreachable")


def line_of_outcome(outcome: JobOutcome) -> str:
    """One line: the id, a word, and what else there is to say."""
    parts = [shorten(outcome.job_id), f"{word_of(outcome):<9}", note_of_outcome(outcome)]
    return "  ".join(parts).rstrip()


def note_of_outcome(outcome: JobOutcome) -> str:
    """What there is to say: durations and files, or what went wrong."""
    if outcome.job is None:
        return shorten(str(outcome.error))
    return ", ".join(_notes(outcome.job))


def _notes(job: Job) -> Iterator[str]:
    for word, length in (("queued", job.queue_duration), ("ran", job.run_duration)):
        if isinstance(length, timedelta):
            yield f"{word} {duration(length.total_seconds())}"
    if job.error is not None:
        yield last_line(job.error)
    elif job.succeeded:
        yield from _files(job)


def _files(job: Job) -> Iterator[str]:
    files = job.files
    if len(files) == 1:
        yield shorten(files[0].url)
    elif job.outputs:
        yield f"{len(job.outputs)} output{'s'[: len(job.outputs) > 1]}"


def last_line(error: str) -> str:
    """The last line of an error text, which of a traceback is the one that says most."""
    lines = error.strip().splitlines()
    return shorten(lines[-1]) if lines else ""


def lines_of_job(job: Job) -> Iterator[str]:
    """All of a job that fits on a screen."""
    yield _fact("id", job.id)
    yield _fact("status", job.status)
    if job.function is not None and job.function.name:
        yield _fact("function", f"{job.function.owner_name or '?'}/{job.function.name}")
    yield from _moments(job, ("created_at", "started_at", "completed_at"))
    for label, length in (
        ("queue_duration", job.queue_duration),
        ("run_duration", job.run_duration),
    ):
        yield from () if length is None else (_fact(label, duration(length.total_seconds())),)
    if job.restarts:
        yield _fact("restarts", len(job.restarts))
    yield _fact("outputs", len(job.outputs))
    for file in job.files:
        yield _fact("", shorten(file.url))
    if job.error is not None:
        yield _fact("error", last_line(job.error))


def lines_of_version(version: FunctionVersion) -> Iterator[str]:
    """All of a version that fits on a screen."""
    yield _fact("id", version.id)
    yield _fact("build_status", version.build_status)
    yield from _moments(version, ("queued_at", "built_at", "ready_at"))
    for label in ("compute_type", "gpu", "cuda_version", "minimum_replicas", "maximum_replicas"):
        value = getattr(version, label)
        if value is not None and value != "":  # zero and False are shown
            yield _fact(label, value)
    workers = version.current_workers
    if workers is not None:
        yield _fact("workers", f"{workers.active or 0} active, {workers.idle or 0} idle")


def _moments(model: Job | FunctionVersion, labels: tuple[str, ...]) -> Iterator[str]:
    for label in labels:
        if (moment := getattr(model, label)) is not None:
            yield _fact(label, moment.isoformat(sep=" ", timespec="seconds"))


def _fact(label: str, value: object) -> str:
    return f"{label:<16}  {shorten(str(value))}".rstrip()
