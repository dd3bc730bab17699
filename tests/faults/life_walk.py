"""Lives by chance: the rules of the lives in any order, each as often as it is worth trying.

Hypothesis looks for small examples, and so it repeats itself; here all that differs is a seed. Who
has found a seed that falls can make the list of its steps smaller by hand.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from faults.life_weather import KINDS, OUTAGE, TARGETS
from faults.lives import Lives

# How to choose each argument of a rule.
Choices: TypeAlias = Mapping[str, Callable[[random.Random], Any]]

LONGEST = 45


def _of(*choices: Any) -> Callable[[random.Random], Any]:
    return lambda dice: dice.choice(choices)


def _several(most: int, *choices: Any) -> Callable[[random.Random], Any]:
    return lambda dice: dice.choices(choices, k=dice.randint(1, most))


def _flip(dice: random.Random) -> bool:
    return dice.random() < 0.5


WHICH = _of(0, 1, 2, 3)
DEEDS = _several(3, "start", "yield", "yield", "restart")
AFTER = _of(0.01, 0.6, 4.0, 25.0)
TIMES = _of(None, None, None, 1, 2, 3, 4, 9)
TIMEOUT = _of(None, None, None, 400, 60, 7, 0.5, 0)

# How often each rule is worth trying, and its arguments.
RULES: Sequence[tuple[int, str, Choices]] = [
    (6, "live", {"which": WHICH, "deeds": DEEDS, "after": AFTER}),
    (
        2,
        "end",
        {
            "which": WHICH,
            "deeds": DEEDS,
            "end": _of("finish", "finish", "fail", "cancel", "remove"),
        },
    ),
    (
        1,
        "deploy",
        {"spans": _of((0.0, 0.0), (5.0, 60.0), (300.0, 1.0)), "ends": _of("ready", "error")},
    ),
    (4, "pass_a_while", {"seconds": _of(3.0, 40.0, 130.0, 700.0)}),
    (
        5,
        "spoil",
        {
            "kind": _of(OUTAGE, *KINDS),
            "path": _of(*TARGETS),
            "times": TIMES,
            "share": _of(1.0, 1.0, 0.5),
            "after": AFTER,
        },
    ),
    (1, "show_another", {"which": WHICH, "shown": WHICH, "times": TIMES}),
    (2, "heal", {}),
    (
        3,
        "wait",
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
            "all_at_once": _flip,
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
    (1, "look", {"which": WHICH}),
    (1, "stop", {"which": _of(0, 0, 1, 1, 2, 3, 4, 5, 9)}),
]
OPEN: Choices = {
    "slots": _of(2, 64),
    "rate": _of(4, 100, None),
    "jobs": _of(1, 2, 3, 4),
}


def walk(seed: int) -> None:
    """Live one life, and say what has happened in it should it fall."""
    dice = random.Random(seed)
    random.seed(seed)
    lives = Lives()
    steps: list[str] = [f"seed {seed}"]
    try:
        _go(lives, dice, steps)
    except AssertionError as error:
        error.add_note("\n".join(steps))
        raise


def _go(lives: Lives, dice: random.Random, steps: list[str]) -> None:
    try:
        _take(lives, "open", OPEN, dice, steps)
        weights = [weight for weight, _, _ in RULES]
        for _, rule, choices in dice.choices(RULES, weights, k=dice.randint(5, LONGEST)):
            _take(lives, rule, choices, dice, steps)
            lives.all_is_true()
            lives.nothing_goes_on()
    finally:
        steps.append(f"{lives.now:8.2f} teardown")
        lives.teardown()


def _take(lives: Lives, rule: str, choices: Choices, dice: random.Random, steps: list[str]) -> None:
    chosen = {name: choose(dice) for name, choose in choices.items()}
    steps.append(f"{lives.now:8.2f} {rule} {chosen}")
    getattr(lives, rule)(**chosen)
