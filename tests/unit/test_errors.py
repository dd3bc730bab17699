"""Errors: one family, plain data, picklable, with messages that say what happened."""

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import attrs

import sieve_async
from sieve_async import BuildStatus, FunctionVersion, Job, JobStatus, errors

# The parents of each class.
BASES: dict[str, str] = {
    "Exception": "SieveError",
    "SieveError ValueError": "ConfigError InvalidArgumentError",
    "SieveError": "ClientClosedError TransportError ResponseError APIError JobFailedError "
    "JobCancelledError BuildFailedError JobRestartedError JobNotCancellableError "
    "AmbiguousPushError DownloadError WrongEventLoopError StateFileError",
    "TransportError": "ConnectError ProxyError",
    "ConnectError": "TLSError",
    "TransportError TimeoutError": "RequestTimeoutError",
    "ResponseError": "DecodeError ResponseTooLargeError RedirectError",
    "APIError": "BadRequestError AuthenticationError OutOfCreditsError PermissionDeniedError "
    "NotFoundError UnprocessableEntityError RateLimitError ServerError",
    "SieveError TimeoutError": "WaitTimeoutError",
    "DownloadError": "FileExpiredError",
    "StateFileError": "StateBusyError",
}
TREE = {name: bases for bases, names in BASES.items() for name in names.split()}

JOB = Job("j1", JobStatus.ERROR, error="Traceback (most recent call last):\n  ...\nKeyError: 'x'\n")
VERSION = FunctionVersion("v1", BuildStatus.ERROR)
LATE = errors.NotFoundError(404, "gone", method="GET", path="/v2/jobs/j1")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TRIED = ("GET", "/v2/jobs/j1")

# Errors with every field set, and what their messages say.
EXAMPLES: list[tuple[errors.SieveError, str]] = [
    (errors.SieveError("anything"), "anything"),
    (errors.ConfigError("no API key"), "no API key"),
    (errors.InvalidArgumentError("offset must be positive"), "offset must be positive"),
    (errors.ClientClosedError(), "the client is closed"),
    (errors.ClientClosedError("it belongs to another loop"), "it belongs to another loop"),
    (
        errors.TransportError("reset", *TRIED, 3, 4.25),
        "GET /v2/jobs/j1: reset (3 attempts in 4.2 s)",
    ),
    (
        errors.ConnectError("refused", *TRIED, 1, 0.5, reused_connection=True),
        "GET /v2/jobs/j1: refused",
    ),
    (errors.TLSError("expired", *TRIED), "GET /v2/jobs/j1: expired"),
    (errors.RequestTimeoutError("too slow", *TRIED), "GET /v2/jobs/j1: too slow"),
    (
        errors.ResponseError("cut off", *TRIED, 200, "{", 1, 2.0),
        "GET /v2/jobs/j1: HTTP 200, cut off",
    ),
    (errors.DecodeError("not JSON", *TRIED, 200, "<html>"), "GET /v2/jobs/j1: HTTP 200, not JSON"),
    (
        errors.DecodeError("id is missing", *TRIED, 200, "{}", 2, 3.0),
        "GET /v2/jobs/j1: HTTP 200, id is missing (2 attempts in 3.0 s)",
    ),
    (
        errors.ResponseTooLargeError("too large", *TRIED, 200),
        "GET /v2/jobs/j1: HTTP 200, too large",
    ),
    (errors.RedirectError("sent on", *TRIED, 302), "GET /v2/jobs/j1: HTTP 302, sent on"),
    (errors.APIError(400), "HTTP 400"),
    (LATE, "GET /v2/jobs/j1: HTTP 404: gone"),
    (
        errors.RateLimitError(429, "slow down", None, "r-1", 7.5, *TRIED, 3, 9.0),
        "GET /v2/jobs/j1: HTTP 429: slow down (retry after 7.5 s) (3 attempts in 9.0 s)",
    ),
    (
        errors.ServerError(500, "", "e-1", None, None, *TRIED),
        "GET /v2/jobs/j1: HTTP 500 (error id e-1)",
    ),
    (errors.UnprocessableEntityError(422, "no", problems=("a: no",)), "HTTP 422: no"),
    *((errors.api_error_class(n)(n, "no"), f"HTTP {n}: no") for n in (400, 401, 402, 403)),
    (
        errors.WaitTimeoutError("j1", Job("j1", JobStatus("queued")), 12, 60.04),
        "job j1: timed out after 60.0 s and 12 polls (last status: queued)",
    ),
    (
        errors.WaitTimeoutError("j1", None, 1, 0.0, LATE),
        f"job j1: timed out after 0.0 s and 1 poll (last status: unknown); last error: {LATE}",
    ),
    (
        errors.WaitTimeoutError("sieve/dubbing:latest", VERSION, 2, 1.0),
        "version sieve/dubbing:latest: timed out after 1.0 s and 2 polls (last status: error)",
    ),
    (
        errors.WaitTimeoutError("sieve/dubbing:latest", None, 2, 1.0),
        "version sieve/dubbing:latest: timed out after 1.0 s and 2 polls (last status: unknown)",
    ),
    (errors.JobFailedError(JOB), "job j1 failed: KeyError: 'x'"),
    (errors.JobFailedError(Job("j1", JobStatus.ERROR)), "job j1 failed: no error text was given"),
    (
        errors.JobFailedError(Job("j1", JobStatus.ERROR, error="\n ")),
        "failed: no error text was given",
    ),
    (
        errors.JobFailedError(Job("j1", JobStatus.ERROR, extra={"error": {"code": 7}})),
        "job j1 failed: {'code': 7}",
    ),
    (errors.JobCancelledError(JOB), "job j1 was cancelled"),
    (
        errors.JobNotCancellableError(Job("j1", JobStatus.QUEUED)),
        "j1 cannot be cancelled (status: queued)",
    ),
    (
        errors.AmbiguousPushError("o/f", {"a": 1}, NOON, accepted=False, reason="reset"),
        "push to o/f may have started a job: it failed: reset",
    ),
    (
        errors.AmbiguousPushError("o/f", {"a": 1}, NOON, accepted=True, reason="cut off"),
        "push to o/f was accepted, but its answer failed: cut off",
    ),
    (errors.DownloadError("reset", "https://h/a.mp4"), "download of https://h/a.mp4: reset"),
    (errors.DownloadError("/a: Not a directory"), "download: /a: Not a directory"),
    (
        errors.FileExpiredError("expired", "https://h/a.mp4", 403),
        "download of https://h/a.mp4: expired",
    ),
    (errors.ProxyError("the proxy answered 407", *TRIED, status=407), "the proxy answered 407"),
    (errors.WrongEventLoopError("another loop"), "another loop"),
    (errors.StateFileError("a.db", "is damaged"), "state file a.db: is damaged"),
    (errors.StateBusyError("a.db", "is in use"), "state file a.db: is in use"),
    (errors.BuildFailedError(VERSION), "the build of version v1 failed"),
    (
        errors.JobRestartedError("j1", "j1-r2"),
        "job j1 restarted as run j1-r2: its outputs start over",
    ),
]
ERRORS = [error for error, _ in EXAMPLES]


