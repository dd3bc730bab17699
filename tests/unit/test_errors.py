"""Errors: one family, plain data, fit to travel, and useful to whoever reads them."""

import copy
import inspect
import pickle
from datetime import UTC, datetime
from typing import Any

import attrs

import sieve_async
from sieve_async import (
    AmbiguousPushError,
    APIError,
    AuthenticationError,
    BadRequestError,
    BuildFailedError,
    BuildStatus,
    ClientClosedError,
    ConfigError,
    ConnectError,
    DecodeError,
    DownloadError,
    FileExpiredError,
    FunctionVersion,
    InvalidArgumentError,
    Job,
    JobCancelledError,
    JobFailedError,
    JobNotCancellableError,
    JobRestartedError,
    JobStatus,
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
    errors,
)

# Each class with all of its parents.
TREE: dict[type[BaseException], tuple[type[BaseException], ...]] = {
    SieveError: (Exception,),
    ConfigError: (SieveError, ValueError),
    InvalidArgumentError: (SieveError, ValueError),
    ClientClosedError: (SieveError,),
    TransportError: (SieveError,),
    ConnectError: (TransportError,),
    TLSError: (ConnectError,),
    RequestTimeoutError: (TransportError, TimeoutError),
    ResponseError: (SieveError,),
    DecodeError: (ResponseError,),
    ResponseTooLargeError: (ResponseError,),
    RedirectError: (ResponseError,),
    APIError: (SieveError,),
    BadRequestError: (APIError,),
    AuthenticationError: (APIError,),
    OutOfCreditsError: (APIError,),
    PermissionDeniedError: (APIError,),
    NotFoundError: (APIError,),
    UnprocessableEntityError: (APIError,),
    RateLimitError: (APIError,),
    ServerError: (APIError,),
    WaitTimeoutError: (SieveError, TimeoutError),
    JobFailedError: (SieveError,),
    JobCancelledError: (SieveError,),
    BuildFailedError: (SieveError,),
    JobRestartedError: (SieveError,),
    JobNotCancellableError: (SieveError,),
    AmbiguousPushError: (SieveError,),
    DownloadError: (SieveError,),
    FileExpiredError: (DownloadError,),
    ProxyError: (TransportError,),
    WrongEventLoopError: (SieveError,),
    StateFileError: (SieveError,),
    StateBusyError: (StateFileError,),
}

JOB = Job("j1", JobStatus.ERROR, error="Traceback (most recent call last):\n  ...\nKeyError: 'x'\n")
VERSION = FunctionVersion("v1", BuildStatus.ERROR)
LATE = NotFoundError(404, "gone", method="GET", path="/v2/jobs/j1")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TRIED = ("GET", "/v2/jobs/j1")

# Errors with every field set, and what their messages say.
EXAMPLES: list[tuple[SieveError, str]] = [
    (SieveError("anything"), "anything"),
    (ConfigError("no API key"), "no API key"),
    (InvalidArgumentError("offset must be positive"), "offset must be positive"),
    (ClientClosedError(), "the client is closed"),
    (ClientClosedError("it belongs to another loop"), "it belongs to another loop"),
    (TransportError("reset", *TRIED, 3, 4.25), "GET /v2/jobs/j1: reset (3 attempts in 4.2 s)"),
    (ConnectError("refused", *TRIED, 1, 0.5, reused_connection=True), "GET /v2/jobs/j1: refused"),
    (TLSError("expired", *TRIED), "GET /v2/jobs/j1: expired"),
    (RequestTimeoutError("too slow", *TRIED), "GET /v2/jobs/j1: too slow"),
    (ResponseError("cut off", *TRIED, 200, "{", 1, 2.0), "GET /v2/jobs/j1: HTTP 200, cut off"),
    (DecodeError("not JSON", *TRIED, 200, "<html>"), "GET /v2/jobs/j1: HTTP 200, not JSON"),
    (
        DecodeError("id is missing", *TRIED, 200, "{}", 2, 3.0),
        "GET /v2/jobs/j1: HTTP 200, id is missing (2 attempts in 3.0 s)",
    ),
    (ResponseTooLargeError("too large", *TRIED, 200), "GET /v2/jobs/j1: HTTP 200, too large"),
    (RedirectError("sent on", *TRIED, 302), "GET /v2/jobs/j1: HTTP 302, sent on"),
    (APIError(400), "HTTP 400"),
    (LATE, "GET /v2/jobs/j1: HTTP 404: gone"),
    (
        RateLimitError(429, "slow down", None, "r-1", 7.5, *TRIED, 3, 9.0),
        "GET /v2/jobs/j1: HTTP 429: slow down (retry after 7.5 s) (3 attempts in 9.0 s)",
    ),
    (ServerError(500, "", "e-1", None, None, *TRIED), "GET /v2/jobs/j1: HTTP 500 (error id e-1)"),
    (UnprocessableEntityError(422, "no", problems=("a: no",)), "HTTP 422: no"),
    (BadRequestError(400, "no"), "HTTP 400: no"),
    (AuthenticationError(401, "no"), "HTTP 401: no"),
    (OutOfCreditsError(402, "no"), "HTTP 402: no"),
    (PermissionDeniedError(403, "no"), "HTTP 403: no"),
    (
        WaitTimeoutError("j1", Job("j1", JobStatus("queued")), 12, 60.04),
        "job j1: timed out after 60.0 s and 12 polls (last status: queued)",
    ),
    (
        WaitTimeoutError("j1", None, 1, 0.0, LATE),
        f"job j1: timed out after 0.0 s and 1 poll (last status: unknown); last error: {LATE}",
    ),
    (
        WaitTimeoutError("sieve/dubbing:latest", VERSION, 2, 1.0),
        "version sieve/dubbing:latest: timed out after 1.0 s and 2 polls (last status: error)",
    ),
    (
        WaitTimeoutError("sieve/dubbing:latest", None, 2, 1.0),
        "version sieve/dubbing:latest: timed out after 1.0 s and 2 polls (last status: unknown)",
    ),
    (JobFailedError(JOB), "job j1 failed: KeyError: 'x'"),
    (JobFailedError(Job("j1", JobStatus.ERROR)), "job j1 failed: no error text was given"),
    (JobFailedError(Job("j1", JobStatus.ERROR, error="\n ")), "failed: no error text was given"),
    (
        JobFailedError(Job("j1", JobStatus.ERROR, extra={"error": {"code": 7}})),
        "job j1 failed: {'code': 7}",
    ),
    (JobCancelledError(JOB), "job j1 was cancelled"),
    (
        JobNotCancellableError(Job("j1", JobStatus.QUEUED)),
        "j1 cannot be cancelled (status: queued)",
    ),
    (
        AmbiguousPushError("o/f", {"a": 1}, NOON, accepted=False, reason="reset"),
        "push to o/f may have started a job: it failed: reset",
    ),
    (
        AmbiguousPushError("o/f", {"a": 1}, NOON, accepted=True, reason="cut off"),
        "push to o/f was accepted, but its answer failed: cut off",
    ),
    (DownloadError("reset", "https://h/a.mp4"), "download of https://h/a.mp4: reset"),
    (FileExpiredError("expired", "https://h/a.mp4", 403), "download of https://h/a.mp4: expired"),
    (ProxyError("the proxy answered 407", *TRIED, status=407), "the proxy answered 407"),
    (WrongEventLoopError("another loop"), "another loop"),
    (StateFileError("a.db", "is damaged"), "state file a.db: is damaged"),
    (StateBusyError("a.db", "is in use"), "state file a.db: is in use"),
    (BuildFailedError(VERSION), "the build of version v1 failed"),
    (JobRestartedError("j1", "j1-r2"), "job j1 restarted as run j1-r2: its outputs start over"),
]
ERRORS = [error for error, _ in EXAMPLES]


