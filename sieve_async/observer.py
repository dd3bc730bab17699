"""Hooks for telemetry: a client reports the ends of its waits to one observer."""

from contextlib import AbstractContextManager, nullcontext
from contextvars import Context

import attrs

from sieve_async.models import FunctionVersion, Job
from sieve_async.outcomes import JobOutcome


@attrs.frozen(kw_only=True)
class FinishedWait:
    """How a single wait ended.

    Attributes:
        target: A job id, or ``owner/name:slug`` of a function version.
        last: The last state seen; None when none was.
        error: What ended the wait, if that was not a terminal state; also a cancellation.
        polls: How many polls were made.
        elapsed: Seconds from its start.
    """

    target: str
    last: Job | FunctionVersion | None
    error: BaseException | None
    polls: int
    elapsed: float


@attrs.frozen(kw_only=True)
class FinishedWatch:
    """How a watch of many jobs ended.

    Attributes:
        outcomes: How many outcomes it handed out.
        pending: How many jobs were still pending when it was closed.
        elapsed: Seconds from its start.
    """

    outcomes: int
    pending: int
    elapsed: float


class WaitObserver:
    """Base class of observers; it does nothing.

    The methods run in the caller's task and context, except for `attach` and `detach`. They must
    be fast and must not raise.
    """

    def attach(self, background: Context) -> None:
        """Prepare the context in which the background tasks of the client run from now on."""

    def detach(self, background: Context) -> None:
        """Undo that."""

    def polling(self) -> AbstractContextManager[object]:
        """Enter the context of one poll that runs in the caller's task."""
        return nullcontext()

    def on_wait(self, wait: FinishedWait) -> None:
        """Record the end of a single wait."""

    def on_outcome(self, outcome: JobOutcome) -> None:
        """Record an outcome that a watch hands out."""

    def on_watch(self, watch: FinishedWatch) -> None:
        """Record the end of a watch."""
