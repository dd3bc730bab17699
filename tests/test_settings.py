"""Settings objects: their defaults, and what they refuse."""

import math
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import pytest

from sieve_async import ConfigError, Limits, PollPolicy, RetryPolicy, Timeout

DEFAULTS: list[tuple[Any, dict[str, float | None]]] = [
    (Timeout(), {"connect": 10, "attempt": 30}),
    (RetryPolicy(), {"attempts": 3, "base": 0.5, "cap": 8, "max_retry_after": 120}),
    (
        PollPolicy(),
        {"minimum": 0.5, "growth": 0.05, "maximum": 10, "jitter": 0.25, "outage_timeout": 1800},
    ),
    (
        Limits(),
        {
            "max_connections": 64,
            "polls_per_second": 100,
            "max_pending_jobs": 100_000,
            "max_response_bytes": 16 * 1024 * 1024,
        },
    ),
]

NO_NUMBERS: tuple[Any, ...] = ("1", b"1", "", True, False, [], [1], {}, 1j, object(), Decimal(1))
NO_SECONDS = (math.nan, math.inf, -math.inf, -1, -0.001, 10**400, *NO_NUMBERS)
NO_COUNTS = (0, -1, -(10**400), 1.0, 1.5, math.nan, math.inf, None, *NO_NUMBERS)


@pytest.mark.parametrize(("settings", "defaults"), DEFAULTS)
def test_defaults(settings: Any, defaults: dict[str, float | None]) -> None:
    """The settings have the documented fields, with the documented defaults."""
    assert attrs.asdict(settings) == defaults


@pytest.mark.parametrize(("settings", "defaults"), DEFAULTS)
def test_settings_are_values(settings: Any, defaults: dict[str, float | None]) -> None:
    """Settings are frozen, equal by value, hashable, picklable and by keyword only."""
    for name, value in defaults.items():
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(settings, name, value)
    with pytest.raises(TypeError):
        type(settings)(1)

    assert pickle.loads(pickle.dumps(settings)) == settings == type(settings)(**defaults)
    assert hash(settings) == hash(type(settings)())


BAD_VALUES: list[tuple[Callable[..., Any], str, tuple[Any, ...]]] = [
    (Timeout, "connect", (*NO_SECONDS, 0, 0.0)),
    (Timeout, "attempt", (*NO_SECONDS, 0, 0.0)),
    (RetryPolicy, "attempts", NO_COUNTS),
    (RetryPolicy, "base", (*NO_SECONDS, None, 8.1)),
    (RetryPolicy, "cap", (*NO_SECONDS, None, 0.4)),
    (RetryPolicy, "max_retry_after", NO_SECONDS),
    (PollPolicy, "minimum", (*NO_SECONDS, None, 10.1)),
    (PollPolicy, "growth", (*NO_SECONDS, None)),
    (PollPolicy, "maximum", (*NO_SECONDS, None, 0.4)),
    (PollPolicy, "jitter", (*NO_SECONDS, None, 1, 1.5)),
    (PollPolicy, "outage_timeout", NO_SECONDS),
    (Limits, "max_connections", NO_COUNTS),
    (Limits, "polls_per_second", (*NO_SECONDS, 0, 0.0)),
    (Limits, "max_pending_jobs", NO_COUNTS),
    (Limits, "max_response_bytes", NO_COUNTS),
]


@pytest.mark.parametrize(("kind", "name", "values"), BAD_VALUES)
def test_bad_values(kind: Callable[..., Any], name: str, values: tuple[Any, ...]) -> None:
    """A setting that cannot work is refused when it is made, by name."""
    for value in values:
        with pytest.raises(ConfigError, match=name) as caught:
            kind(**{name: value})

        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Timeout, {"connect": None, "attempt": None}),
        (Timeout, {"connect": 1, "attempt": 1e-3}),
        (RetryPolicy, {"attempts": 1, "base": 0, "cap": 0, "max_retry_after": None}),
        (RetryPolicy, {"max_retry_after": 0}),
        (PollPolicy, {"minimum": 0, "growth": 0, "maximum": 0, "jitter": 0, "outage_timeout": 0}),
        (PollPolicy, {"minimum": 10, "outage_timeout": None, "jitter": 0.99}),
        (Limits, {"max_connections": 1, "polls_per_second": None, "max_response_bytes": 1}),
        (Limits, {"polls_per_second": 0.5, "max_connections": 10_000}),
    ],
)
def test_good_values(kind: Callable[..., Any], values: dict[str, Any]) -> None:
    """Zero is zero and None is no limit, wherever that makes sense."""
    settings = kind(**values)

    assert attrs.asdict(settings).items() >= values.items()
