"""Text and HTML of values: short reprs, one-line summaries, tables for notebooks.

Everything is escaped or made printable, since all of it may come from elsewhere.
"""

import re
import reprlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:  # values use these functions, so at run time the values come later
    from sieve_async.models import File, FunctionVersion, Job
    from sieve_async.outcomes import JobOutcome

_EXCERPT_LENGTH = 300
_MAX_REPR = 2000
_MAX_CELL = 500
_MAX_ROWS = 200
_COLORS = {"finished": "#2a8f5a", "ready": "#2a8f5a", "error": "#d93036", "cancelled": "#d08700"}
# All but tabs and line ends; also marks that reverse the direction of a text.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# The query of a signed URL is as good as a password, and a text may end in a log.
# JSON may spell a slash as "\/".
_URL = re.compile(r"(?i)(https?:(?:\\?/){2}[^\s\"'<>?]*)(\?[^\s\"'<>]*)?")


def _without_queries(text: str) -> str:
    # A URL without a query matches too: a text of many is not searched again from each of them.
    return _URL.sub(lambda url: f"{url[1]}?..." if url[2] else url[1], text)


def printable(text: str) -> str:
    """A text fit to be logged: no queries of URLs, no terminal controls, no lone surrogates."""
    text = _CONTROLS.sub(" ", _without_queries(text))
    return text.encode("utf-8", "replace").decode()


def shorten(text: str) -> str:
    """One printable line of at most 300 characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= _EXCERPT_LENGTH else f"{line[: _EXCERPT_LENGTH - 3]}..."


def value_text(value: object) -> str:
    """A JSON value as text; what is nested too deeply for that says nothing."""
    try:
        return str(value)
    except RecursionError:
        return ""


class _ShortRepr(reprlib.Repr):
    """Reprs of attrs objects without fields at their defaults, long values shortened."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 5
        self.maxtuple = self.maxlist = self.maxdict = 5
        self.maxstring = self.maxother = 200

    def repr_instance(self, x: object, level: int) -> str:
        if isinstance(x, str):  # a status
            return self.repr_str(str(x), level)
        if not attrs.has(type(x)) or isinstance(x, BaseException):
            return super().repr_instance(x, level)
        if level <= 0:
            return f"{type(x).__name__}(...)"
        shown = (
            f"{field.name}={self.repr1(value, level - 1)}" for field, value in fields_not_default(x)
        )
        return f"{type(x).__name__}({', '.join(shown)})"

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 10_000:  # Python refuses to write very long ones
            return f"<an integer of {x.bit_length():,} bits>"
        return super().repr_int(x, level)

    def repr_datetime(self, x: datetime, level: int) -> str:  # noqa: ARG002 - called by its name
        return repr(x.isoformat())

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(_without_queries(x[: 4 * self.maxstring]), level)


_SHORT_REPR = _ShortRepr()


def short_repr(value: object) -> str:
    """The repr of an attrs object: fields at their defaults left out, at most 2,000 characters."""
    text = _SHORT_REPR.repr_instance(value, _SHORT_REPR.maxlevel)
    return text if len(text) <= _MAX_REPR else f"{text[: _MAX_REPR - 4]}...)"


def fields_not_default(value: Any) -> Iterable[tuple["attrs.Attribute[Any]", Any]]:
    """The fields of an attrs object whose values differ from their defaults."""
    for field in attrs.fields(type(value)):
        held = getattr(value, field.name)
        default = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type] # a class at run time
            default = default.factory()
        # False is not 0 here, though they are equal.
        if held.__class__ is not default.__class__ or held != default:
            yield field, held


def job_text(job: "Job") -> str:
    """One line about a job."""
    return f"job {job.id}: {shorten(', '.join([job.status, *job_notes(job)]))}"


def version_text(version: "FunctionVersion") -> str:
    """One line about a function version."""
    return f"version {version.id}: {shorten(version.build_status)}"


def job_html(job: "Job") -> str:
    """A table of the facts of a job."""
    table = _facts_table(
        job=job.id,
        status=job.status,
        created_at=job.created_at,
        queue_duration=job.queue_duration,
        run_duration=job.run_duration,
        outputs=len(job.outputs),
    )
    error = error_text(job)
    return f"{table}<pre>{_cell(error)}</pre>" if error else table


def version_html(version: "FunctionVersion") -> str:
    """A table of the facts of a function version."""
    return _facts_table(
        version=version.id,
        build_status=version.build_status,
        queued_at=version.queued_at,
        ready_at=version.ready_at,
    )


def outcomes_html(outcomes: "Sequence[JobOutcome]") -> str:
    """A table of outcomes, one row each."""
    rows = "".join(_row(*_outcome_cells(outcome)) for outcome in outcomes[:_MAX_ROWS])
    more = len(outcomes) - _MAX_ROWS
    rest = f"<p>and {more:,} more</p>" if more > 0 else ""
    head = "".join(f"<th>{name}</th>" for name in ("job", "status", "queued", "ran", "note"))
    return f"<table><tr>{head}</tr>{rows}</table>{rest}"


def _outcome_cells(outcome: "JobOutcome") -> tuple[object, ...]:
    job = outcome.job
    if job is None:
        return outcome.job_id, outcome.status, "", "", outcome.error
    note = last_line(error_text(job)) or _outputs_text(job)
    return job.id, job.status, job.queue_duration, job.run_duration, note


def job_notes(job: "Job", files: "Sequence[File]" = ()) -> Iterable[str]:
    """The durations, outputs and error of a job; instead of its outputs, its only file."""
    for word, duration in (("queued", job.queue_duration), ("ran", job.run_duration)):
        if duration is not None:
            yield f"{word} {text_of(duration)}"
    if job.succeeded and len(files) == 1:
        yield shorten(files[0].url)
    elif job.outputs:
        yield _outputs_text(job)
    if error := error_text(job):
        yield last_line(error)


def _outputs_text(job: "Job") -> str:
    return "1 output" if len(job.outputs) == 1 else f"{len(job.outputs)} outputs"


def _facts_table(**facts: object) -> str:
    rows = "".join(_row(name, value) for name, value in facts.items() if text_of(value))
    return f"<table>{rows}</table>"


def _row(*values: object) -> str:
    cells = ""
    for text in map(text_of, values):
        style = f' style="color: {_COLORS[text]}"' if text in _COLORS else ""
        cells += f"<td{style}>{_cell(text)}</td>"
    return f"<tr>{cells}</tr>"


def _cell(text: str) -> str:
    """An escaped text; of a long one its end, which says most."""
    text = printable(text)
    return escape(text if len(text) <= _MAX_CELL else f"...{text[-_MAX_CELL:]}")


def text_of(value: object) -> str:
    """A fact as text: times to the second, durations in at most two units; None is empty."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, timedelta):
        return format_duration(value.total_seconds())
    return "" if value is None else str(value)


def format_duration(seconds: float) -> str:
    """A duration of any size, in at most two units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, days = minutes // 60, minutes // 1440
    if hours == 0:
        return f"{minutes} min {rest} s"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def error_text(job: "Job") -> str:
    """The error of a job, empty for none; what is no text is kept in ``extra``."""
    return job.error or value_text(job.extra.get("error") or "")


def last_line(error: str) -> str:
    """The last line of a job's error, which is often a traceback: it says what went wrong."""
    return shorten((error.strip().splitlines() or [""])[-1])
