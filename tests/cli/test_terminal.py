"""Progress on standard error: a live view at terminals, lines elsewhere."""

import io
import json
import logging
import re
import resource
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from helpers.cli_in_process import Command, TerminalCommand
from sieve_async.cli.output import Printer
from sieve_async.cli.parser import parse
from sieve_async.cli.progress import LINE_INTERVAL, Lines, WatchStats, is_live, log_to
from sieve_async.cli.watch import WatchRun
from sieve_async.client import SieveClient
from sieve_async.testing import FakeSieve

COLOUR = re.compile(r"\x1b\[3\dm")


def lines_of(shown: str) -> list[str]:
    """What was shown, line by line, without colours and movements."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))


@pytest.mark.programs
@pytest.mark.parametrize(
    ("size", "settings"), [((80, 24), {}), ((80, 24), {"NO_COLOR": "1"}), ((30, 10), {})], ids=str
)
async def test_live_view(
    at_terminal: TerminalCommand, sieve: FakeSieve, size: tuple[int, int], settings: dict[str, Any]
) -> None:
    """At a terminal of any width a view is redrawn in place, and removed at the end."""
    sieve.add_job("soon", processing=1, by="polls")
    sieve.add_job("late", processing=4, by="polls")
    ended, shown = await at_terminal("watch", "soon", "late", size=size, **settings)
    first, *frames, last, _ = lines_of(shown)
    assert ended.exit_code == 0
    assert "1 of 2 ended" in shown
    assert max(map(len, frames)) < size[0]
    assert ("slowest" in shown) is (size[0] >= 40)
    assert bool(COLOUR.search(shown)) is (size[0] >= 40 and not settings)
    assert "\x1b[J" in shown
    assert first.startswith("watching 2 jobs")
    assert last.startswith("2 of 2 jobs ended in")


@pytest.mark.programs
async def test_live_view_of_many(at_terminal: TerminalCommand, sieve: FakeSieve) -> None:
    """Many jobs are counted, with their rate, and the view fits on the screen."""
    ids = sieve.add_jobs(100, seed=1, queued=1, processing=0.3)
    line = ("watch", *ids, "--strategy", "list", "--format", "jsonl")
    ended, shown = await at_terminal(*line, size=(80, 24))
    assert ended.exit_code == 1
    assert len([json.loads(line) for line in ended.stdout.splitlines()]) == 100
    assert " of 100 ended" in shown
    assert "/s, about" in shown
    rows = [int(rows) for rows in re.findall(r"\x1b\[(\d+)A", shown)]
    assert 0 < max(rows) < 24


def test_too_many_to_search() -> None:
    """Among very many pending jobs the slowest ones are not searched for each frame."""
    stats = WatchStats(lambda: 0.0, map(str, range(5001)))
    stats.watch = Mock()
    assert stats.slowest(5) == []
    assert not stats.watch.pending.called


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "CI": "0"}, True),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_is_live(settings: dict[str, str], *, expected: bool) -> None:
    """CI and TERM=dumb remove the live view; a pipe has none, whatever the environment says."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert is_live(Terminal(), settings) is expected
    assert not is_live(io.StringIO(), settings)


@pytest.mark.programs
@pytest.mark.parametrize("ci", ["", "true"])
async def test_shared_terminal(at_terminal: TerminalCommand, sieve: FakeSieve, ci: str) -> None:
    """Where results and progress share a terminal, each result is shown once, above the view."""
    sieve.add_job("bad", status="error", error="a\nb: c\x1b[31m")
    sieve.add_job("late", processing=3, by="polls")
    _, shown = await at_terminal("watch", "bad", "late", size=(100, 24), shared=True, CI=ci)
    results = [line.split()[0] for line in lines_of(shown) if re.match("bad|late  fini", line)]
    assert results == ["bad", "late"]
    assert shown.count("b: c") == 1
    assert "b: c\x1b[31m" not in shown
    assert ("1 of 2 ended" in shown.split("b: c")[1]) is (ci == "")


@pytest.mark.looptime
async def test_lines(sieve: FakeSieve, client: SieveClient) -> None:
    """In a log there is a line every thirty seconds."""
    sieve.add_job("first", processing=40)
    sieve.add_job("second", processing=100)
    stream = io.StringIO()
    ids = ("first", "second")
    code = await WatchRun(
        client, parse(["watch", *ids]), ids, Printer("quiet"), Lines(stream)
    ).run()
    first, *lines, last = [line.split("  ", 1)[1] for line in stream.getvalue().splitlines()]
    assert (code, LINE_INTERVAL) == (0, 30)
    assert first == "watching 2 jobs (strategy: poll)"
    assert lines == ["0 of 2 ended: 2 processing", *["1 of 2 ended: 1 finished, 1 processing"] * 2]
    assert re.fullmatch(r"2 of 2 jobs ended in 1 min \d+ s: 2 finished", last)


@pytest.mark.parametrize("is_debugging", [True, False])
def test_log(*, is_debugging: bool) -> None:
    """Warnings of the library are lines; with ``--debug`` everything it logs is."""
    stream = io.StringIO()
    logger = logging.getLogger("sieve_async")
    before = logger.handlers[:], logger.level
    with log_to(Lines(stream), is_debugging=is_debugging):
        logger.warning("polls fail\nat %s", "once")
        logger.debug("details")
    expected = "sieve-async: polls fail at once\n" + "sieve-async: details\n" * is_debugging
    assert stream.getvalue() == expected
    assert (logger.handlers, logger.level) == before


@pytest.mark.parametrize("settings", [{"SIEVE_LOG": "debug"}, {}], ids=["SIEVE_LOG", "--debug"])
async def test_log_lines_once(sieve: FakeSieve, command: Command, settings: dict[str, Any]) -> None:
    """A line for each request, whichever way the log was switched on."""
    sieve.add_job("a")
    ended = await command(*["--debug"] * (not settings), "job", "get", "a", **settings)
    assert ended.exit_code == 0
    assert ended.stderr.count("GET /v2/jobs/a") == 1


def test_disk_that_was_full(tmp_path: Path) -> None:
    """Only the lines that cannot be written are lost, not those after them."""
    path = tmp_path / "log"
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("w", encoding="utf-8") as log:
        lines = Lines(log)
        lines.write_line("before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, most))
        try:
            lines.write_line("lost")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
        lines.write_line("after")

    assert path.read_text("utf-8") == "before\nafter\n"
