"""Values as the commands show them: status words, files, JSON documents."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from sieve_async.errors import SieveError
from sieve_async.messages import shorten
from sieve_async.models import Job
from sieve_async.watching import JobOutcome


def status_of(outcome: JobOutcome) -> str:
    """The job's status, or the class of the error."""
    return type(outcome.error).__name__ if outcome.job is None else str(outcome.job.status)


def file_urls(job: Job) -> list[str]:
    """The URLs of the job's files."""
    return [str(file["url"]) for file in job.files()]


def to_document(value: object) -> object:
    """What JSON can hold."""
    if isinstance(value, SieveError):
        return {"type": type(value).__name__, "message": shorten(str(value))}
    if isinstance(value, JobOutcome):
        job = value.job or getattr(value.error, "last", None)
        return {
            "job_id": value.job_id,
            "ok": value.ok,
            "status": status_of(value),
            "error": None if value.error is None else to_document(value.error),
            "job": None if job is None else to_document(job),
        }
    if attrs.has(type(value)):
        return _model(value)
    if isinstance(value, Mapping):
        return {str(key): to_document(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_document(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _model(value: Any) -> dict[str, object]:
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    unknown = fields.pop("extra", {})
    known = {name: to_document(each) for name, each in fields.items() if each not in (None, (), {})}
    return known | {name: each for name, each in unknown.items() if name not in known}
