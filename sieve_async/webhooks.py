"""Webhook events: what the API posts when a job starts, puts something out, or is over."""

import json
from collections.abc import Mapping
from typing import Any

import attrs

from sieve_async.config import check_job_id
from sieve_async.converter import copy_json, is_document
from sieve_async.display import short_repr
from sieve_async.errors import InvalidArgumentError
from sieve_async.models import File, Job, JobStatus, Output
from sieve_async.values import files_of

_MAX_BODY_BYTES = 16 * 1024 * 1024
# What the API sent before it named its events as it does now.
_LEGACY_TYPES = {
    "job_start": "job.start",
    "job_complete": "job.complete",
    "job_complete_no_output": "job.complete.no_output",
    "job_new_output": "job.new_output",
    "new_output": "job.new_output",
}
_KNOWN = frozenset({"job_id", "status", "error", "outputs", "output"})


@attrs.frozen
class WebhookEvent:
    """One event about a job.

    Events are not signed: anybody who knows the URL can post one, and they arrive late, again, out
    of order or never. An event is a hint to poll the job now, and never a result.

    Attributes:
        type: ``job.start``, ``job.complete``, ``job.complete.no_output``, ``job.new_output``, or a
            word that was not documented when this version was made.
        job_id: The job.
        status: Its status as the event says it; None in ``job.new_output``.
        error: The job's own error text.
        outputs: All outputs, in ``job.start`` and ``job.complete``.
        output: The one new output of ``job.new_output``.
        extra: What else stood beside these.
        raw: The complete event as it came.
    """

    type: str
    job_id: str
    status: JobStatus | None = None
    error: str | None = None
    outputs: tuple[Output, ...] = attrs.field(default=(), hash=False)
    output: Output | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    raw: Mapping[str, Any] = attrs.field(factory=dict, hash=False, repr=False)

    __repr__ = short_repr

    @property
    def files(self) -> tuple[File, ...]:
        """Every file in the outputs, also where they are spelled as lists of Key and Value."""
        found = [*self.outputs, *(() if self.output is None else (self.output,))]
        return files_of(found, self.job_id)


def parse_webhook(body: bytes | str | Mapping[str, Any]) -> WebhookEvent:
    """Read the body of a webhook request.

    The event is a hint: poll the job (``client.nudge(event.job_id)``, ``client.get_job``) before
    you act on it. Nothing in it was checked against the API, and nothing is unpickled.

    Args:
        body: The body as it came, or the JSON object in it.

    Raises:
        InvalidArgumentError: It is no event: no JSON object, or without a type or a job id.
    """
    document = _parse(body)
    event_type, content = document.get("type"), document.get("body")
    if not isinstance(event_type, str) or not event_type:
        raise InvalidArgumentError("body must be a webhook event: its type must be a string")
    if not isinstance(content, Mapping):
        raise InvalidArgumentError("body must be a webhook event: its body must be an object")
    job_id = check_job_id(content.get("job_id"), "body: job_id")
    status = content.get("status")
    # The fields are those of a job, and are read as leniently.
    job = Job.from_dict(
        {key: content[key] for key in ("error", "outputs") if key in content}
        | {"id": job_id, "status": status if isinstance(status, str) else ""}
    )
    single = content.get("output")
    new = () if single is None else _outputs_of(single)
    extra = {key: value for key, value in content.items() if key not in _KNOWN}
    extra.update(job.extra)
    if status is not None and not isinstance(status, str):
        extra["status"] = status
    return WebhookEvent(
        _LEGACY_TYPES.get(event_type, event_type),
        job_id,
        job.status if isinstance(status, str) else None,
        job.error,
        job.outputs,
        new[0] if new else None,
        copy_json(extra),
        document,
    )


def _outputs_of(value: Any) -> tuple[Output, ...]:
    if isinstance(value, str):
        value = _output_in(value)
    return Job.from_dict({"id": "j", "status": "", "outputs": [value]}).outputs


def _output_in(text: str) -> Any:
    """The output whose JSON a text is, as the API describes it; else the text itself."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    parts = value if isinstance(value, list) else [value]
    return value if parts and all(each and is_document(each) for each in parts) else text


def _parse(body: object) -> Mapping[str, Any]:
    if isinstance(body, bytes | bytearray | memoryview | str):
        if len(body) > _MAX_BODY_BYTES:
            raise InvalidArgumentError(f"body must be at most {_MAX_BODY_BYTES} bytes")
        try:
            body = json.loads(bytes(body) if isinstance(body, memoryview) else body)
        except (ValueError, RecursionError):
            body = None
    if not isinstance(body, Mapping):
        raise InvalidArgumentError("body must be the JSON object of a webhook event")
    document: dict[str, Any] = copy_json(body)
    return document
