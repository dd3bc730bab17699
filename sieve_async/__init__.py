"""Asynchronous client for Sieve: look up jobs and function versions, and wait for them.

The names below are loaded when they are first used: importing the package alone takes no time, and
neither does a command line that only shows its help.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sieve_async.client import SieveClient, Stats
    from sieve_async.config import Limits, Timeout, __version__
    from sieve_async.durable import DurableWatch, WatchState
    from sieve_async.errors import (
        AmbiguousPushError,
        APIError,
        AuthenticationError,
        BadRequestError,
        BuildFailedError,
        ClientClosedError,
        ConfigError,
        ConnectError,
        DecodeError,
        DownloadError,
        FileExpiredError,
        InvalidArgumentError,
        JobCancelledError,
        JobFailedError,
        JobNotCancellableError,
        JobRestartedError,
        NotFoundError,
        OutOfCreditsError,
        PermissionDeniedError,
        ProxyError,
        RateLimitError,
        RedirectError,
        RequestTimeoutError,
        ResponseError,
        ResponseTooLargeError,
        ServerError,
        SieveError,
        StateBusyError,
        StateFileError,
        TLSError,
        TransportError,
        UnprocessableEntityError,
        WaitTimeoutError,
        WrongEventLoopError,
    )
    from sieve_async.jobs import PushedJob
    from sieve_async.models import (
        BuildStatus,
        EnvironmentVariable,
        File,
        Function,
        FunctionVersion,
        InputOutput,
        Job,
        JobStatus,
        Output,
        Restart,
        Webhook,
        WorkerCounts,
    )
    from sieve_async.outcomes import JobOutcome, OutcomeList
    from sieve_async.polling import OutputStream, PollPolicy
    from sieve_async.retry import RetryPolicy
    from sieve_async.state_file import StateCounts
    from sieve_async.watch import JobWatch, PendingJob, Strategy
    from sieve_async.webhook_receiver import WebhookReceiver
    from sieve_async.webhooks import WebhookEvent, parse_webhook

__all__ = [
    "APIError",
    "AmbiguousPushError",
    "AuthenticationError",
    "BadRequestError",
    "BuildFailedError",
    "BuildStatus",
    "ClientClosedError",
    "ConfigError",
    "ConnectError",
    "DecodeError",
    "DownloadError",
    "DurableWatch",
    "EnvironmentVariable",
    "File",
    "FileExpiredError",
    "Function",
    "FunctionVersion",
    "InputOutput",
    "InvalidArgumentError",
    "Job",
    "JobCancelledError",
    "JobFailedError",
    "JobNotCancellableError",
    "JobOutcome",
    "JobRestartedError",
    "JobStatus",
    "JobWatch",
    "Limits",
    "NotFoundError",
    "OutOfCreditsError",
    "OutcomeList",
    "Output",
    "OutputStream",
    "PendingJob",
    "PermissionDeniedError",
    "PollPolicy",
    "ProxyError",
    "PushedJob",
    "RateLimitError",
    "RedirectError",
    "RequestTimeoutError",
    "ResponseError",
    "ResponseTooLargeError",
    "Restart",
    "RetryPolicy",
    "ServerError",
    "SieveClient",
    "SieveError",
    "StateBusyError",
    "StateCounts",
    "StateFileError",
    "Stats",
    "Strategy",
    "TLSError",
    "Timeout",
    "TransportError",
    "UnprocessableEntityError",
    "WaitTimeoutError",
    "WatchState",
    "Webhook",
    "WebhookEvent",
    "WebhookReceiver",
    "WorkerCounts",
    "WrongEventLoopError",
    "__version__",
    "parse_webhook",
]

# Where each public name is defined; the same as above, for the interpreter.
_HOMES = {
    "sieve_async.client": (
        "SieveClient",
        "Stats",
    ),
    "sieve_async.config": (
        "Limits",
        "Timeout",
        "__version__",
    ),
    "sieve_async.durable": (
        "DurableWatch",
        "WatchState",
    ),
    "sieve_async.errors": (
        "APIError",
        "AmbiguousPushError",
        "AuthenticationError",
        "BadRequestError",
        "BuildFailedError",
        "ClientClosedError",
        "ConfigError",
        "ConnectError",
        "DecodeError",
        "DownloadError",
        "FileExpiredError",
        "InvalidArgumentError",
        "JobCancelledError",
        "JobFailedError",
        "JobNotCancellableError",
        "JobRestartedError",
        "NotFoundError",
        "OutOfCreditsError",
        "PermissionDeniedError",
        "ProxyError",
        "RateLimitError",
        "RedirectError",
        "RequestTimeoutError",
        "ResponseError",
        "ResponseTooLargeError",
        "ServerError",
        "SieveError",
        "StateBusyError",
        "StateFileError",
        "TLSError",
        "TransportError",
        "UnprocessableEntityError",
        "WaitTimeoutError",
        "WrongEventLoopError",
    ),
    "sieve_async.jobs": ("PushedJob",),
    "sieve_async.models": (
        "BuildStatus",
        "EnvironmentVariable",
        "File",
        "Function",
        "FunctionVersion",
        "InputOutput",
        "Job",
        "JobStatus",
        "Output",
        "Restart",
        "Webhook",
        "WorkerCounts",
    ),
    "sieve_async.outcomes": (
        "JobOutcome",
        "OutcomeList",
    ),
    "sieve_async.polling": (
        "OutputStream",
        "PollPolicy",
    ),
    "sieve_async.retry": ("RetryPolicy",),
    "sieve_async.state_file": ("StateCounts",),
    "sieve_async.watch": (
        "JobWatch",
        "PendingJob",
        "Strategy",
    ),
    "sieve_async.webhook_receiver": ("WebhookReceiver",),
    "sieve_async.webhooks": (
        "WebhookEvent",
        "parse_webhook",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name)
    value: object = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
