"""Fault class J: any interleaving of what happens to jobs, what fails and who waits for them."""

import random
import time

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from faults.life_walk import walk
from faults.lives import Lives

ONCE = settings(
    max_examples=10,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # to make an example smaller takes longer than to find one
    suppress_health_check=list(HealthCheck),
)
OFTEN = settings(
    ONCE,
    max_examples=500,
    stateful_step_count=50,
    derandomize=False,
)
SECONDS = 600.0


def test_lives() -> None:
    """Whatever happens in whichever order: each wait ends once, with the truth."""
    run_state_machine_as_test(Lives, settings=ONCE)


@pytest.mark.parametrize("seed", range(8))
def test_walks(seed: int) -> None:
    """The same for lives in which each turn is as likely as any other."""
    walk(seed)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_many_lives() -> None:
    """The same for many more lives."""
    run_state_machine_as_test(Lives, settings=OFTEN)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_many_walks() -> None:
    """The same for ten minutes of such walks, others each time."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        walk(random.SystemRandom().getrandbits(32))
