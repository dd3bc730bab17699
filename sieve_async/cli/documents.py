"""Values as JSON, with the names that the API gives them."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from sieve_async.errors import SieveError
from sieve_async.messages import shorten
from sieve_async.watching import JobOutcome


def json_of(value: object, *, indent: int | None = None) -> str:
    """A value as JSON in plain ASCII, which every terminal and every pipe can carry."""
    return json.dumps(document_of(value), indent=indent)


def document_of(value: object, *, is_whole: bool = True) -> object:
    """What JSON can hold.

    A model has all its fields; the models in it have those that say something, so that a function
    of which only the name is known does not fill a screen.
    """
    if isinstance(value, SieveError):  # errors are attrs classes as well
        return {"type": type(value).__name__, "message": shorten(str(value))}
    if isinstance(value, JobOutcome):
        return _document_of_outcome(value)
    if attrs.has(type(value)):
        return _document_of_model(value, is_whole=is_whole)
    if isinstance(value, Mapping):
        return {str(key): document_of(each, is_whole=False) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [document_of(each, is_whole=False) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _document_of_model(value: Any, *, is_whole: bool) -> dict[str, object]:
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    unknown = fields.pop("extra", {})
    known = {
        name: document_of(each, is_whole=False)
        for name, each in fields.items()
        if is_whole or name == "data" or each not in (None, (), {})
    }
    return known | {name: each for name, each in unknown.items() if name not in known}


def _document_of_outcome(outcome: JobOutcome) -> dict[str, object]:
    """An outcome; of a job that was not seen to its end, the state that was seen last."""
    job = outcome.job or getattr(outcome.error, "last", None)
    return {
        "job_id": outcome.job_id,
        "ok": outcome.ok,
        "status": None if job is None else str(job.status),
        "error": None if outcome.error is None else document_of(outcome.error),
        "job": None if job is None else document_of(job),
    }
