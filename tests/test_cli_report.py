"""The page of ``watch --report``: one file, readable with thousands of jobs, and safe to open."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from helpers.cli_runner import run_command
from sieve_async import Job, JobOutcome, JobStatus, NotFoundError, WaitTimeoutError
from sieve_async.cli.report import Report
from sieve_async.testing import FakeSieve

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVIL = "</pre><script>alert(1)</script>\x1b[31m\x00 & \"'"


class Tags(HTMLParser):
    """The tags and the attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def job(name: str, status: str, *, queued: float = 60, ran: float = 600, error: str = "") -> Job:
    """A job that was created at noon."""
    started = NOON + timedelta(seconds=queued)
    return Job(
        name,
        JobStatus(status),
        created_at=NOON,
        started_at=started,
        completed_at=started + timedelta(seconds=ran),
        error=error,
    )


def page_of(*outcomes: JobOutcome, pending: tuple[str, ...] = ()) -> str:
    """The page of these outcomes."""
    report = Report(NOON)
    for outcome in outcomes:
        report.add(outcome)
    return report.page(NOON + timedelta(hours=1), pending=pending)


def names_in(folder: Path) -> list[str]:
    """What a folder holds."""
    return [path.name for path in folder.iterdir()]


def svg_of(page: str) -> ET.Element:
    """The picture, which must be well formed."""
    (svg,) = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    return ET.fromstring(svg)  # noqa: S314 - our own


async def test_page(sieve: FakeSieve, tmp_path: Path) -> None:
    """The page shows the totals, a row for each job, and the failures with their error text."""
    ids = sieve.add_jobs(20, seed=1, queued=0.3, processing=0.3)
    path = tmp_path / "batch.html"

    ended = await run_command(sieve, "watch", *ids, "gone", "--report", str(path), "-o", "quiet")

    page = path.read_text("utf-8")
    assert ended.exit_code == 5
    assert "21 jobs of Sieve" in page
    assert re.findall(r"<b>(\d+)</b> (\S+)</li>", page)[0] == ("16", "finished")
    assert {"error", "cancelled", "not-found"} <= set(re.findall(r"</b> (\S+)</li>", page))
    assert len(svg_of(page).findall("g")) == 20
    assert page.count("ValueError: scripted to fail") >= 2
    assert "Traceback" in page
    assert names_in(tmp_path) == ["batch.html"]


def test_nothing_from_elsewhere() -> None:
    """Whatever a server says, the page has no scripts, no links and nothing to load."""
    evil = Job(EVIL, JobStatus("error"), created_at=NOON, error=f"first\n{EVIL}")

    page = page_of(JobOutcome(EVIL, evil), pending=(EVIL,))

    found = Tags(page)
    assert {"script", "link", "img", "iframe", "a", "object"}.isdisjoint(found.tags)
    assert {"src", "href", "onload", "style"}.isdisjoint(found.attributes)
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|url\(|@import", page)
    svg_of(page)


def test_spans() -> None:
    """A row goes from the creation over the start to the end, which has the colour of its kind."""
    svg = svg_of(page_of(JobOutcome("a", job("a", "error", queued=600, ran=600, error="no"))))

    row = svg.findall("g")[0]
    queued, run, end = row.findall("path")
    assert row.findtext("title") == "a: error, queued 10 min 0 s, ran 10 min 0 s, no"
    assert [path.get("class") for path in (queued, run, end)] == ["queued", "run error", "error"]
    assert [re.findall(r"[MH]([\d.]+)", path.get("d", ""))[:2] for path in (queued, run)] == [
        ["130.0", "565.0"],
        ["565.0", "1000.0"],
    ]


def test_without_ends() -> None:
    """Jobs that were not seen to their end are shown up to now, and those unknown only counted."""
    running = Job("a", JobStatus.PROCESSING, created_at=NOON, started_at=NOON)
    late = WaitTimeoutError("a", running, 3, 60.0)

    page = page_of(
        JobOutcome("a", None, late),
        JobOutcome("b", None, NotFoundError(404, path="/v2/jobs/b")),
        pending=("c",),
    )

    assert len(svg_of(page).findall("g")) == 1
    assert "not seen to its end" in page
    assert "3 jobs of Sieve" in page
    assert "Still running (1)" in page


def test_no_jobs() -> None:
    """A page about nothing has no picture."""
    page = page_of()

    assert "<svg" not in page
    assert "0 jobs of Sieve" in page


@pytest.mark.parametrize("count", [2000, 6000])
def test_thousands(count: int) -> None:
    """The picture of thousands stays one screen or two high, and the page small enough to open."""
    ends = ("finished", "finished", "error", "cancelled")
    outcomes = [
        JobOutcome(
            f"job-{n}", job(f"job-{n}", ends[n % 4], ran=n + 1.0, error="x\ny" * (n % 4 == 2))
        )
        for n in range(count)
    ]

    page = page_of(*outcomes)

    svg = svg_of(page)
    width, height = map(float, svg.get("viewBox", "").split()[2:])
    assert len(svg.findall("g")) == min(count, 5000)
    assert height < 2 * width
    assert len(page) < 500 * count
    assert f"{count:,} jobs of Sieve" in page
    assert ("are shown" in page) is (count == 6000)
    assert ("and 2,000 more" in page) is (count == 6000)


async def test_place_that_is_taken_away(sieve: FakeSieve, tmp_path: Path) -> None:
    """A page that cannot be written is one line and 6; the results are there all the same."""
    sieve.add_job("a")
    (tmp_path / "batch.html").mkdir()

    ended = await run_command(sieve, "watch", "a", "--report", str(tmp_path / "batch.html"))

    assert ended.exit_code == 6
    assert ended.stdout.startswith("a  finished")
    assert ended.stderr.startswith("sieve-async: [Errno 21] Is a directory")
    assert names_in(tmp_path) == ["batch.html"]