def data(value: object) -> object:
    """What an error is and holds, errors in it too; two errors themselves are never equal."""
    if not isinstance(value, SieveError):
        return value
    return type(value), {name: data(held) for name, held in vars(value).items()}


def test_the_tree() -> None:
    """There are exactly the documented classes, each with exactly the documented parents."""
    found = {
        member
        for _, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, BaseException)
    }

    assert found == set(TREE)
    assert {kind: kind.__bases__ for kind in found} == TREE


def test_names() -> None:
    """Every error is public, its name says that it is one, and the examples leave out none."""
    for kind in TREE:
        assert getattr(sieve_async, kind.__name__) is kind
        assert kind.__name__.endswith("Error")
    assert {type(error) for error in ERRORS} == set(TREE)


def test_messages() -> None:
    """The message says by itself what happened, to what, and how often it was tried."""
    for error, message in EXAMPLES:
        assert str(error).endswith(message)
        assert repr(error).startswith(type(error).__name__)


def test_errors_travel() -> None:
    """Pickled, copied and deeply copied, an error is what it was; each is equal to itself only."""
    for error in ERRORS:
        travelled = [pickle.loads(pickle.dumps(error, protocol)) for protocol in (0, 2, 5)]
        for other in (*travelled, copy.copy(error), copy.deepcopy(error)):
            assert error != other
            assert data(other) == data(error)
            assert (str(other), repr(other)) == (str(error), repr(error))
            assert list(map(data, other.args)) == list(map(data, error.args))


TRANSPORT_FIELDS = "reason method path attempts elapsed sent is_transient response_status"
RESPONSE_FIELDS = "reason method path status excerpt attempts elapsed"
API_FIELDS = "status detail error_id request_id retry_after method path attempts elapsed"
FIELDS: list[tuple[Any, str]] = [
    (TransportError, TRANSPORT_FIELDS),
    (ConnectError, f"{TRANSPORT_FIELDS} reused_connection"),
    (TLSError, f"{TRANSPORT_FIELDS} reused_connection is_certificate_error"),
    (ProxyError, f"{TRANSPORT_FIELDS} status"),
    (ResponseError, RESPONSE_FIELDS),
    (DecodeError, RESPONSE_FIELDS),
    (APIError, API_FIELDS),
    (UnprocessableEntityError, f"{API_FIELDS} problems"),
    (WaitTimeoutError, "target last polls elapsed last_error"),
    *((kind, "job") for kind in (JobFailedError, JobCancelledError, JobNotCancellableError)),
    (BuildFailedError, "version"),
    (AmbiguousPushError, "function inputs started_at accepted reason"),
    (DownloadError, "reason url status"),
]


def test_what_errors_hold() -> None:
    """An error holds all that a caller can use, under the documented names."""
    for kind, fields in FIELDS:
        assert [field.name for field in attrs.fields(kind)] == fields.split()


def test_reprs() -> None:
    """The repr of an error shows id and reason, short and printable, and not the whole job."""
    assert repr(JobFailedError(JOB)) == "JobFailedError(job j1 failed: KeyError: 'x')"
    assert repr(JobCancelledError(JOB)) == "JobCancelledError(job j1 was cancelled)"
    assert repr(BuildFailedError(VERSION)) == "BuildFailedError(the build of version v1 failed)"
    for text in ("x" * 100_000, "\x1b[31mred", "\ud800", "a?\n" * 10_000):
        error = JobFailedError(Job("j1", JobStatus.ERROR, error=text))

        assert len(repr(error)) < 400
        assert str(error).isprintable()
