"""The HTML report: its content with a few and with thousands of jobs, and where it is written."""

import asyncio
import os
import re
import stat
import threading
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
import pytest

from helpers.cli_in_process import Command
from helpers.cli_runner import run_shell, wait_until_requested
from sieve_async import Job, JobOutcome, JobStatus, NotFoundError, WaitTimeoutError
from sieve_async.cli.report import Report
from sieve_async.testing import FakeSieve

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVIL = "</pre><script>alert(1)</script>\x1b[31m\x00 & \"'"
_VOID = {"meta", "link"}


class Page(HTMLParser):
    """The elements of a page, which must be nested properly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.headings: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a tag."""
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Record a heading."""
        if self._open and self._open[-1] in {"h1", "h2"}:
            self.headings.append(f"{self._open[-1]} {data}")


def job(name: str, status: str, *, queued: float = 60, ran: float = 600, error: str = "") -> Job:
    """A job that was created at noon."""
    started = NOON + timedelta(seconds=queued)
    one = Job(name, JobStatus(status), created_at=NOON, started_at=started, error=error)
    return attrs.evolve(one, completed_at=started + timedelta(seconds=ran))


def page_of(*outcomes: JobOutcome, pending: tuple[str, ...] = ()) -> str:
    """The page of these outcomes."""
    report = Report(NOON)
    for outcome in outcomes:
        report.add(outcome)
    return report.page(NOON + timedelta(hours=1), pending=pending)


def chart_of(page: str) -> ET.Element:
    """The chart, which must be well formed."""
    (svg,) = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    return ET.fromstring(svg)  # noqa: S314 - our own


async def test_page(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """The page shows the totals, a bar for each job, and the failures with their error text."""
    ids = sieve.add_jobs(20, seed=1, queued=0.3, processing=0.3)
    path = tmp_path / "batch.html"
    ended = await command("watch", *ids, "gone", "--report", str(path), "--format", "quiet")
    text = path.read_text("utf-8")
    page = Page(text)
    assert ended.exit_code == 5
    assert page.headings == ["h1 21 Sieve jobs", "h2 Durations", "h2 Timeline", "h2 Failures (5)"]
    assert {"main", "table", "thead", "tbody", "th", "figure", "figcaption"} <= set(page.tags)
    assert re.findall(r"<b>(\d+)</b> (\w+)</span></li>", text)[0] == ("16", "finished")
    assert {"error", "cancelled", "NotFoundError"} <= set(re.findall(r"</b> (\w+)<", text))
    assert len(chart_of(text).findall("g")) == 20
    assert text.count("ValueError: scripted to fail") >= 2
    assert "Traceback" in text
    assert os.listdir(tmp_path) == ["batch.html"]  # noqa: PTH208 - at once


def test_nothing_from_elsewhere() -> None:
    """Whatever a server says, the page runs nothing and loads nothing."""
    evil = Job(EVIL, JobStatus("error"), created_at=NOON, error=f"first\n{EVIL}")
    text = page_of(JobOutcome(EVIL, evil), pending=(EVIL,))
    page = Page(text)
    assert {"script", "img", "iframe", "a", "object"}.isdisjoint(page.tags)
    assert {"src", "onload", "style"}.isdisjoint(page.attributes)
    assert re.findall(r'href="([^"]*)"', text) == ["data:,"]
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|url\(|@import", text)
    chart_of(text)


def test_bars() -> None:
    """A bar goes from the creation over the start to the end, which has the status's colour."""
    page = page_of(JobOutcome("a", job("a", "error", queued=600, ran=600, error="no")))
    chart = chart_of(page)
    assert "are shown" not in page
    assert Page(page_of()).headings == ["h1 0 Sieve jobs"]
    bar = chart.findall("g")[0]
    queued, run, end = bar.findall("path")
    assert bar.findtext("title") == "a: error, queued 10 min 0 s, ran 10 min 0 s, no"
    assert [path.get("class") for path in (queued, run, end)] == ["queued", "run error", "error"]
    assert [re.findall(r"[MH]([\d.]+)", path.get("d", ""))[:2] for path in (queued, run)] == [
        ["130.0", "565.0"],
        ["565.0", "1000.0"],
    ]


def test_jobs_without_end() -> None:
    """Jobs whose end was not seen have bars up to now; unknown ones are only counted."""
    running = Job("a", JobStatus.PROCESSING, created_at=NOON, started_at=NOON)
    late = WaitTimeoutError("a", running, 3, 60.0)
    page = page_of(
        JobOutcome("a", None, late),
        JobOutcome("b", None, NotFoundError(404, path="/v2/jobs/b")),
        pending=("c",),
    )
    assert len(chart_of(page).findall("g")) == 1
    assert "end not seen" in page
    assert "3 Sieve jobs" in page
    assert "Still pending (1)" in page


