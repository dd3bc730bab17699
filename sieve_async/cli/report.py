"""The HTML report of ``watch --report``: totals, durations, a chart, and the failures."""

import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from html import escape
from itertools import chain

import attrs

from sieve_async.display import error_text, format_duration, last_line, printable, shorten
from sieve_async.models import Job
from sieve_async.outcomes import JobOutcome

_MAX_FAILURES = 1000
_MAX_ERROR_LENGTH = 20_000  # characters
_MAX_ROWS = 5000
_STATUS_CLASSES = ("finished", "error", "cancelled")  # all others look alike

# Sizes of the chart, in its own units.
_WIDTH = 1000.0
_TOP = 24.0
_MAX_HEIGHT = 1600.0
_MAX_ROW_HEIGHT = 14.0
_MIN_LABELLED_ROW_HEIGHT = 9.0
_LABEL_WIDTH = 130.0
_END_MARK = 3.0
_MAX_TICKS = 8
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_TICK_STEPS = (
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0),
    *(_MINUTE * minutes for minutes in (0.5, 1, 2, 5, 10, 20, 30)),
    *(_HOUR * hours for hours in (1, 2, 3, 6, 12)),
    *(_DAY * days for days in (1, 2, 5, 10, 30)),
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --paper: #fcfcfd;
  --line: #d9d9e0; --queued: #b9bbc6; --finished: #1f7a4a;
  --error: #cf2a30; --cancelled: #9f5d00; --other: #2f6bc0; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #b0b4ba;
  --paper: #111113; --line: #43484e; --queued: #5a6169; --finished: #3dbf7c;
  --error: #ff6369; --cancelled: #ffb224; --other: #70aaff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1120px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .2rem 0; } .soft, caption { color: var(--soft); }
