"""How the wait for one of many jobs ended: ``JobOutcome``, and lists of them."""

import copy
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self

import attrs

from sieve_async import errors
from sieve_async.converter import copy_json
from sieve_async.display import outcomes_html, short_repr, shorten
from sieve_async.errors import (
    BadRequestError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    SieveError,
    UnprocessableEntityError,
)
from sieve_async.models import FunctionVersion, Job

# Errors that say something about the job itself, not about this watch.
_FINAL_ERRORS = (
    BadRequestError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnprocessableEntityError,
)
_TRANSIENT_STATUSES = frozenset({408, 421, 425})  # these have no class but BadRequestError


def _own_copy(error: SieveError | None) -> SieveError | None:
    """Raising an error adds to its traceback, so no two outcomes share one."""
    return copy.copy(error)


def _comparable(error: SieveError | None) -> dict[str, Any] | None:
    """Exceptions are equal by identity only; outcomes compare what their errors hold."""
    return None if error is None else error_to_dict(error)


@attrs.frozen
class JobOutcome:
    """How the wait for one of many jobs ended: with the job, or with an error.

    ``job`` is None unless the job is over. It is annotated ``Job | Any`` so that type checkers
    allow ``outcome.job.data`` after ``if outcome.ok`` without another check, and still know the
    attributes of a job.

    Attributes:
        job_id: The id that was asked for; as text, should it not have been one.
        job: The job as it ended, whatever its status; None when its end was not seen.
        error: Why its end was not seen; the outcome's own copy.
        polls: How many polls this watch made for the job.
        elapsed: Seconds from the moment the watch took the id.
        age: Seconds since the outcome was stored, when a state file hands it out again; else 0.
            Signed file URLs in it expire 48 hours after they were made.
    """

    job_id: str
    job: Job | Any = None
    error: SieveError | None = attrs.field(
        default=None, converter=_own_copy, eq=_comparable, hash=False
    )
    polls: int = 0
    elapsed: float = 0.0
    age: float = attrs.field(default=0.0, eq=False)

    __repr__ = short_repr

    def _repr_html_(self) -> str:
        return outcomes_html([self])

    @property
    def ok(self) -> bool:
        """Whether the job finished: then there is a ``job``."""
        return self.job is not None and self.error is None and bool(self.job.succeeded)

    @property
    def status(self) -> str:
        """One word for every end: the status of the job, or the class of the error."""
        if self.error is not None:
            return type(self.error).__name__
        return "unknown" if self.job is None else str(self.job.status)

    @property
    def is_final(self) -> bool:
        """Whether this says something about the job, and not only about this watch.

        False for a deadline, a closed client, 401, 402, 429, 5xx and the network: the job may
        still run, and another watch may see its end.
        """
        if self.error is None:
            return self.job is not None and bool(self.job.is_terminal)
        status = getattr(self.error, "status", None)
        return isinstance(self.error, _FINAL_ERRORS) and status not in _TRANSIENT_STATUSES

    def result(self) -> Job:
        """Return the job, if it finished.

        Raises:
            JobFailedError: It ended in error.
            JobCancelledError: It was cancelled.
            SieveError: ``error``, when its end was not seen.
        """
        if self.error is not None:
            raise self.error.with_traceback(None)
        if not self.is_final:
            raise SieveError(f"job {self.job_id}: its end was not seen (status: {self.status})")
        job: Job = self.job
        return job.raise_for_status()

    def to_dict(self) -> dict[str, Any]:
        """This outcome, ready for JSON: the job as its own document, the error by its class."""
        return {
            "job_id": self.job_id,
            "ok": self.ok,
            "status": self.status,
            "job": None if self.job is None else self.job.to_dict(),
            "error": None if self.error is None else error_to_dict(self.error),
            "polls": self.polls,
            "elapsed": self.elapsed,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` gives.

        Raises:
            InvalidArgumentError: It is not the document of an outcome.
        """
        try:
            job, error = document.get("job"), document.get("error")
            return cls(
                _checked(document, "job_id", str),
                None if job is None else Job.from_dict(job),
                None if error is None else error_from_dict(error),
                _checked(document, "polls", int, 0),
                _checked(document, "elapsed", float, 0.0),
            )
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            reason = f"document must be that of a JobOutcome: {error}"
        raise InvalidArgumentError(reason)


class OutcomeList(list[JobOutcome]):
    """A list of outcomes that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return outcomes_html(self)


def _checked(document: Mapping[str, Any], name: str, kind: type, default: object = None) -> Any:
    """One value of the document of an outcome, whose type must be right."""
    value = document.get(name, default)
    if kind is float and value.__class__ is int:
        value = float(value)
    if value.__class__ is not kind:
        raise TypeError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")
    return value


def error_to_dict(error: SieveError) -> dict[str, Any]:
    """An error, ready for JSON: its class, its text and its fields."""
    document: dict[str, Any] = {"type": type(error).__name__, "message": shorten(str(error))}
    kind: Any = type(error)
    for field in attrs.fields(kind) if attrs.has(kind) else ():
        document[field.name] = _field_to_json(getattr(error, field.name))
    return document


def error_from_dict(document: Mapping[str, Any]) -> SieveError:
    """Read what ``error_to_dict`` gives; an unknown class becomes a plain ``SieveError``."""
    cls = getattr(errors, str(document.get("type")), None)
    if not (isinstance(cls, type) and issubclass(cls, SieveError) and attrs.has(cls)):
        return SieveError(document.get("message", ""))
    # Ids have no colon; the target of a version is "owner/name:slug".
    last = FunctionVersion if ":" in str(document.get("target")) else Job
    readers = {**_READERS, "last": last.from_dict}
    fields = {}
    for name in {field.name for field in attrs.fields(cls)} & document.keys():
        value = document[name]
        fields[name] = None if value is None else readers.get(name, copy_json)(value)
    build: Any = cls
    error: SieveError = build(**fields)
    return error


# By the name of a field; all others are read as they are.
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "job": Job.from_dict,
    "version": FunctionVersion.from_dict,
    "last_error": error_from_dict,
    "started_at": datetime.fromisoformat,
    "problems": tuple,
}


def _field_to_json(value: Any) -> Any:
    if isinstance(value, SieveError):
        return error_to_dict(value)
    if isinstance(value, Job | FunctionVersion):
        return value.to_dict()
    return value.isoformat() if isinstance(value, datetime) else copy_json(value)
