"""Opens the HTML report in headless Chromium: ``python -m tests.cli.browser [DIRECTORY]``.

Fails on any message in the browser's console, and where light and dark look the same. Screenshots
are kept in the directory, if one is given.
"""

import functools
import http.server
import random
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs

from sieve_async import Job, JobOutcome, JobStatus, NotFoundError
from sieve_async.cli.report import Report

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--enable-logging=stderr", "--window-size=1200,1600"),
)
_CONSOLE = re.compile(r"CONSOLE[:(].*")
_SCHEMES = {"dark": 0, "light": 1}  # of Chromium's preferredColorScheme
_PNG = b"\x89PNG"
# A page with an error: the check itself must be able to fail.
_BROKEN_PAGE = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    "<script>document.title = 'no'</script>"
)


def report_of(count: int) -> str:
    """A report about jobs with every kind of outcome."""
    numbers = random.Random(count)
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    report = Report(now)
    for number in range(count):
        job_id = f"8e6a0f1c-8d1f-4c7b-9f38-{number:012d}"
        created = now + timedelta(seconds=numbers.expovariate(1 / 300))
        started = created + timedelta(seconds=numbers.expovariate(1 / 120))
        status = numbers.choices(("finished", "error", "cancelled", "gone"), (16, 3, 2, 1))[0]
        if status == "gone":
            error = NotFoundError(404, "Job not found.", path=f"/v2/jobs/{job_id}")
            report.add(JobOutcome(job_id, None, error))
            continue
        completed = started + timedelta(seconds=numbers.expovariate(1 / 600))
        text = 'Traceback (most recent call last):\n  File "a.py"\nValueError: <b>no</b> & no'
        error_text = text if status == "error" else None
        job = Job(job_id, JobStatus(status), created_at=created, started_at=started)
        job = attrs.evolve(job, completed_at=completed, error=error_text)
        report.add(JobOutcome(job_id, job))
    return report.page(now + timedelta(hours=2), pending=[f"job-{n}" for n in range(count // 10)])


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a directory without a word."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by its base
        """Log nothing."""


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Serve a directory on loopback, where browsers also ask for an icon."""
    handler = functools.partial(_Handler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def messages_of(url: str, screenshot: Path, scheme: str) -> list[str]:
    """Open a page, take a screenshot, and return what stands in the console."""
    with tempfile.TemporaryDirectory() as profile:
        flags = [f"--user-data-dir={profile}", f"--screenshot={screenshot}"]
        flags += [f"--blink-settings=preferredColorScheme={_SCHEMES[scheme]}"]
        command = ["chromium", *_FLAGS, *flags, url]
        ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)  # noqa: S603 - our own page
    if not screenshot.read_bytes().startswith(_PNG):
        raise SystemExit(f"{url}: no screenshot")
    return _CONSOLE.findall(ended.stderr)


def main(directory: Path) -> None:
    """Check the report with 40 and with 5,000 jobs, in light and dark."""
    (directory / "broken.html").write_text(_BROKEN_PAGE, "utf-8")
    with serving(directory) as address:
        if not messages_of(f"{address}/broken.html", directory / "broken.png", "light"):
            raise SystemExit("the console cannot be read: an error was not seen")
        for count in (40, 5000):
            path = directory / f"report-{count}.html"
            path.write_text(report_of(count), "utf-8")
            images = set()
            for scheme in _SCHEMES:
                screenshot = directory / f"report-{count}-{scheme}.png"
                for url in (path.as_uri(), f"{address}/{path.name}"):
                    if messages := messages_of(url, screenshot, scheme):
                        raise SystemExit(f"{url}: {messages}")
                images.add(screenshot.read_bytes())
            if len(images) != len(_SCHEMES):
                raise SystemExit(f"{count} jobs: light and dark look the same")
            print(f"{count} jobs: no console messages, light and dark")  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