def test_times_far_apart() -> None:
    """The first and the last day of the calendar fit on the axis."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    endless = Job("a", JobStatus.FINISHED, created_at=NOON, completed_at=last)

    for one in (endless, attrs.evolve(endless, created_at=first, started_at=NOON)):
        assert len(chart_of(page_of(JobOutcome("a", one))).findall("g")) == 1


def test_error_of_another_shape() -> None:
    """An error that is no text stands there as well."""
    odd = Job.from_dict({"id": "a", "status": "error", "error": ["no space"]})

    assert "[&#x27;no space&#x27;]" in page_of(JobOutcome("a", odd))


def test_thousands() -> None:
    """The chart of thousands stays one or two screens high, and the page small enough to open."""
    count = 6000
    statuses = ("finished", "finished", "error", "cancelled")
    outcomes = [
        JobOutcome(
            f"job-{n}", job(f"job-{n}", statuses[n % 4], ran=n + 1.0, error="x\ny" * (n % 4 == 2))
        )
        for n in range(count)
    ]
    page = page_of(*outcomes)
    chart = chart_of(page)
    width, height = map(float, chart.get("viewBox", "").split()[2:])
    assert len(chart.findall("g")) == 5000
    assert height < 2 * width
    assert len(page) < 500 * count
    assert "6,000 Sieve jobs" in page
    assert "5,000 of 6,000 jobs are shown" in page
    assert "and 2,000 more" in page


def mode_of(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_modes(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """A new report has the mode that the umask gives it, an existing one keeps its own."""
    sieve.add_job("a")
    old = tmp_path / "old.html"
    old.write_text("before", "utf-8")
    old.chmod(0o640)
    before = os.umask(0o077)
    for name in ("new.html", "old.html"):
        await command("watch", "a", "--report", str(tmp_path / name))
    os.umask(before)
    assert (mode_of(tmp_path / "new.html"), mode_of(old)) == (0o600, 0o640)
    assert old.read_text("utf-8").startswith("<!DOCTYPE")


@pytest.mark.programs
@pytest.mark.parametrize(
    ("target", "redirection", "kept"), [("/dev/stdout", ">>", 1), ("/proc/self/fd/1", ">", 0)]
)
async def test_own_output(
    sieve: FakeSieve, tmp_path: Path, target: str, redirection: str, kept: int
) -> None:
    """A report to standard output follows the results and overwrites nothing."""
    sieve.add_job("a")
    path = tmp_path / "both"
    path.write_text("before\n", "utf-8")
    await run_shell(sieve, f"sieve-async watch a --report {target} {redirection} {path}")
    lines = path.read_text("utf-8").splitlines()
    assert lines[:kept] == ["before"] * kept
    assert lines[kept].startswith("a  finished")
    assert (lines[kept + 1], lines[-1]) == ("<!DOCTYPE html>", "</html>")


async def test_links(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """Links stay links: their targets are written, also where they do not exist yet."""
    sieve.add_job("a")
    (tmp_path / "hard").write_text("before", "utf-8")
    os.link(tmp_path / "hard", tmp_path / "twin")
    for name, target in (("soft", "twin"), ("dangling", "new")):
        (tmp_path / name).symlink_to(target)
    for name in ("soft", "dangling"):
        await command("watch", "a", "--report", str(tmp_path / name))
    assert (tmp_path / "soft").is_symlink()
    assert (tmp_path / "dangling").is_symlink()
    for name in ("hard", "new"):
        assert (tmp_path / name).read_text("utf-8").startswith("<!DOCTYPE")


async def test_devices(command: Command, sieve: FakeSieve) -> None:
    """A device is written to and stays a device; what it refuses is one line and 6."""
    sieve.add_job("a")
    good = await command("watch", "a", "--report", "/dev/null")
    full = await command("watch", "a", "--report", "/dev/full", "--no-progress")
    assert good.exit_code == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116
    assert (full.exit_code, full.stderr.count("\n")) == (6, 1)
    assert full.stdout.startswith("a  finished")


async def test_fifo(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """A fifo gets the page as soon as it has a reader."""
    sieve.add_job("a")
    path = tmp_path / "fifo"
    os.mkfifo(path)
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.append(path.read_text("utf-8")))
    reader.start()
    ended = await command("watch", "a", "--report", str(path))
    reader.join()
    assert ended.exit_code == 0
    assert texts[0].endswith("</html>\n")
    assert path.is_fifo()


async def test_checked_at_the_start(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """Where no report can be written, nothing is sent."""
    (tmp_path / "file").touch()
    for target in ("", "missing/batch.html", "file/batch.html", "x" * 300):
        ended = await command("watch", "a", "--report", str(tmp_path / target))
        assert ended.exit_code == 2
        assert "argument --report: cannot write" in ended.stderr
    assert not sieve.requests


async def test_check_leaves_nothing(command: Command, sieve: FakeSieve, tmp_path: Path) -> None:
    """The check at the start neither creates nor changes a file."""
    old = tmp_path / "old.html"
    old.write_text("before", "utf-8")
    for name in ("old.html", "new.html"):
        sieve.add_job(name, status=None)
        line = ("watch", name, "--report", str(tmp_path / name))
        running = asyncio.ensure_future(command(*line))
        await wait_until_requested(sieve, f"/v2/jobs/{name}")
        assert os.listdir(tmp_path) == ["old.html"]  # noqa: PTH208 - at once
        assert (old.read_text("utf-8") == "before") == (name == "old.html")
        running.cancel()
        await running
