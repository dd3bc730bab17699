"""Progress on standard error: live at terminals, in lines elsewhere."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Callable

import pytest

from helpers.cli_runner import run_at_terminal, run_command
from sieve_async.cli.arguments import Options
from sieve_async.cli.printer import Printer
from sieve_async.cli.progress import LINE_PAUSE, Lines, is_live, noting
from sieve_async.cli.watches import Watching
from sieve_async.client import SieveClient
from sieve_async.testing import FakeSieve

SIZES = [(80, 24), (200, 50), (30, 10)]
ESCAPE = "\x1b["


def lines_of(shown: str) -> list[str]:
    """What was shown, line by line, without colours and movements."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("blocked", ["", "rich"], ids=["with rich", "without rich"])
async def test_live(sieve: FakeSieve, size: tuple[int, int], blocked: str) -> None:
    """At a terminal of any width a view of what goes on is drawn over itself, and taken away."""
    sieve.add_job("soon", processing=2, by="polls")
    sieve.add_job("late", processing=4, by="polls")

    ended, shown = await run_at_terminal(sieve, "watch", "soon", "late", size=size, blocked=blocked)

    assert ended.exit_code == 0
    assert "1 of 2 ended" in shown
    assert shown.endswith(f"{ESCAPE}J")
    assert max(map(len, lines_of(shown))) < size[0]
    is_rich = not blocked and size[0] >= 40
    assert ("slowest" in shown) is is_rich
    assert f"{ESCAPE}3" in shown if is_rich else f"{ESCAPE}3" not in shown


async def test_live_of_hundreds(sieve: FakeSieve) -> None:
    """Hundreds of jobs are counted, with their rate, and the picture fits on the screen."""
    ids = sieve.add_jobs(600, seed=1, queued=2, processing=1)

    ended, shown = await run_at_terminal(
        sieve, "watch", f"{ids[0]}", *ids[1:], "--strategy", "list", "-o", "jsonl", size=(80, 24)
    )

    assert ended.exit_code == 1
    assert len([json.loads(line) for line in ended.stdout.splitlines()]) == 600
    assert " of 600 ended" in shown
    assert "processing" in shown
    assert "/s, about" in shown
    ups = [int(rows) for rows in re.findall(r"\x1b\[(\d+)A", shown)]
    assert 0 < max(ups) < 24


@pytest.mark.parametrize(
    ("variable", "value"), [("NO_COLOR", "1"), ("CI", "true"), ("TERM", "dumb")]
)
async def test_wishes(sieve: FakeSieve, variable: str, value: str) -> None:
    """NO_COLOR takes the colours away; CI and TERM=dumb also the live view."""
    sieve.add_job("a", processing=3, by="polls")

    _, shown = await run_at_terminal(sieve, "watch", "a", size=(80, 24), **{variable: value})

    assert not re.search(r"\x1b\[[0-9;]*[34]\dm", shown)
    assert (f"{ESCAPE}J" in shown) is (variable == "NO_COLOR")


async def test_no_progress(sieve: FakeSieve) -> None:
    """``--no-progress`` shows nothing at all."""
    sieve.add_job("a", processing=3, by="polls", status="error")

    ended, shown = await run_at_terminal(sieve, "watch", "a", "--no-progress", size=(80, 24))

    assert (ended.exit_code, shown) == (1, "")


def test_where_it_is_live() -> None:
    """A pipe is never live, whatever the environment says."""
    assert not is_live(io.StringIO(), {"TERM": "xterm"})


async def test_failures_in_pipes(sieve: FakeSieve) -> None:
    """Away from a terminal each failure is told in one line, without any movement."""
    sieve.add_job("bad", status="error", error="a\nb: c\x1b[31m")

    ended = await run_command(sieve, "watch", "bad", "gone", "-o", "jsonl")

    assert sorted(line.split()[0] for line in ended.stderr.splitlines()) == ["bad", "gone"]
    assert "\x1b" not in ended.stderr


@pytest.fixture
def watching(client: SieveClient) -> Callable[..., asyncio.Task[int]]:
    """Starts a watch in this very loop, where an hour may pass in no time."""

    def begin(stream: io.StringIO, *ids: str) -> asyncio.Task[int]:
        options = Options(command="watch", job_ids=list(ids))
        watch = Watching(options, ids, "poll", Printer("quiet"), Lines(stream))
        return asyncio.create_task(watch.run(client))

    return begin


@pytest.mark.looptime
async def test_lines(sieve: FakeSieve, watching: Callable[..., asyncio.Task[int]]) -> None:
    """In a log a line comes every thirty seconds, with all that is known."""
    sieve.add_job("first", processing=40)
    sieve.add_job("second", processing=100)
    stream = io.StringIO()

    code = await watching(stream, "first", "second")

    lines = [line.split("  ", 1)[1] for line in stream.getvalue().splitlines()]
    assert code == 0
    assert LINE_PAUSE == 30
    assert lines == [
        "0 of 2 ended: 2 processing",
        "1 of 2 ended: 1 finished, 1 processing",
        "1 of 2 ended: 1 finished, 1 processing",
    ]


@pytest.mark.parametrize("is_debugging", [True, False])
def test_log(*, is_debugging: bool) -> None:
    """Warnings of the library stand in lines of their own; with ``--debug`` all else does."""
    stream = io.StringIO()

    with noting(Lines(stream), is_debugging=is_debugging):
        logging.getLogger("sieve_async").warning("polls fail\nat %s", "once")
        logging.getLogger("sieve_async").debug("details")

    expected = "sieve-async: polls fail at once\n" + "sieve-async: details\n" * is_debugging
    assert stream.getvalue() == expected


async def test_results_at_terminal(sieve: FakeSieve) -> None:
    """Where results and progress share a screen, each result has a line of its own above it."""
    sieve.add_job("soon", processing=2, by="polls")
    sieve.add_job("late", processing=4, by="polls")

    shown = (
        await run_at_terminal(sieve, "watch", "soon", "late", size=(100, 24), results="shared")
    )[1]

    lines = lines_of(shown)
    assert [line.split()[0] for line in lines if "finished   " in line] == ["soon", "late"]
    after_first = shown.split("soon  finished", 1)[1]
    assert "1 of 2 ended" in after_first
    assert shown.endswith(f"{ESCAPE}J")
