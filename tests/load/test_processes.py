"""Programs in processes of their own: with few file descriptors, and killed while they watch."""

import json
from collections import Counter
from pathlib import Path

import pytest

from helpers.children.serve import status_of
from helpers.kill_campaign import run_campaign
from helpers.processes import run_program, run_server


@pytest.mark.parametrize("mode", ["each", "all"])
def test_few_descriptors(mode: str) -> None:
    """A program with 32 file descriptors waits for 100 jobs, with little memory."""
    number = 100
    with (
        run_server(number=number, seconds=1) as url,
        run_program("wait", url, "--number", number, "--mode", mode, "--descriptors", 32) as waits,
    ):
        summary = json.loads(waits.communicate()[0])
    assert summary["ends"] == {f"job-{each}": status_of(each) for each in range(number)}
    assert summary["errors"] == {}
    assert (summary["outcomes"], summary["tasks"]) == (number, 0)
    assert summary["kilobytes"] <= 100 * 1024


@pytest.mark.parametrize("mode", ["transactions", "printing"])
def test_few_kills(tmp_path: Path, mode: str) -> None:
    """After 2 kills among 200 jobs all outcomes are known, and effects happened exactly once."""
    _check(tmp_path / "batch.sieve", mode, number=200, kills=2, seconds=1.0)


@pytest.mark.campaign
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", ["transactions", "printing"])
def test_many_kills(tmp_path: Path, mode: str) -> None:
    """After 20 kills among 40,000 jobs the same holds."""
    _check(tmp_path / "batch.sieve", mode, number=40_000, kills=20, seconds=60.0)


def _check(path: Path, mode: str, *, number: int, kills: int, seconds: float) -> None:
    result = run_campaign(path, number=number, kills=kills, seconds=seconds, mode=mode)
    print(f"{mode}: {result.printed_again} outcomes printed again")  # noqa: T201
    assert result.acknowledged == number
    assert set(result.printed) <= set(result.expected), "wrong"
    if mode == "transactions":
        assert result.effects == result.expected
    else:
        assert not result.expected - result.printed, "lost"
        assert result.effects == Counter()
