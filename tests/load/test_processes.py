"""A program with few file descriptors, and a server in a process of its own."""

import json

import pytest

from helpers.children.serve import status_of
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
