"""Invalid arguments of the fake server are refused where they are given."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from helpers.http_helpers import Document
from sieve_async.testing import FakeSieve

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MANUAL = 'is not for by="manual"'
# The method, its arguments, and the error.
INVALID: list[tuple[str, Document, str]] = [
    ("add_job", {"status": "done"}, "status must be one of 'finished', .*, None, not 'done'"),
    ("add_job", {"by": "moon"}, "by must be one of 'time', 'polls'"),
    ("add_job", {"processing": math.nan}, "processing must be zero or more"),
    ("add_job", {"processing": 1.5, "by": "polls"}, "processing counts polls and must be a whole"),
    ("add_job", {"function": "a/b/c"}, "function must be 'owner/name', not 'a/b/c'"),
    ("add_job", {"outputs": [object()]}, "an output cannot be written as JSON"),
    ("add_job", {"outputs": "text"}, "outputs must be a list of outputs, not 'text'"),
    ("add_job", {"outputs": {"url": "u"}}, "outputs must be a list of outputs"),
    ("add_job", {"inputs": {"x": math.nan}}, "x cannot be written as JSON"),
    ("add_job", {"job_id": "taken"}, "there is a job 'taken' already"),
    ("add_job", {"by": "manual", "queued": 1}, f"queued {MANUAL}"),
    ("add_jobs", {"count": -1}, "count must be zero or more, not -1"),
    ("add_jobs", {"count": 9, "error_rate": 0.6, "cancel_rate": 0.6}, "rates must be from 0 to 1"),
    ("job", {"job_id": "none"}, "there is no job 'none'"),
    ("remove_job", {"job_id": "none"}, "there is no job 'none'"),
    ("add_version", {"status": "finished"}, "status must be one of 'ready', 'error', None"),
    ("add_version", {"pushing": -1}, "pushing must be zero or more"),
    ("add_version", {"function_name": ""}, "function must be 'owner/name'"),
    ("add_version", {"version_id": "taken"}, "there is a version 'taken' already"),
    ("script_function", {"function": "mine"}, "function must be 'owner/name'"),
    ("script_function", {"function": "a/b", "queued": -1}, "queued must be zero or more"),
    ("script_function", {"function": "a/b", "by": "manual", "outputs": [1]}, f"outputs {MANUAL}"),
    ("script_function", {"function": "a/b", "by": "manual", "outputs": list}, f"outputs {MANUAL}"),
    ("script_function", {"function": "a/b", "outputs": "text"}, "outputs must be a list"),
    ("add_file", {"name": ".."}, "name must be a file name"),
    ("add_file", {"name": "a?b"}, "name must be a file name"),
    ("add_file", {"name": "a", "expires_at": NOW, "expires_in": 1}, "exclude each other"),
    ("add_file", {"name": "a", "expires_at": NOW.replace(tzinfo=None)}, "aware datetime"),
    ("add_file", {"name": "a", "expires_in": math.inf}, "expires_in must be seconds"),
    ("add_file", {"name": "a", "expires_in": math.nan}, "expires_in must be seconds"),
    ("add_file", {"name": "a", "etag": '"a\n"'}, "must be text of one line"),
    ("add_file", {"name": "a", "content_type": "a\r\nX: y"}, "must be text of one line"),
    ("fault", {"times": 3, "job": "j", "as_date": True}, "a fault must do something"),
    ("fault", {"takes_effect": True}, "a fault must do something"),
    ("fault", {"status": 99}, "status must be from 200 to 999, not 99"),
    ("fault", {"drop": "late"}, "drop must be one of 'before', 'after', 'headers', 'body', None"),
    ("fault", {"takes_effect": True, "drop": "before"}, 'use drop="after"'),
    ("fault", {"delay": -1}, "delay must be zero or more"),
    ("fault", {"slow_body": math.nan}, "slow_body must be zero or more"),
    ("fault", {"retry_after": -0.5}, "retry_after must be zero or more"),
    ("fault", {"retry_after": math.inf}, "retry_after must be at most"),
    ("fault", {"status": 500, "times": 0}, "times must be one or more"),
    ("fault", {"status": 500, "probability": 1.5}, "probability must be from 0 to 1"),
    ("fault", {"body": [object()]}, "body cannot be written as JSON"),
    ("fault", {"fields": {"x": math.inf}}, "x cannot be written as JSON"),
    ("fault", {"headers": {"X": "a\r\nX-Other: b"}}, "must be text of one line"),
    ("webhook_fault", {}, "a fault must do something"),
    ("webhook_fault", {"delay": -1}, "delay must be zero or more"),
    ("webhook_fault", {"repeats": -1}, "repeats must be zero or more"),
    ("advance", {"seconds": -1}, "seconds must be zero or more"),
    ("__init__", {"speed": 0}, "speed must be a positive number, not 0"),
    ("__init__", {"port": 70_000}, "port must be from 0 to 65535"),
    ("__init__", {"max_await": math.nan}, "max_await must be zero or more"),
]
DEFAULTS: dict[str, Document] = {
    "add_version": {"owner_name": "me", "function_name": "mine"},
    "add_file": {"content": b""},
}


@pytest.mark.parametrize(("method", "arguments", "error"), INVALID)
def test_invalid_arguments(method: str, arguments: Document, error: str) -> None:
    """The error names the argument, and what is accepted."""
    sieve = FakeSieve(port=1, clock="manual")
    sieve.add_job("taken")
    sieve.add_version("me", "mine", "taken")
    call: Any = getattr(sieve, method)
    with pytest.raises(ValueError, match=error):
        call(**DEFAULTS.get(method, {}) | arguments)


def test_clock_that_runs_by_itself() -> None:
    """Only a manual clock can be advanced."""
    with pytest.raises(RuntimeError, match="the clock runs by itself"):
        FakeSieve().advance(1)
