"""The page of ``watch --report``: what became of a batch, for opening in a browser."""

import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import attrs

from sieve_async.cli.lines import duration, note_of_outcome, word_of
from sieve_async.cli.page import PAGE, STYLE
from sieve_async.cli.picture import COLOURS, Span, picture
from sieve_async.messages import printable
from sieve_async.models import Job
from sieve_async.watching import JobOutcome

# More failures than this nobody reads, and no more text of one than this.
_MOST_FAILURES = 1000
_LONGEST_ERROR = 20_000


@attrs.define
class Report:
    """Gathers what a page needs of each outcome, which is little: outputs are not kept.

    Attributes:
        began_at: When the watch began.
    """

    began_at: datetime
    _spans: list[Span] = attrs.field(factory=list, init=False)

    def add(self, outcome: JobOutcome) -> None:
        """Take note of an outcome."""
        job = outcome.job or _last_of(outcome)
        self._spans.append(
            Span(
                printable(outcome.job_id),
                word_of(outcome),
                None if job is None else job.created_at,
                None if job is None else job.started_at,
                None if job is None else job.completed_at,
                _trouble(outcome),
            )
        )

    def write(self, path: Path, *, pending: Collection[str]) -> None:
        """Write the page, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        page = self.page(datetime.now(UTC), pending=pending)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.resolve().parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(page)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise

    def page(self, now: datetime, *, pending: Collection[str]) -> str:
        """The page as it is now."""
        failures = [span for span in self._spans if span.trouble]
        failures.sort(key=lambda span: span.word == "cancelled")  # of those there is less to say
        total = len(self._spans) + len(pending)
        return PAGE.format(
            style=STYLE,
            title=f"{total:,} job{'s'[: total != 1]} of Sieve",
            when=f"{self.began_at:%Y-%m-%d %H:%M:%S} to {now:%Y-%m-%d %H:%M:%S} UTC",
            totals="".join(_totals(self._spans, len(pending))),
            times="".join(_times(self._spans)),
            picture=picture(self._spans, now),
            failures="".join(_failures(failures)),
            running="".join(_running(pending)),
        )


def _last_of(outcome: JobOutcome) -> Job | None:
    last = getattr(outcome.error, "last", None)
    return last if isinstance(last, Job) else None


def _trouble(outcome: JobOutcome) -> str:
    """The whole error text; empty when there is nothing to tell."""
    if outcome.ok:
        return ""
    if outcome.job is not None:
        return printable((outcome.job.error or "")[:_LONGEST_ERROR]) or word_of(outcome)
    return note_of_outcome(outcome)


def _totals(spans: Sequence[Span], pending: int) -> Iterator[str]:
    counts = Counter(span.word for span in spans)
    if pending:
        counts["running"] = pending
    for word, count in counts.most_common():
        kind = COLOURS.get(word, "other")
        yield f'<li class="{kind}"><b>{count:,}</b> {escape(word)}</li>'


def _times(spans: Sequence[Span]) -> Iterator[str]:
    for label, lengths in (
        ("in the queue", [length for span in spans if (length := span.queue_duration) is not None]),
        ("running", [length for span in spans if (length := span.run_duration) is not None]),
    ):
        if lengths:
            ordered = sorted(lengths)
            cells = (
                statistics.median(ordered),
                ordered[int(len(ordered) * 0.95)],
                ordered[-1],
                sum(ordered),
            )
            shown = "".join(f"<td>{duration(cell)}</td>" for cell in cells)
            yield f"<tr><th>{label}</th>{shown}</tr>"


def _failures(failures: Sequence[Span]) -> Iterator[str]:
    if not failures:
        return
    yield f"<h2>What went wrong ({len(failures):,})</h2>"
    for span in failures[:_MOST_FAILURES]:
        kind = COLOURS.get(span.word, "other")
        lines = span.trouble.strip().splitlines() or [span.word]
        head = (
            f'<code>{escape(span.job_id)}</code> <span class="{kind}">{escape(span.word)}</span> '
            f"{escape(lines[-1][:300])}"
        )
        if len(lines) == 1 and len(lines[0]) <= 300:
            yield f"<p>{head}</p>"
        else:
            text = escape("\n".join(lines))
            yield f"<details><summary>{head}</summary><pre>{text}</pre></details>"
    if len(failures) > _MOST_FAILURES:
        yield f"<p>and {len(failures) - _MOST_FAILURES:,} more</p>"


def _running(pending: Collection[str]) -> Iterator[str]:
    if pending:
        yield f"<h2>Still running ({len(pending):,})</h2><details><summary>ids</summary><pre>"
        yield "\n".join(escape(printable(job_id)) for job_id in pending)
        yield "</pre></details>"
