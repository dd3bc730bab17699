"""The verdict of the soak benchmark: every bound that it has can break."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

with pytest.MonkeyPatch.context() as patch:  # the checkout is not where modules are looked for
    patch.syspath_prepend(Path(__file__).parent.parent)
    from benchmarks.leaks import Bounds, Rest, broken, slopes
    from benchmarks.ledger import Ledger

BOUNDS = Bounds(per_minute=100, per_thousand=10, objects=5, descriptors=9, fewest=4)
GOOD = Ledger(waits=9000, ended=8000, stopped=1000)
FIRST = Rest(minutes=0, waits=0, memory=500, objects=90, tasks=0, descriptors=3)


def steady(**growing: float) -> list[Rest]:
    """Rounds of a minute and 1,000 waits each, some of whose figures grow from one to the next."""
    rests = []
    for number in range(1, 10):
        grown = {name: 50 + round(number * step) for name, step in growing.items()}
        figures = {"memory": 900, "objects": 99, "tasks": 0, "descriptors": 7} | grown
        rests.append(Rest(minutes=number, waits=1000 * number, **figures))
    return rests


def verdict(rests: Sequence[Rest], last: Rest = FIRST, ledger: Ledger = GOOD) -> list[str]:
    """What is said of a soak."""
    return broken(rests, FIRST, last, ledger, BOUNDS)


def test_nothing_broken() -> None:
    """A soak that comes back to where it was is within all bounds, and a warm-up does not count."""
    warming = [attrs.evolve(rest, memory=10, objects=1) for rest in steady()[:2]]

    assert verdict(steady()) == []
    assert verdict([*warming, *steady()[2:]]) == []
    assert verdict(steady(memory=-50, objects=-5)) == []


@pytest.mark.parametrize(
    ("growing", "complaints"),
    [
        ({"memory": 9}, []),
        ({"memory": 11}, ["11 bytes for a thousand waits, of 10 at the most"]),
        (
            {"memory": 101},
            [
                "101 bytes a minute, of 100 at the most",
                "101 bytes for a thousand waits, of 10 at the most",
            ],
        ),
        ({"objects": 4}, []),
        ({"objects": 6}, ["6 objects for a thousand waits, of 5 at the most"]),
    ],
)
def test_growth(growing: dict[str, float], complaints: list[str]) -> None:
    """What grows faster than its bound is named with its slope."""
    assert verdict(steady(**growing)) == complaints


def test_too_few_rounds() -> None:
    """Of a few rounds there are no slopes, but what is left behind counts."""
    rests = steady(memory=10_000)[:3]

    assert slopes(rests, BOUNDS) is None
    assert verdict(rests) == []
    assert verdict([attrs.evolve(rests[0], tasks=1)]) == ["1 tasks that outlive what they are for"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"tasks": 2}, "2 tasks that outlive what they are for"),
        ({"descriptors": 4}, "1 descriptors left open"),
    ],
)
def test_left_behind(changes: dict[str, Any], complaint: str) -> None:
    """When all clients are closed, there is no more than before."""
    assert verdict(steady(), attrs.evolve(FIRST, **changes)) == [complaint]


def test_descriptors_between_rounds() -> None:
    """Between rounds no more is open than a pool may hold."""
    rests = [attrs.evolve(rest, descriptors=13) for rest in steady()]

    assert verdict(rests) == ["10 descriptors between rounds, of 9 at the most"]


@pytest.mark.parametrize(
    ("changes", "complaints"),
    [
        ({"ended": 7999, "lost": 1}, ["1 lost"]),
        ({"ended": 7998, "wrong": 2}, ["2 wrong"]),
        ({"duplicated": 3}, ["3 duplicated"]),
        ({"ended": 7999}, ["1 waits more than became of them"]),
    ],
)
def test_miscounted(changes: dict[str, Any], complaints: list[str]) -> None:
    """A single wait that is lost, told twice or wrongly, or not accounted for, is enough."""
    assert verdict(steady(), ledger=attrs.evolve(GOOD, **changes)) == complaints
