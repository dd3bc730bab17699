"""Settings objects: their defaults, and what they refuse."""

import math
import pickle
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from sieve_async import ConfigError, Limits, PollPolicy, RetryPolicy, Timeout
from sieve_async.config import as_timeout, check_setting

DEFAULTS: list[tuple[Any, dict[str, float | None]]] = [
    (Timeout(), {"connect": 10, "request": 30}),
    (
        RetryPolicy(),
        {"max_attempts": 3, "initial_delay": 0.5, "max_delay": 8, "max_retry_after": 120},
    ),
    (
        PollPolicy(),
        {
            "min_interval": 0.5,
            "growth": 0.05,
            "max_interval": 10,
            "jitter": 0.25,
            "outage_timeout": 1800,
        },
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
    (Timeout, "request", (*NO_SECONDS, 0, 0.0)),
    (RetryPolicy, "max_attempts", NO_COUNTS),
    (RetryPolicy, "initial_delay", (*NO_SECONDS, None, 8.1)),
    (RetryPolicy, "max_delay", (*NO_SECONDS, None, 0.4)),
    (RetryPolicy, "max_retry_after", NO_SECONDS),
    (PollPolicy, "min_interval", (*NO_SECONDS, None, 10.1)),
    (PollPolicy, "growth", (*NO_SECONDS, None)),
    (PollPolicy, "max_interval", (*NO_SECONDS, None, 0.4)),
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
        (Timeout, {"connect": None, "request": None}),
        (Timeout, {"connect": 1, "request": 1e-3}),
        (
            RetryPolicy,
            {"max_attempts": 1, "initial_delay": 0, "max_delay": 0, "max_retry_after": None},
        ),
        (RetryPolicy, {"max_retry_after": 0}),
        (
            PollPolicy,
            {"min_interval": 0, "growth": 0, "max_interval": 0, "jitter": 0, "outage_timeout": 0},
        ),
        (PollPolicy, {"min_interval": 10, "outage_timeout": None, "jitter": 0.99}),
        (Limits, {"max_connections": 1, "polls_per_second": None, "max_response_bytes": 1}),
        (Limits, {"polls_per_second": 0.5, "max_connections": 10_000}),
    ],
)
def test_good_values(kind: Callable[..., Any], values: dict[str, Any]) -> None:
    """Zero is zero and None is no limit, wherever that makes sense."""
    settings = kind(**values)

    assert attrs.asdict(settings).items() >= values.items()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Timeout(connect=1), Timeout(connect=1)),
        (30, Timeout(request=30)),
        (0.5, Timeout(request=0.5)),
        (timedelta(minutes=2), Timeout(request=120)),
    ],
)
def test_plain_timeouts(given: Any, expected: Timeout) -> None:
    """Seconds or a timedelta in the place of a Timeout are those of one request."""
    assert as_timeout(given) == expected


def test_plain_timeouts_that_cannot_be() -> None:
    """What cannot be a timeout is refused, and the error says what can."""
    for given in (None, *NO_SECONDS, 0, timedelta(0), Limits()):
        with pytest.raises(ConfigError, match=r"\Atimeout must be a Timeout, or seconds or a time"):
            as_timeout(given)


def test_durations() -> None:
    """A duration may be a timedelta; it is kept as seconds."""
    timeout = Timeout(connect=timedelta(milliseconds=500), request=timedelta(minutes=1))

    assert attrs.astuple(timeout) == (0.5, 60.0)


def test_settings_of_another_kind() -> None:
    """Where settings of one kind are wanted, others are refused, and not shown."""
    check_setting("limits", Limits(), Limits)
    with pytest.raises(
        ConfigError, match="limits must be a Limits, got an object of class Timeout"
    ):
        check_setting("limits", Timeout(), Limits)


def test_messages() -> None:
    """An error names the setting, what was given and what is accepted."""
    with pytest.raises(ConfigError) as caught:
        Timeout(request="x")  # type: ignore[arg-type] # on purpose

    assert str(caught.value) == (
        "Timeout.request must be a finite number above 0 or None for no limit, got 'x'"
    )


def test_durations_of_policies() -> None:
    """A timedelta may stand for seconds in every duration."""
    polling = PollPolicy(
        min_interval=timedelta(seconds=1),
        max_interval=timedelta(minutes=1),
        outage_timeout=timedelta(hours=1),
    )
    retry = RetryPolicy(
        initial_delay=timedelta(milliseconds=250),
        max_delay=timedelta(seconds=4),
        max_retry_after=timedelta(minutes=2),
    )

    assert polling == PollPolicy(min_interval=1.0, max_interval=60.0, outage_timeout=3600.0)
    assert retry == RetryPolicy(initial_delay=0.25, max_delay=4.0, max_retry_after=120.0)
