"""Every exception of the package.

::

    SieveError
    ├── ConfigError (ValueError)              invalid settings, raised where they are made
    ├── InvalidArgumentError (ValueError)     an invalid argument, raised before any socket
    ├── ClientClosedError                     used after close
    ├── WrongEventLoopError                   another loop or process, client or session
    ├── TransportError                        no usable HTTP answer
    │   ├── ConnectError                      refused, reset, unreachable, DNS
    │   │   └── TLSError                      certificate or handshake
    │   ├── ProxyError                        the proxy refused
    │   └── RequestTimeoutError (TimeoutError)
    ├── ResponseError                         an answer that cannot be used
    │   ├── DecodeError                       not JSON, or no id or status
    │   ├── ResponseTooLargeError
    │   └── RedirectError
    ├── APIError                              the server answered with an error
    │   ├── BadRequestError                   400 and other 4xx
    │   ├── AuthenticationError               401
    │   ├── OutOfCreditsError                 402
    │   ├── PermissionDeniedError             403
    │   ├── NotFoundError                     404
    │   ├── UnprocessableEntityError          422
    │   ├── RateLimitError                    429
    │   └── ServerError                       5xx
    ├── WaitTimeoutError (TimeoutError)       the deadline of a wait came first
    ├── JobFailedError, JobCancelledError, BuildFailedError
    ├── JobRestartedError                     outputs of a stream start over
    ├── JobNotCancellableError                the job is not running
    ├── AmbiguousPushError                    the push may have started a paid job
    ├── DownloadError
    │   └── FileExpiredError
    └── StateFileError                        a state file that cannot be used
        └── StateBusyError                    another process has it open

Errors are plain data: positional attrs fields, so that they pickle and copy. No error holds an
object of the libraries below, and the API key is redacted from whatever a server sent back.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from sieve_async.display import error_text, last_line, shorten

if TYPE_CHECKING:  # models raise these errors, so at run time they come later
    from sieve_async.models import FunctionVersion, Job


def _short_repr(error: BaseException) -> str:
    """The class and the text: a job may be long."""
    return f"{type(error).__name__}({error!s:.300})"


def _tries(error: Any) -> str:
    return f" ({error.attempts} attempts in {error.elapsed:.1f} s)" if error.attempts > 1 else ""


class SieveError(Exception):
    """Anything that this package raises on purpose."""


@attrs.define(slots=False)
class ConfigError(SieveError, ValueError):
    """A setting that cannot work: the key, the base URL, or a value of a settings object."""

    reason: str


@attrs.define(slots=False)
class InvalidArgumentError(SieveError, ValueError):
    """An argument that cannot be right; raised before anything is sent."""

    reason: str


@attrs.define(slots=False)
class ClientClosedError(SieveError):
    """The client or its session was closed before or during the call.

    Attributes:
        reason: What was closed, and when.
        sent: Whether a request was in flight that may have reached the server.
    """

    reason: str = "the client is closed"
    sent: bool = False

    def __str__(self) -> str:
        return self.reason


@attrs.define(slots=False)
class WrongEventLoopError(SieveError):
    """The client, or the session passed to it, belongs to another event loop or process."""

    reason: str


@attrs.define(slots=False)
class TransportError(SieveError):
    """No usable HTTP answer came.

    Attributes:
        reason: What happened, in one phrase.
        method: The HTTP method of the request.
        path: The path that was asked for, without its query.
        attempts: How many requests went out for this call.
        elapsed: Seconds from the call to this error, queueing for a slot included.
        sent: Whether the request may have reached the server. False only if it surely did not.
        is_transient: Whether a later attempt may succeed. False where it cannot: a certificate that
            is not trusted, a proxy that refuses, a limit of the HTTP parser, an unexpected error
            out of a hook, resolver or connector.
        response_status: The HTTP status, if the headers of an answer had come.
    """

    reason: str
    method: str = ""
    path: str = ""
    attempts: int = 1
    elapsed: float = 0.0
    sent: bool = True
    is_transient: bool = True
    response_status: int | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}: {self.reason}{_tries(self)}"


@attrs.define(slots=False)
class ConnectError(TransportError):
    """The server could not be reached, or the connection broke before any answer.

    Attributes:
        reused_connection: Whether it was a kept connection that had served before: servers close
            those when they please.
    """

    reused_connection: bool = False


@attrs.define(slots=False)
class TLSError(ConnectError):
    """The TLS handshake failed, or a TLS record was damaged.

    Attributes:
        is_certificate_error: The server's certificate is not trusted. Only this is never retried.
    """

    is_certificate_error: bool = False


@attrs.define(slots=False)
class ProxyError(TransportError):
    """The proxy refused the connection.

    Attributes:
        status: The HTTP status of the proxy's answer; None when it gave none. 4xx is not retried.
    """

    status: int | None = None


class RequestTimeoutError(TransportError, TimeoutError):
    """One request took longer than ``Timeout.request`` or ``Timeout.connect`` allows.

    Not the end of a wait: that is :class:`WaitTimeoutError`.
    """


@attrs.define(slots=False)
class ResponseError(SieveError):
    """An answer came that cannot be used.

    Attributes:
        reason: What is wrong with it, in one phrase.
        method: The HTTP method of the request.
        path: The path that was asked for, without its query.
        status: The HTTP status of the answer.
        excerpt: The beginning of the body, the API key and URL queries redacted.
        attempts: How many requests went out for this call.
        elapsed: Seconds from the call to this error, queueing for a slot included.
    """

    reason: str
    method: str = ""
    path: str = ""
    status: int = 0
    excerpt: str = ""
    attempts: int = 1
    elapsed: float = 0.0

    def __str__(self) -> str:
        return f"{self.method} {self.path}: HTTP {self.status}, {self.reason}{_tries(self)}"


class DecodeError(ResponseError):
    """The body is no JSON object, or its id or status cannot be read."""


class ResponseTooLargeError(ResponseError):
    """The body exceeds ``Limits.max_response_bytes``."""


class RedirectError(ResponseError):
    """The server sent us elsewhere; redirects are never followed, for the key would go along."""


@attrs.define(slots=False)
class APIError(SieveError):
    """The server answered with an error.

    Attributes:
        status: The HTTP status.
        detail: The server's own text; empty when it gave none.
        error_id: What a 5xx answer asks to quote to support.
        request_id: The ``X-Request-Id`` header, when there was one.
        retry_after: Seconds that the server asked us to wait, when it did.
        method: The HTTP method of the request.
        path: The path that was asked for, without its query.
        attempts: How many requests went out for this call.
        elapsed: Seconds from the call to this error, queueing for a slot included.
    """

    status: int
    detail: str = ""
    error_id: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    method: str = ""
    path: str = ""
    attempts: int = 1
    elapsed: float = 0.0

    def __str__(self) -> str:
        said = f": {' '.join(self.detail.split())}" if self.detail else ""
        later = f" (retry after {self.retry_after:g} s)" if self.retry_after is not None else ""
        quote = f" (error id {self.error_id})" if self.error_id is not None else ""
        return f"{self.method} {self.path}: HTTP {self.status}{said}{later}{quote}{_tries(self)}"


class BadRequestError(APIError):
    """400, or another 4xx that has no class of its own."""


class AuthenticationError(APIError):
    """401: the API key is wrong or was revoked."""


class OutOfCreditsError(APIError):
    """402: the organisation has no credits left."""


class PermissionDeniedError(APIError):
    """403: the key may not see this."""


class NotFoundError(APIError):
    """404: there is no such job, function or version, or this key cannot see it."""


@attrs.define(slots=False)
class UnprocessableEntityError(APIError):
    """422: the server refused an argument.

    Attributes:
        problems: One line for each refused argument, with its place.
    """

    problems: tuple[str, ...] = ()


class RateLimitError(APIError):
    """429: too many requests."""


class ServerError(APIError):
    """5xx: the server or a proxy before it failed."""


@attrs.define(slots=False)
class WaitTimeoutError(SieveError, TimeoutError):
    """The deadline of a wait came first; the remote job or build continues.

    Attributes:
        target: What was waited for: a job id, or ``owner/name:slug`` of a function version.
        last: The last valid state; None when none was seen.
        polls: How many polls were made.
        elapsed: Seconds from the start of the wait.
        last_error: The last failure among the polls; None when all succeeded.
    """

    target: str
    last: "Job | FunctionVersion | None" = attrs.field(repr=False)
    polls: int
    elapsed: float
    last_error: SieveError | None = None

    def __str__(self) -> str:
        kind = "version" if ":" in self.target else "job"
        polls = "1 poll" if self.polls == 1 else f"{self.polls} polls"
        status = f"last status: {shorten(self.last_status or 'unknown')}"
        last_error = "" if self.last_error is None else f"; last error: {self.last_error}"
        after = f"timed out after {self.elapsed:.1f} s and {polls} ({status})"
        return f"{kind} {self.target}: {after}{last_error}"

    @property
    def last_status(self) -> str | None:
        """The last status word that was seen; None when none was."""
        if self.last is None:
            return None
        return str(getattr(self.last, "status", None) or getattr(self.last, "build_status", ""))


@attrs.define(slots=False)
class JobFailedError(SieveError):
    """The job ended in error; ``job.error`` is the job's own text."""

    job: "Job"

    def __str__(self) -> str:
        text = last_line(error_text(self.job))
        return f"job {self.job.id} failed: {text or 'no error text was given'}"

    __repr__ = _short_repr


