"""Asynchronous client for Sieve: start jobs, wait for them, and download what they made.

The names below are loaded when they are first used, so that importing the package alone, as
``sieve-async --help`` and pytest do, takes no time.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sieve_async.client import SieveClient, Stats
    from sieve_async.config import __version__
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
    from sieve_async.polling import OutputStream
    from sieve_async.settings import Limits, PollPolicy, RetryPolicy, Timeout
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

# The modules that define the names above. A name is loaded from the first that has it.
_MODULES = (
    "errors",
    "models",
    "outcomes",
    "config",
    "settings",
    "polling",
    "watch",
    "jobs",
    "webhooks",
    "webhook_receiver",
    "state_file",
    "durable",
    "client",
)


def __getattr__(name: str) -> object:
    if name in __all__:
        for module_name in _MODULES:
            module = importlib.import_module(f"{__name__}.{module_name}")
            if hasattr(module, name):
                value: object = getattr(module, name)
                globals()[name] = value
                return value
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message, name=name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
