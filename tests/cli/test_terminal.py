"""Progress on standard error: a live view at terminals, lines elsewhere."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from helpers.cli_in_process import Command, TerminalCommand
from helpers.cli_runner import run_command
from sieve_async.cli.output import Printer
from sieve_async.cli.parser import parse
from sieve_async.cli.progress import LINE_INTERVAL, Lines, is_live, log_to
from sieve_async.cli.watch import WatchRun
from sieve_async.client import SieveClient
from sieve_async.testing import FakeSieve

SIZES = [(80, 24), (200, 50), (30, 10)]
ESCAPE = "\x1b["


def lines_of(shown: str) -> list[str]:
    """What was shown, line by line, without colours and movements."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_live_view(
    at_terminal: TerminalCommand, sieve: FakeSieve, size: tuple[int, int]
) -> None:
    """At a terminal of any width a view is redrawn in place, and removed at the end."""
    sieve.add_job("soon", processing=2, by="polls")
    sieve.add_job("late", processing=4, by="polls")

    ended, shown = await at_terminal("watch", "soon", "late", size=size)

    frames = [line for line in lines_of(shown) if "jobs" not in line]
    assert ended.exit_code == 0
    assert "1 of 2 ended" in shown
    assert max(map(len, frames)) < size[0]
    is_wide = size[0] >= 40
    assert ("slowest" in shown) is is_wide
    assert (f"{ESCAPE}3" in shown) is is_wide
    first, last = lines_of(shown)[0], lines_of(shown)[-2]
    assert first.startswith("watching 2 jobs")
    assert last.startswith("2 of 2 jobs ended in")


async def test_live_view_of_hundreds(at_terminal: TerminalCommand, sieve: FakeSieve) -> None:
    """Hundreds of jobs are counted, with their rate, and the view fits on the screen."""
    ids = sieve.add_jobs(300, seed=1, queued=1, processing=0.5)

    ended, shown = await at_terminal(
        "watch", *ids, "--strategy", "list", "--format", "jsonl", size=(80, 24)
    )

    assert ended.exit_code == 1
    assert len([json.loads(line) for line in ended.stdout.splitlines()]) == 300
    assert " of 300 ended" in shown
    assert "/s, about" in shown
    rows = [int(rows) for rows in re.findall(r"\x1b\[(\d+)A", shown)]
    assert 0 < max(rows) < 24


@pytest.mark.parametrize(
    ("variable", "value"), [("NO_COLOR", "1"), ("CI", "true"), ("TERM", "dumb")]
)
async def test_environment(
    at_terminal: TerminalCommand, sieve: FakeSieve, variable: str, value: str
) -> None:
    """NO_COLOR removes the colours; CI and TERM=dumb the live view, too."""
    sieve.add_job("a", processing=3, by="polls")

    settings: dict[str, Any] = {variable: value}

    _, shown = await at_terminal("watch", "a", size=(80, 24), **settings)

    assert not re.search(r"\x1b\[[0-9;]*[34]\dm", shown)
    assert (f"{ESCAPE}J" in shown) is (variable == "NO_COLOR")


async def test_no_progress(at_terminal: TerminalCommand, sieve: FakeSieve) -> None:
    """``--no-progress`` shows nothing at all."""
    sieve.add_job("a", processing=3, by="polls", status="error")

    ended, shown = await at_terminal("watch", "a", "--no-progress", size=(80, 24))

    assert (ended.exit_code, shown) == (1, "")


def test_pipes_are_not_live() -> None:
    """A pipe has no live view, whatever the environment says."""
    assert not is_live(io.StringIO(), {"TERM": "xterm"})


@pytest.mark.parametrize("ci", ["", "true"])
async def test_failure_at_a_terminal(
    at_terminal: TerminalCommand, sieve: FakeSieve, ci: str
) -> None:
    """Where results and progress share a terminal, a failure is shown once."""
    sieve.add_job("bad", status="error", error="a\nb: c\x1b[31m")

    _, shown = await at_terminal("watch", "bad", size=(80, 24), shared=True, CI=ci)

    assert shown.count("b: c") == 1
    assert "\x1b[31m" not in shown


async def test_failure_in_pipes(sieve: FakeSieve) -> None:
    """Two pipes may end in one log: a failure is printed with the results only."""
    sieve.add_job("bad", status="error", error="b: c")

    ended = await run_command(sieve, "watch", "bad")

    assert (ended.stdout.count("b: c"), ended.stderr.count("b: c")) == (1, 0)


async def test_results_at_a_terminal(at_terminal: TerminalCommand, sieve: FakeSieve) -> None:
    """Where results and progress share a terminal, each result has a line above the view."""
    sieve.add_job("soon", processing=2, by="polls")
    sieve.add_job("late", processing=4, by="polls")

    _, shown = await at_terminal("watch", "soon", "late", size=(100, 24), shared=True)

    results = [line for line in lines_of(shown) if "finished   " in line]
    assert [line.split()[0] for line in results] == ["soon", "late"]
    assert "1 of 2 ended" in shown.split("soon  finished", 1)[1]


@pytest.fixture
def watching(client: SieveClient) -> Callable[..., asyncio.Task[int]]:
    """Starts a watch in this event loop, where an hour may pass in no time."""

    def start(stream: io.StringIO, *ids: str) -> asyncio.Task[int]:
        options = parse(["watch", *ids])
        watch = WatchRun(client, options, ids, Printer("quiet"), Lines(stream))
        return asyncio.create_task(watch.run())

    return start


@pytest.mark.looptime
async def test_lines(sieve: FakeSieve, watching: Callable[..., asyncio.Task[int]]) -> None:
    """In a log there is a line every thirty seconds."""
    sieve.add_job("first", processing=40)
    sieve.add_job("second", processing=100)
    stream = io.StringIO()

    code = await watching(stream, "first", "second")

    first, *lines, last = [line.split("  ", 1)[1] for line in stream.getvalue().splitlines()]
    assert code == 0
    assert LINE_INTERVAL == 30
    assert first == "watching 2 jobs (strategy: poll)"
    assert lines == [
        "0 of 2 ended: 2 processing",
        "1 of 2 ended: 1 finished, 1 processing",
        "1 of 2 ended: 1 finished, 1 processing",
    ]
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
