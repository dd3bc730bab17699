"""The exit codes, and which one stands for many jobs."""

from collections.abc import Iterable
from enum import IntEnum

from sieve_async.errors import (
    AuthenticationError,
    BuildFailedError,
    ConfigError,
    InvalidArgumentError,
    JobCancelledError,
    JobFailedError,
    JobRestartedError,
    NotFoundError,
    PermissionDeniedError,
    SieveError,
    WaitTimeoutError,
)
from sieve_async.models import JobStatus
from sieve_async.watching import JobOutcome


class NoKeyError(ConfigError):
    """There is no key, or it cannot be one."""


class Exit(IntEnum):
    """What the exit code of the program says."""

    GOOD = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    KEY = 4
    NOT_FOUND = 5
    TROUBLE = 6
    TIMEOUT = 124
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


# What is not known comes before what is known to be bad: a script cannot go by the rest then.
PRECEDENCE = (
    Exit.INTERRUPTED,
    Exit.TERMINATED,
    Exit.BROKEN_PIPE,
    Exit.KEY,
    Exit.TROUBLE,
    Exit.TIMEOUT,
    Exit.USAGE,
    Exit.NOT_FOUND,
    Exit.FAILED,
    Exit.CANCELLED,
    Exit.GOOD,
)

_OF_ERRORS: tuple[tuple[type[SieveError] | tuple[type[SieveError], ...], Exit], ...] = (
    ((NoKeyError, AuthenticationError, PermissionDeniedError), Exit.KEY),
    (NotFoundError, Exit.NOT_FOUND),
    (WaitTimeoutError, Exit.TIMEOUT),
    ((ConfigError, InvalidArgumentError), Exit.USAGE),
    ((JobFailedError, BuildFailedError, JobRestartedError), Exit.FAILED),
    (JobCancelledError, Exit.CANCELLED),
)


def exit_of_error(error: SieveError) -> Exit:
    """The code for an error."""
    return next((code for kinds, code in _OF_ERRORS if isinstance(error, kinds)), Exit.TROUBLE)


def exit_of_outcome(outcome: JobOutcome) -> Exit:
    """The code for how the wait for one job ended."""
    if outcome.job is None:
        return Exit.TROUBLE if outcome.error is None else exit_of_error(outcome.error)
    match outcome.job.status:
        case JobStatus.FINISHED:
            return Exit.GOOD
        case JobStatus.CANCELLED:
            return Exit.CANCELLED
        case _:
            return Exit.FAILED


def forgiven(code: Exit) -> Exit:
    """The code with ``--no-fail``: how jobs and builds end is no failure of the wait."""
    return Exit.GOOD if code in {Exit.FAILED, Exit.CANCELLED} else code


def exit_of_many(codes: Iterable[Exit]) -> Exit:
    """The one code for many."""
    return min(codes, key=PRECEDENCE.index, default=Exit.GOOD)
