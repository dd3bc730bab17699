"""The picture of a batch over time: one row for each job, in the order of their beginnings."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from html import escape

import attrs

from sieve_async.cli.lines import duration
from sieve_async.messages import printable

# The colour of each end; all others share one.
COLOURS = {"finished": "finished", "error": "error", "cancelled": "cancelled"}

_WIDTH = 1000.0
_TOP = 24.0
# Rows are as high as fits into this many pixels, within reason.
_HEIGHT = 1600.0
_HIGHEST_ROW = 14.0
_LEAST_TO_LABEL = 9.0
_LABEL_WIDTH = 130.0
# Of more jobs than this, those that took longest are shown.
_MOST_ROWS = 5000
_MOST_TICKS = 8
# The round times, in seconds, that may lie between two lines.
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_STEPS = (
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0),
    *(_MINUTE * minutes for minutes in (0.5, 1, 2, 5, 10, 20, 30)),
    *(_HOUR * hours for hours in (1, 2, 3, 6, 12)),
    *(_DAY * days for days in (1, 2, 5, 10, 30)),
)
# The mark of the end, so that it is seen however short the run was.
_CAP = 3.0


@attrs.frozen
class Span:
    """What is shown of one job.

    Attributes:
        job_id: Its id.
        word: How it ended, in one word.
        created_at: When it was created.
        started_at: When it began to run.
        completed_at: When it ended.
        trouble: What went wrong; empty for nothing.
    """

    job_id: str
    word: str
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    trouble: str = ""

    @property
    def queue_duration(self) -> float | None:
        """Seconds in the queue."""
        return _seconds(self.created_at, self.started_at)

    @property
    def run_duration(self) -> float | None:
        """Seconds of running."""
        return _seconds(self.started_at, self.completed_at)

    @property
    def lasted(self) -> float:
        """Seconds from first to last, as far as is known."""
        return (self.queue_duration or 0.0) + (self.run_duration or 0.0)


@attrs.frozen
class _Axis:
    """Turns moments into places."""

    start: datetime
    length: float
    left: float

    def place(self, moment: datetime) -> float:
        share = (moment - self.start).total_seconds() / self.length
        return self.left + min(max(share, 0.0), 1.0) * (_WIDTH - self.left)


def picture(spans: Sequence[Span], now: datetime) -> str:
    """The picture with its legend; empty when no job has any time to show."""
    timed = [span for span in spans if span.created_at is not None]
    if not timed:
        return ""
    shown = sorted(timed, key=lambda span: -span.lasted)[:_MOST_ROWS]
    shown.sort(key=lambda span: (span.created_at or now, span.started_at or now, span.job_id))
    row = min(_HIGHEST_ROW, _HEIGHT / len(shown))
    axis = _axis(shown, now, _LABEL_WIDTH if row >= _LEAST_TO_LABEL else 0.0)
    height = _TOP + row * len(shown) + 4
    opening = (
        f'<svg viewBox="0 0 {_WIDTH:g} {height:g}" role="img" '
        f'aria-label="queued and running times of {len(shown):,} jobs">'
    )
    legend = "".join(_legend(shown, len(spans)))
    parts = [f"<figure><figcaption>{legend}</figcaption>", opening, *_ticks(axis, height)]
    for number, span in enumerate(shown):
        parts += _row(span, axis, _TOP + row * number, row, now)
    parts.append("</svg></figure>")
    return "\n".join(parts)


def _axis(spans: Sequence[Span], now: datetime, left: float) -> _Axis:
    start = min(span.created_at or now for span in spans)
    end = max(_end_of(span, now) for span in spans)
    return _Axis(start, max((end - start).total_seconds(), 0.001), left)


def _ticks(axis: _Axis, height: float) -> Iterator[str]:
    """Lines at round times after the beginning."""
    step = next((step for step in _STEPS if axis.length / step <= _MOST_TICKS), axis.length)
    for number in range(int(axis.length / step) + 1):
        x = axis.place(axis.start + timedelta(seconds=step * number))
        anchor = "middle" if number and x < _WIDTH - 30 else "end" if number else "start"
        label = duration(step * number).removesuffix(" 0 s").removesuffix(" 0 min")
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="16" y2="{height:g}"/>'
        yield f'<text x="{x:.1f}" y="11" text-anchor="{anchor}">{label if number else 0}</text>'


def _row(span: Span, axis: _Axis, top: float, row: float, now: datetime) -> Iterator[str]:
    kind = COLOURS.get(span.word, "other")
    bar = row * 0.8
    created = axis.place(span.created_at or now)
    started = axis.place(span.started_at or _end_of(span, now))
    ended = axis.place(_end_of(span, now))
    job_id = escape(span.job_id)
    yield f"<g><title>{job_id}: {escape(_story(span))}</title>"
    if axis.left:
        label = escape(span.job_id if len(span.job_id) <= 20 else f"{span.job_id[:19]}…")
        yield f'<text x="0" y="{top + row * 0.75:.2f}">{label}</text>'
    yield f'<path class="queued" d="{_box(created, started, top, bar)}"/>'
    if span.started_at is not None:
        yield f'<path class="run {kind}" d="{_box(started, ended, top, bar)}"/>'
    cap = max(ended - _CAP, axis.left)
    yield f'<path class="{kind}" d="{_box(cap, cap + _CAP, top, bar)}"/></g>'


def _box(left: float, right: float, top: float, height: float) -> str:
    return f"M{left:.1f} {top:.2f}H{max(left, right):.1f}v{height:.2f}H{left:.1f}z"


def _story(span: Span) -> str:
    parts = [span.word]
    if span.queue_duration is not None:
        parts.append(f"queued {duration(span.queue_duration)}")
    if span.run_duration is not None:
        parts.append(f"ran {duration(span.run_duration)}")
    if span.trouble and span.trouble != span.word:
        parts.append(span.trouble.strip().splitlines()[-1][:200])
    return printable(", ".join(parts))


def _legend(shown: Sequence[Span], total: int) -> Iterator[str]:
    kinds = {COLOURS.get(span.word, "other") for span in shown}
    yield _swatch("queued", "queued")
    for kind in (*COLOURS.values(), "other"):
        if kind in kinds:
            yield _swatch(kind, "not seen to its end" if kind == "other" else f"ran, {kind}")
    if len(shown) < total:
        yield f"(of {total:,} jobs, {len(shown):,} are shown: those with times that took longest)"


def _swatch(kind: str, text: str) -> str:
    return f'<span class="{kind}">&#9632;</span> <b>{escape(text)}</b> '


def _end_of(span: Span, now: datetime) -> datetime:
    return span.completed_at or now


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else max((end - start).total_seconds(), 0.0)
