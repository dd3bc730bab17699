"""Random walks of the machine: weighted random rules, determined by a seed.

Hypothesis prefers small examples and repeats itself; a walk is longer and different for each seed.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from stateful.fault_plan import KINDS, OUTAGE, TARGETS
from stateful.machine import ClientMachine

# How to choose each argument of a rule.
Choices: TypeAlias = Mapping[str, Callable[[random.Random], Any]]

MAX_STEPS = 45


def _of(*choices: Any) -> Callable[[random.Random], Any]:
    return lambda randomizer: randomizer.choice(choices)


def _several(most: int, *choices: Any) -> Callable[[random.Random], Any]:
    return lambda randomizer: randomizer.choices(choices, k=randomizer.randint(1, most))


def _flip(randomizer: random.Random) -> bool:
    return randomizer.random() < 0.5


WHICH = _of(0, 1, 2, 3)
ACTIONS = _several(3, "start", "yield", "yield", "restart")
AFTER = _of(0.01, 0.6, 4.0, 25.0)
TIMES = _of(None, None, None, 1, 2, 3, 4, 9)
TIMEOUT = _of(None, None, None, 400, 60, 7, 0.5, 0)

# The weight of each rule, and its arguments.
RULES: Sequence[tuple[int, str, Choices]] = [
    (6, "advance_job", {"which": WHICH, "actions": ACTIONS, "after": AFTER}),
    (
        2,
        "end_job",
        {
            "which": WHICH,
            "actions": ACTIONS,
            "end": _of("finish", "finish", "fail", "cancel", "remove"),
        },
    ),
    (
        1,
        "deploy_version",
        {"spans": _of((0.0, 0.0), (5.0, 60.0), (300.0, 1.0)), "status": _of("ready", "error")},
    ),
    (4, "sleep", {"seconds": _of(3.0, 40.0, 130.0, 700.0)}),
    (
        5,
        "add_fault",
        {
            "kind": _of(OUTAGE, *KINDS),
            "path": _of(*TARGETS),
            "times": TIMES,
            "share": _of(1.0, 1.0, 0.5),
            "after": AFTER,
        },
    ),
    (1, "answer_for_another_job", {"which": WHICH, "shown": WHICH, "times": TIMES}),
    (2, "clear_faults", {}),
    (
        3,
        "wait_for_job",
        {
            "which": WHICH,
            "timeout": TIMEOUT,
            "strategy": _of("poll", "long_poll"),
            "check": _flip,
        },
    ),
    (
        3,
        "watch",
        {
            "which": _several(5, 0, 1, 2, 3),
            "timeout": TIMEOUT,
            "strategy": _of("poll", "long_poll", "list", "list"),
            "at_once": _flip,
            "busy": _of(0.0, 0.0, 30.0),
        },
    ),
    (
        3,
        "stream",
        {
            "which": WHICH,
            "timeout": TIMEOUT,
            "offset": _of(0, 0, 1, 3),
            "on_restart": _of("continue", "raise"),
            "busy": _of(0.0, 0.0, 5.0, 400.0),
        },
    ),
    (1, "wait_until_ready", {"which": _of(None, 0, 1), "timeout": TIMEOUT}),
    (1, "lookup", {"which": WHICH}),
    (1, "cancel", {"which": _of(0, 0, 1, 1, 2, 3, 4, 5, 9)}),
]
OPEN: Choices = {
    "slots": _of(2, 64),
    "rate": _of(4, 100, None),
    "jobs": _of(1, 2, 3, 4),
}


def walk(seed: int) -> None:
    """Run one walk; a failure carries its steps as a note."""
    randomizer = random.Random(seed)
    random.seed(seed)
    machine = ClientMachine()
    steps: list[str] = [f"seed {seed}"]
    try:
        _go(machine, randomizer, steps)
    except AssertionError as error:
        error.add_note("\n".join(steps))
        raise


def _go(machine: ClientMachine, randomizer: random.Random, steps: list[str]) -> None:
    try:
        _take(machine, "open", OPEN, randomizer, steps)
        weights = [weight for weight, _, _ in RULES]
        for _, rule, choices in randomizer.choices(
            RULES, weights, k=randomizer.randint(5, MAX_STEPS)
        ):
            _take(machine, rule, choices, randomizer, steps)
            machine.results_are_correct()
            machine.only_needed_requests()
    finally:
        steps.append(f"{machine.now:8.2f} teardown")
        machine.teardown()


def _take(
    machine: ClientMachine, rule: str, choices: Choices, randomizer: random.Random, steps: list[str]
) -> None:
    chosen = {name: choose(randomizer) for name, choose in choices.items()}
    steps.append(f"{machine.now:8.2f} {rule} {chosen}")
    getattr(machine, rule)(**chosen)
