"""How jobs, versions and outcomes look in a notebook and in one line of text.

Knows no model: whatever has the fields can be shown. Everything is escaped, for all of it may come
from elsewhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

_LONGEST_CELL = 500
_MOST_ROWS = 200
_COLOURS = {"finished": "#2a8f5a", "ready": "#2a8f5a", "error": "#d93036", "cancelled": "#d08700"}


class JobLike(Protocol):
    """What is shown of a job."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def status(self) -> str:
        """How far it is."""

    @property
    def created_at(self) -> datetime | None:
        """When it was created."""

    @property
    def queue_duration(self) -> timedelta | None:
        """How long it was queued."""

    @property
    def run_duration(self) -> timedelta | None:
        """How long it ran."""

    @property
    def outputs(self) -> Sequence[object]:
        """What it has made."""

    @property
    def error(self) -> str | None:
        """What went wrong."""


class VersionLike(Protocol):
    """What is shown of a version."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def build_status(self) -> str:
        """How far its build is."""

    @property
    def queued_at(self) -> datetime | None:
        """When it was queued."""

    @property
    def ready_at(self) -> datetime | None:
        """When it was ready."""


class OutcomeLike(Protocol):
    """What is shown of an outcome."""

    @property
    def job_id(self) -> str:
        """The job."""

    @property
    def job(self) -> JobLike | None:
        """The job as it ended."""

    @property
    def error(self) -> Exception | None:
        """Why there is none."""


class ShownJob:
    """What a job looks like."""

    __slots__ = ()

    def __str__(self: JobLike) -> str:
        return f"job {self.id}: {', '.join([str(self.status), *_notes(self)])}"

    def _repr_html_(self: JobLike) -> str:
        return _facts({"job": self.id} | _facts_of_job(self), error=self.error)


class ShownVersion:
    """What a version looks like."""

    __slots__ = ()

    def __str__(self: VersionLike) -> str:
        return f"version {self.id}: {self.build_status}"

    def _repr_html_(self: VersionLike) -> str:
        facts = {"version": self.id, "build_status": str(self.build_status)}
        for name, moment in (("queued_at", self.queued_at), ("ready_at", self.ready_at)):
            facts |= {name: _moment(moment)} if moment is not None else {}
        return _facts(facts)


class ShownOutcome:
    """What an outcome looks like."""

    __slots__ = ()

    def _repr_html_(self: OutcomeLike) -> str:
        return outcomes_as_html([self])


def outcomes_as_html(outcomes: Sequence[OutcomeLike]) -> str:
    """A table of outcomes."""
    rows = "".join(_row(_cells(outcome)) for outcome in outcomes[:_MOST_ROWS])
    more = len(outcomes) - _MOST_ROWS
    rest = f"<p>and {more:,} more</p>" if more > 0 else ""
    head = "".join(f"<th>{name}</th>" for name in ("job", "status", "queued", "ran", "note"))
    return f"<table><tr>{head}</tr>{rows}</table>{rest}"


def _cells(outcome: OutcomeLike) -> tuple[str, str, str, str, str]:
    job = outcome.job
    if job is None:
        return outcome.job_id, type(outcome.error).__name__, "", "", str(outcome.error or "")
    note = _last_line(job.error) if job.error else _outputs(job)
    return job.id, str(job.status), _length(job.queue_duration), _length(job.run_duration), note


def _facts_of_job(job: JobLike) -> dict[str, str]:
    facts = {"status": str(job.status)}
    if job.created_at is not None:
        facts["created_at"] = _moment(job.created_at)
    facts |= {
        "queue_duration": _length(job.queue_duration),
        "run_duration": _length(job.run_duration),
    }
    return facts | {"outputs": str(len(job.outputs))}


def _notes(job: JobLike) -> Iterable[str]:
    for word, length in (("queued", job.queue_duration), ("ran", job.run_duration)):
        if length is not None:
            yield f"{word} {_length(length)}"
    if job.outputs:
        yield _outputs(job)
    if job.error:
        yield _last_line(job.error)


def _outputs(job: JobLike) -> str:
    return "1 output" if len(job.outputs) == 1 else f"{len(job.outputs)} outputs"


def _facts(facts: Mapping[str, str], *, error: str | None = None) -> str:
    rows = "".join(_row((name, value)) for name, value in facts.items() if value)
    text = f"<pre>{_cell(error)}</pre>" if error else ""
    return f"<table>{rows}</table>{text}"


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<td{_style(cell)}>{_cell(cell)}</td>' for cell in cells)}</tr>"


def _style(cell: str) -> str:
    return f' style="color: {_COLOURS[cell]}"' if cell in _COLOURS else ""


def _cell(text: str) -> str:
    """A text that is shown and cannot do anything; of a long one its end, which says most."""
    from html import escape  # noqa: PLC0415 - few want to see it, and it knows all names of HTML

    shown = text if len(text) <= _LONGEST_CELL else f"...{text[-_LONGEST_CELL:]}"
    printable = "".join(each for each in shown if each.isprintable() or each == "\n")
    return escape(printable)


def _moment(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="seconds")


def _length(length: timedelta | None) -> str:
    if length is None:
        return ""
    seconds = length.total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def _last_line(error: str) -> str:
    lines = error.strip().splitlines() or [""]
    return "".join(each for each in lines[-1] if each.isprintable())[:_LONGEST_CELL]