@attrs.define(slots=False)
class JobCancelledError(SieveError):
    """The job was cancelled on the server."""

    job: "Job"

    def __str__(self) -> str:
        return f"job {self.job.id} was cancelled"

    __repr__ = _short_repr


@attrs.define(slots=False)
class BuildFailedError(SieveError):
    """The build of a function version ended in error."""

    version: "FunctionVersion"

    def __str__(self) -> str:
        return f"the build of version {self.version.id} failed"

    __repr__ = _short_repr


@attrs.define(slots=False)
class JobRestartedError(SieveError):
    """The job restarted, so its outputs start over; raised by ``stream_outputs`` only.

    Attributes:
        job_id: The job.
        run_id: Its new run; None where the API did not name it.
    """

    job_id: str
    run_id: str | None

    def __str__(self) -> str:
        run = "" if self.run_id is None else f" as run {self.run_id}"
        return f"job {self.job_id} restarted{run}: its outputs start over"


@attrs.define(slots=False)
class JobNotCancellableError(SieveError):
    """The server refused to cancel a job that has not ended.

    Attributes:
        job: The job as it was looked up after the rejection.
    """

    job: "Job"

    def __str__(self) -> str:
        return f"job {self.job.id} cannot be cancelled (status: {shorten(self.job.status)})"

    __repr__ = _short_repr