def data(value: object) -> object:
    """What an error is and holds, errors in it too; two errors themselves are never equal."""
    if not isinstance(value, errors.SieveError):
        return value
    return type(value), {name: data(held) for name, held in vars(value).items()}


def test_the_tree() -> None:
    """There are exactly the documented classes, public, each with its documented parents."""
    found = {
        name: " ".join(base.__name__ for base in value.__bases__)
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    assert found == TREE
    for name in TREE:
        assert getattr(sieve_async, name) is getattr(errors, name)
        assert name.endswith("Error")
    assert {type(error).__name__ for error in ERRORS} == set(TREE)


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
    (errors.TransportError, TRANSPORT_FIELDS),
    (errors.ConnectError, f"{TRANSPORT_FIELDS} reused_connection"),
    (errors.TLSError, f"{TRANSPORT_FIELDS} reused_connection is_certificate_error"),
    (errors.ProxyError, f"{TRANSPORT_FIELDS} status"),
    (errors.ResponseError, RESPONSE_FIELDS),
    (errors.DecodeError, RESPONSE_FIELDS),
    (errors.APIError, API_FIELDS),
    (errors.UnprocessableEntityError, f"{API_FIELDS} problems"),
    (errors.WaitTimeoutError, "target last polls elapsed last_error"),
    *(
        (kind, "job")
        for kind in (errors.JobFailedError, errors.JobCancelledError, errors.JobNotCancellableError)
    ),
    (errors.BuildFailedError, "version"),
    (errors.AmbiguousPushError, "function inputs started_at accepted reason"),
    (errors.DownloadError, "reason url status"),
]


def test_what_errors_hold() -> None:
    """An error holds all that a caller can use, under the documented names."""
    for kind, fields in FIELDS:
        assert [field.name for field in attrs.fields(kind)] == fields.split()


def test_reprs() -> None:
    """The repr of an error shows id and reason, short and printable, and not the whole job."""
    assert repr(errors.JobFailedError(JOB)) == "JobFailedError(job j1 failed: KeyError: 'x')"
    assert repr(errors.JobCancelledError(JOB)) == "JobCancelledError(job j1 was cancelled)"
    assert (
        repr(errors.BuildFailedError(VERSION)) == "BuildFailedError(the build of version v1 failed)"
    )
    for text in ("x" * 100_000, "\x1b[31mred", "\ud800", "a?\n" * 10_000):
        error = errors.JobFailedError(Job("j1", JobStatus.ERROR, error=text))
        assert len(repr(error)) < 400
        assert str(error).isprintable()