.totals { list-style: none; display: flex; flex-wrap: wrap; gap: .5rem 2rem; padding: 0; }
.totals li { border-left: 4px solid; padding-left: .6rem; }
.totals span { color: var(--ink); } .totals b { font-size: 1.4rem; }
.finished { color: var(--finished); } .error { color: var(--error); }
.cancelled { color: var(--cancelled); } .other { color: var(--other); }
.queued { color: var(--queued); }
table { border-collapse: collapse; } caption { text-align: left; }
td, th { padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
thead th { color: var(--soft); font-weight: normal; }
tbody th { font-weight: normal; } td:last-child { overflow-wrap: anywhere; }
.job { font-family: ui-monospace, monospace; } .status { white-space: nowrap; }
figure { margin: 1rem 0; } svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .axis { stroke: var(--line); } svg path { fill: currentColor; stroke: none; }
svg .run { opacity: .7; } svg g:hover .run { opacity: 1; }
figcaption { color: var(--soft); display: flex; flex-wrap: wrap; gap: 0 1rem; }
figcaption i { font-style: normal; }
pre { border: 1px solid var(--line); padding: .6rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
"""

# The page loads nothing and runs nothing; the empty icon keeps browsers from asking for one.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="soft">watched from {when}</p>
{sections}
</main>
</body>
</html>
"""


@attrs.frozen
class Row:
    """What the report shows of one job; ``failure`` is its error text."""

    job_id: str
    status: str
    failure: str
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def style(self) -> str:
        """The CSS class of its status."""
        return self.status if self.status in _STATUS_CLASSES else "other"

    @property
    def queued(self) -> float | None:
        """Seconds in the queue, if they are known."""
        return _seconds(self.created_at, self.started_at)

    @property
    def ran(self) -> float | None:
        """Seconds of its run, if they are known."""
        return _seconds(self.started_at, self.completed_at)


@attrs.define
class Report:
    """Collects the little that the page needs of each outcome: outputs are not kept."""

    started_at: datetime
    _rows: list[Row] = attrs.field(factory=list, init=False)

    def add(self, outcome: JobOutcome) -> None:
        """Record an outcome."""
        last = getattr(outcome.error, "last", None)
        job = outcome.job or (last if isinstance(last, Job) else None)
        times = () if job is None else (job.created_at, job.started_at, job.completed_at)
        job_id, status = printable(outcome.job_id), printable(str(outcome.status))
        self._rows.append(Row(job_id, status, _failure(outcome), *times))

    def page(self, now: datetime, *, pending: Collection[str]) -> str:
        """The page as it is now."""
        total = len(self._rows) + len(pending)
        sections = (
            _totals(self._rows, len(pending)),
            _durations(self._rows),
            _chart(self._rows, now),
            _failures([row for row in self._rows if row.failure]),
            _pending(pending),
        )
        return _PAGE.format(
            style=_STYLE,
            title=f"{total:,} Sieve job{'s'[: total != 1]}",
            when=f"{self.started_at:%Y-%m-%d %H:%M:%S} to {now:%Y-%m-%d %H:%M:%S} UTC",
            sections="\n".join(chain.from_iterable(sections)),
        )


def _failure(outcome: JobOutcome) -> str:
    if outcome.ok:
        return ""
    if outcome.job is None:
        return shorten(str(outcome.error))
    return printable(error_text(outcome.job)[:_MAX_ERROR_LENGTH]).strip() or outcome.status


def _totals(rows: Sequence[Row], pending: int) -> Iterator[str]:
    counts = Counter(row.status for row in rows)
    styles = {row.status: row.style for row in rows}
    if pending:
        counts["pending"] = pending
    yield '<ul class="totals">'
    for status, count in counts.most_common():
        text = f"<span><b>{count:,}</b> {escape(status)}</span>"
        yield f'<li class="{styles.get(status, "other")}">{text}</li>'
    yield "</ul>"


def _durations(rows: Sequence[Row]) -> Iterator[str]:
    table = ""
    of_rows = {"in the queue": [row.queued for row in rows], "running": [row.ran for row in rows]}
    for label, durations in of_rows.items():
        if seconds := sorted(each for each in durations if each is not None):
            p95 = seconds[int(len(seconds) * 0.95)]
            cells = (statistics.median(seconds), p95, seconds[-1], sum(seconds))
            shown = "".join(f"<td>{format_duration(cell)}</td>" for cell in cells)
            table += f'<tr><th scope="row">{label}</th>{shown}</tr>\n'
    if table:
        heads = _heads("median", "95 %", "longest", "sum")
        yield "<h2>Durations</h2>"
        yield f"<table><thead><tr><td></td>{heads}</tr></thead><tbody>"
        yield f"{table}</tbody></table>"


def _heads(*names: str) -> str:
    return "".join(f'<th scope="col">{name}</th>' for name in names)


def _failures(failures: Sequence[Row]) -> Iterator[str]:
    if not failures:
        return
    yield f"<h2>Failures ({len(failures):,})</h2>"
    yield f"<table><thead><tr>{_heads('job', 'status', 'reason')}</tr></thead><tbody>"
    # A cancelled job says less than a failed one.
    for row in sorted(failures, key=lambda row: row.status == "cancelled")[:_MAX_FAILURES]:
        reason = escape(last_line(row.failure))
        if "\n" in row.failure or len(row.failure) > len(shorten(row.failure)):
            text = escape(row.failure)
            reason = f"<details><summary>{reason}</summary><pre>{text}</pre></details>"
        yield f'<tr><th scope="row" class="job">{escape(row.job_id)}</th>'
        yield f'<td class="status {row.style}">{escape(row.status)}</td><td>{reason}</td></tr>'
    yield "</tbody></table>"
    if len(failures) > _MAX_FAILURES:
        yield f"<p>and {len(failures) - _MAX_FAILURES:,} more</p>"


def _pending(job_ids: Collection[str]) -> Iterator[str]:
    if job_ids:
        shown = "\n".join(escape(printable(job_id)) for job_id in job_ids)
        yield f"<h2>Still pending ({len(job_ids):,})</h2>"
        yield f"<details><summary>ids</summary><pre>{shown}</pre></details>"


@attrs.frozen
class _Axis:
    """Converts times to horizontal positions."""

    start: datetime
    length: float
    left: float

    def position(self, time: datetime) -> float:
        return self.position_after((time - self.start).total_seconds())

    def position_after(self, seconds: float) -> float:
        share = seconds / self.length
        return self.left + min(max(share, 0.0), 1.0) * (_WIDTH - self.left)


def _chart(rows: Sequence[Row], now: datetime) -> Iterator[str]:
    """A bar for each job, in the order in which they were created."""
    timed = [row for row in rows if row.created_at is not None]
    if not timed:
        return
    shown = sorted(timed, key=lambda row: -(row.queued or 0.0) - (row.ran or 0.0))[:_MAX_ROWS]
    shown.sort(key=lambda row: (row.created_at or now, row.started_at or now, row.job_id))
    row_height = min(_MAX_ROW_HEIGHT, _MAX_HEIGHT / len(shown))
    start = min(row.created_at or now for row in shown)
    length = (max(row.completed_at or now for row in shown) - start).total_seconds()
    left = _LABEL_WIDTH if row_height >= _MIN_LABELLED_ROW_HEIGHT else 0.0
    axis = _Axis(start, max(length, 0.001), left)
    height = _TOP + row_height * len(shown) + 4
    yield "<h2>Timeline</h2><figure><figcaption>"
    yield from _legend(shown, len(rows))
    yield f'</figcaption><svg viewBox="0 0 {_WIDTH:g} {height:g}" role="img" '
    yield f'aria-label="queue and run times of {len(shown):,} jobs">'
    yield from _ticks(axis, height)
    for number, row in enumerate(shown):
        yield from _bar(row, axis, _TOP + row_height * number, row_height, now)
    yield "</svg></figure>"


def _legend(shown: Sequence[Row], total: int) -> Iterator[str]:
    texts = {"queued": "queued"} | {style: f"ran, {style}" for style in _STATUS_CLASSES}
    texts["other"] = "end not seen"
    styles = {"queued"} | {row.style for row in shown}
    for style, text in texts.items():
        if style in styles:
            yield f'<i><span class="{style}">&#9632;</span> {text}</i>'
    if len(shown) < total:
        yield f"<i>{len(shown):,} of {total:,} jobs are shown: the longest ones with times</i>"


def _ticks(axis: _Axis, height: float) -> Iterator[str]:
    """Lines at round times after the start."""
    step = next((step for step in _TICK_STEPS if axis.length / step <= _MAX_TICKS), axis.length)
    for number in range(int(axis.length / step) + 1):
        x = axis.position_after(step * number)
        anchor = "middle" if number and x < _WIDTH - 30 else "end" if number else "start"
        label = format_duration(step * number).removesuffix(" 0 s").removesuffix(" 0 min")
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="16" y2="{height:g}"/>'
        yield f'<text x="{x:.1f}" y="11" text-anchor="{anchor}">{label if number else 0}</text>'


def _bar(row: Row, axis: _Axis, top: float, row_height: float, now: datetime) -> Iterator[str]:
    height = row_height * 0.8
    end = row.completed_at or now
    created = axis.position(row.created_at or now)
    started = axis.position(row.started_at or end)
    ended = axis.position(end)
    yield f"<g><title>{escape(row.job_id)}: {escape(_tooltip(row))}</title>"
    if axis.left:
        label = escape(row.job_id if len(row.job_id) <= 20 else f"{row.job_id[:19]}…")
        yield f'<text x="0" y="{top + row_height * 0.75:.2f}">{label}</text>'
    yield f'<path class="queued" d="{_box(created, started, top, height)}"/>'
    if row.started_at is not None:
        yield f'<path class="run {row.style}" d="{_box(started, ended, top, height)}"/>'
    mark = max(ended - _END_MARK, axis.left)  # visible however short the run was
    yield f'<path class="{row.style}" d="{_box(mark, mark + _END_MARK, top, height)}"/></g>'


def _box(left: float, right: float, top: float, height: float) -> str:
    return f"M{left:.1f} {top:.2f}H{max(left, right):.1f}v{height:.2f}H{left:.1f}z"


def _tooltip(row: Row) -> str:
    parts = [row.status]
    parts += [f"queued {format_duration(row.queued)}"] if row.queued is not None else []
    parts += [f"ran {format_duration(row.ran)}"] if row.ran is not None else []
    parts += [last_line(row.failure)[:200]] if row.failure not in {"", row.status} else []
    return ", ".join(parts)


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else max((end - start).total_seconds(), 0.0)