@attrs.define(slots=False)
class AmbiguousPushError(SieveError):
    """A push failed after it may have reached the server: a paid job may have started.

    Do not push again before ``SieveClient.find_pushed(error)`` has looked for that job.

    Attributes:
        function: The function that was pushed, ``owner/name`` or ``owner/name:version``.
        inputs: The inputs of the push.
        started_at: When the push began (UTC).
        accepted: Whether the server accepted the push (a 2xx answer that could not be read).
        reason: What failed.
    """

    function: str
    inputs: Mapping[str, Any] = attrs.field(repr=False)
    started_at: datetime
    accepted: bool
    reason: str

    def __str__(self) -> str:
        state = "was accepted, but its answer" if self.accepted else "may have started a job: it"
        return f"push to {self.function} {state} failed: {self.reason}"


@attrs.define(slots=False)
class DownloadError(SieveError):
    """A file could not be downloaded.

    Attributes:
        reason: What failed.
        url: The URL without its query.
        status: The HTTP status of the storage host's answer, if that was the reason.
    """

    reason: str
    url: str = ""
    status: int | None = None

    def __str__(self) -> str:
        return f"download{self.url and f' of {self.url}'}: {self.reason}"


class FileExpiredError(DownloadError):
    """The signed URL of the file has expired, and the API gave no fresh one."""


@attrs.define(slots=False)
class StateFileError(SieveError):
    """A state file cannot be used: damaged, not ours, of a later version, a full disk.

    Attributes:
        path: The file.
        reason: What is wrong, in one phrase.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"state file {self.path}: {self.reason}"


class StateBusyError(StateFileError):
    """Another process, or another watch of this one, uses the state file."""


def api_error_class(status: int) -> type[APIError]:
    """The class for an error status; 4xx without a class of its own is a bad request."""
    if status >= 500:
        return ServerError
    return _BY_STATUS.get(status, BadRequestError)


_BY_STATUS: Mapping[int, type[APIError]] = {
    401: AuthenticationError,
    402: OutOfCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}
