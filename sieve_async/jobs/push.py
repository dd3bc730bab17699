"""Pushing: one POST on the wire, and a clear answer to whether a job may have started.

There is no idempotency key: a push that seemed to fail may have started a paid job. So it is sent
again only if it surely did not arrive (nothing was sent, or the server answered 429), and any other
failure is ambiguous unless the server said that it refused.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from sieve_async import endpoints
from sieve_async.background import loop_time
from sieve_async.config import ID
from sieve_async.converter import structure, unstructure
from sieve_async.decode import parse_object
from sieve_async.display import short_repr
from sieve_async.errors import (
    AmbiguousPushError,
    APIError,
    ClientClosedError,
    DecodeError,
    RateLimitError,
    ResponseError,
    SieveError,
    TransportError,
)
from sieve_async.jobs.inputs import PushArguments
from sieve_async.messages import Request, Response
from sieve_async.models import JobStatus
from sieve_async.redaction import redactor
from sieve_async.retry import ErrorAction, Retrier, classify

# What the API documents for pushes, and 403: no job was started.
_REJECTIONS = frozenset({400, 401, 402, 403, 404, 422})
_MAX_REMEMBERED = 100_000  # pushed jobs
_MIN_SECRET = 4  # characters: what is shorter stands everywhere


@attrs.frozen
class PushedJob:
    """A job as the answer to its push describes it.

    ``run_id``, ``organization_id``, ``model_id`` and ``workflow_id`` are the API's own ids;
    ``stream_output`` says whether outputs come while the job runs.
    """

    id: str
    run_id: str | None = None
    stream_output: bool | None = None
    status: JobStatus | None = None
    organization_id: str | None = None
    model_id: str | None = None
    workflow_id: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    __repr__ = short_repr

    def to_dict(self) -> dict[str, Any]:
        """The API's own document, ready for JSON; fields at their defaults are left out."""
        return unstructure(self)


class PushLog:
    """What this client has pushed and is pushing."""

    def __init__(self) -> None:
        self._pushed_at: dict[str, float] = {}  # by job id, oldest first
        self._in_flight: dict[int, PushArguments] = {}  # by identity

    def pushed_at(self, job_id: str) -> float | None:
        """When this client pushed a job, in the time of the loop; None if it did not."""
        return self._pushed_at.get(job_id)

    def start(self, arguments: PushArguments) -> None:
        """Record a push that begins."""
        self._in_flight[id(arguments)] = arguments

    def end(self, arguments: PushArguments) -> None:
        """Record the end of a push, however it ended."""
        del self._in_flight[id(arguments)]

    def record(self, job_id: str, now: float) -> None:
        """Record a job that was pushed."""
        self._pushed_at[job_id] = now
        while len(self._pushed_at) > _MAX_REMEMBERED:
            del self._pushed_at[next(iter(self._pushed_at))]

    def is_pushing(self, inputs: Mapping[str, Any]) -> bool:
        """Whether a push with equal inputs is in flight: a job that is found may be that one's."""
        return any(each.inputs == inputs for each in self._in_flight.values())


@attrs.frozen
class Pusher:
    """Sends the pushes of a client.

    Attributes:
        retrier: Sends the requests.
        log: Records what was pushed.
    """

    retrier: Retrier
    log: PushLog = attrs.field(factory=PushLog)

    async def push(self, arguments: PushArguments, deadline: float | None = None) -> PushedJob:
        """Start a job.

        Args:
            arguments: What to push.
            deadline: The time of the loop at which to give up.

        Raises:
            AmbiguousPushError: It failed after it may have reached the server.
            SieveError: It surely started no job.
        """
        self.log.start(arguments)
        try:
            pushed = await self._send(arguments, deadline)
            self.log.record(pushed.id, loop_time())
        finally:
            self.log.end(arguments)
        return pushed

    async def _send(self, arguments: PushArguments, deadline: float | None) -> PushedJob:
        hide = _hiding(arguments.env)
        started_at = datetime.now(UTC)  # of the last try
        is_ambiguous = False  # how it failed; there may have been no slot for another one

        def parse(request: Request[Any], response: Response) -> PushedJob:
            return _parse(request, attrs.evolve(response, redact=hide(response.redact)))

        def may_retry(error: SieveError) -> bool:
            nonlocal is_ambiguous, started_at
            is_ambiguous = _is_ambiguous(error)
            if is_ambiguous or classify(error) is not ErrorAction.RETRY:
                return False
            started_at = datetime.now(UTC)
            return True

        request = endpoints.push(arguments.body)
        try:
            return await self.retrier.call(request, parse, deadline=deadline, may_retry=may_retry)
        except SieveError as error:
            if not (is_ambiguous or (isinstance(error, ClientClosedError) and error.sent)):
                raise
            accepted, reason = _was_accepted(error), str(error)
        raise AmbiguousPushError(arguments.function, arguments.inputs, started_at, accepted, reason)


def _parse(request: Request[Any], response: Response) -> PushedJob:
    document = parse_object(request, response)
    found_id = document.get("id")
    if isinstance(found_id, str) and ID.fullmatch(found_id):
        return structure(document, PushedJob)
    raise DecodeError(
        "id is missing or no id", request.method, request.path, response.status, response.excerpt()
    )


def _is_ambiguous(error: SieveError) -> bool:
    """Whether a job may have started although the push failed."""
    match error:
        case APIError(status=status):
            return status not in _REJECTIONS and not isinstance(error, RateLimitError)
        case TransportError(sent=sent):
            return sent
        case ResponseError():
            return True
    return False


def _was_accepted(error: SieveError) -> bool:
    """Whether the server answered that it started a job."""
    match error:
        case ResponseError(status=status):
            return 200 <= status < 300
        case TransportError(response_status=int(status)):
            return 200 <= status < 300
    return False


def _hiding(values: tuple[str, ...]) -> Callable[[Callable[[str], str]], Callable[[str], str]]:
    """Extend a redaction by the values of environment variables: a server may send them back."""
    longest_first = sorted(values, key=len, reverse=True)  # one may be the beginning of another
    secrets = [redactor(value, "[env]") for value in longest_first if len(value) >= _MIN_SECRET]

    def extend(redact: Callable[[str], str]) -> Callable[[str], str]:
        def hide(text: str) -> str:
            for secret in secrets:
                text = secret(text)
            return redact(text)

        return hide

    return extend
