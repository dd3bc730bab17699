"""What the API talks about: immutable values, free of HTTP.

The fields are the API's own, all of them; the documents are *Get Job* and *Get Function Version*
of Sieve's API reference. A field that an answer lacks has its default. Keys that we do not know,
and values that do not fit their field, are kept in ``extra``.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

import attrs

from sieve_async.converter import FieldError, copy_json, structure, unstructure
from sieve_async.display import job_html, job_text, short_repr, version_html, version_text
from sieve_async.errors import (
    BuildFailedError,
    InvalidArgumentError,
    JobCancelledError,
    JobFailedError,
)
from sieve_async.values import BuildStatus, File, InputOutput, JobStatus, Output, files_of

__all__ = [
    "BuildStatus",
    "EnvironmentVariable",
    "File",
    "Function",
    "FunctionVersion",
    "InputOutput",
    "Job",
    "JobStatus",
    "Output",
    "Restart",
    "Webhook",
    "WorkerCounts",
]

_Value = TypeVar("_Value")


def _job_status(word: str) -> JobStatus:
    return word if word.__class__ is JobStatus else JobStatus(word)


def _build_status(word: str) -> BuildStatus:
    return word if word.__class__ is BuildStatus else BuildStatus(word)


@attrs.frozen
class Restart:
    """One restart of a job; ``type`` is preemption, OOM or error."""

    timestamp: datetime | None = None
    reason: str | None = None
    type: str | None = None
    run_id: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    __repr__ = short_repr


@attrs.frozen
class WorkerCounts:
    """How many workers of a version are in which state."""

    starting: int | None = None
    setup: int | None = None
    active: int | None = None
    idle: int | None = None
    awaiting_resources: int | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    __repr__ = short_repr


@attrs.frozen
class EnvironmentVariable:
    """An environment variable that a version takes."""

    name: str | None = None
    description: str | None = None
    default: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    __repr__ = short_repr


@attrs.frozen
class Webhook:
    """Where the API reports events of one type, such as ``job.complete``."""

    type: str | None = None
    url: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    __repr__ = short_repr


@attrs.frozen
class FunctionVersion:
    """One version of a function and the state of its build.

    ``environment_variables`` is not described by the API: what is not a list of objects is kept
    under that name in ``extra``.
    """

    id: str
    build_status: BuildStatus = attrs.field(converter=_build_status)
    queued_at: datetime | None = None
    built_at: datetime | None = None
    ready_at: datetime | None = None
    compute_type: str | None = None
    python_packages: tuple[str, ...] = attrs.field(default=(), hash=False)
    system_packages: tuple[str, ...] = attrs.field(default=(), hash=False)
    cuda_version: str | None = None
    gpu: bool | None = None
    split: int | None = None
    minimum_replicas: int = 0
    maximum_replicas: int | None = 0
    inputs: tuple[InputOutput, ...] = attrs.field(default=(), hash=False)
    outputs: tuple[InputOutput, ...] = attrs.field(default=(), hash=False)
    current_workers: WorkerCounts | None = None
    environment_variables: tuple[EnvironmentVariable, ...] = attrs.field(default=(), hash=False)
    stream_output: bool | None = False
    function_dependencies: tuple[str, ...] = attrs.field(default=(), hash=False)
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    __repr__ = short_repr
    __str__ = version_text
    _repr_html_ = version_html

    @property
    def is_ready(self) -> bool:
        """Whether the build is done and jobs can run."""
        return self.build_status is BuildStatus.READY

    def raise_for_status(self) -> Self:
        """Return this version, unless its build failed.

        Raises:
            BuildFailedError: ``build_status`` is ``error``.
        """
        if self.build_status is BuildStatus.ERROR:
            raise BuildFailedError(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The API's own document, ready for JSON.

        Fields at their defaults are left out, unknown keys are included, times are ISO 8601 in
        UTC. An input of which only the name and the data are known is written as its data.
        """
        return unstructure(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` or the API gives.

        Raises:
            InvalidArgumentError: It is no dict, or its id or status cannot be read.
        """
        return _from_dict(cls, document)


@attrs.frozen
class Function:
    """The function of a job; newer answers give only ``name`` and ``owner_name``."""

    name: str | None = None
    owner_name: str | None = None
    visibility: str | None = None
    title: str | None = None
    code_url: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = attrs.field(default=(), hash=False)
    cover_image_url: str | None = None
    examples: tuple[str, ...] = attrs.field(default=(), hash=False)
    readme: str | None = None
    latest_version: FunctionVersion | None = None
    featured_key: int | None = None
    function_type: str | None = None
    webhooks: tuple[Webhook, ...] = attrs.field(default=(), hash=False)
    restart_on_error: bool | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    __repr__ = short_repr


def _none_if_empty(error: str | None) -> str | None:
    """The API says ``""`` as well as null when there is no error."""
    return error or None


@attrs.frozen
class Job:
    """One run of a function.

    Times are aware and in UTC. ``error`` is None when there is none. ``function_id`` may be only
    the first seven characters. ``run_id`` changes when the job restarts. An item of ``outputs`` is
    one :class:`InputOutput` or a tuple of them. What ``children`` hold is not documented.
    """

    id: str
    status: JobStatus = attrs.field(converter=_job_status)
    function_id: str | None = None
    organization_id: str | None = None
    function: Function | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    inputs: Mapping[str, InputOutput] = attrs.field(factory=dict, hash=False)
    outputs: tuple[Output, ...] = attrs.field(default=(), hash=False)
    error: str | None = attrs.field(default=None, converter=_none_if_empty)
    visibility: str | None = None
    run_id: str | None = None
    children: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    restarts: tuple[Restart, ...] = attrs.field(default=(), hash=False)
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    __repr__ = short_repr
    __str__ = job_text
    _repr_html_ = job_html

    @property
    def is_terminal(self) -> bool:
        """Whether the job is over: finished, in error or cancelled."""
        return self.status.is_terminal

    @property
    def succeeded(self) -> bool:
        """Whether ``status`` is ``finished``."""
        return self.status is JobStatus.FINISHED

    @property
    def failed(self) -> bool:
        """Whether ``status`` is ``error``."""
        return self.status is JobStatus.ERROR

    @property
    def cancelled(self) -> bool:
        """Whether ``status`` is ``cancelled``."""
        return self.status is JobStatus.CANCELLED

    @property
    def queue_duration(self) -> timedelta | None:
        """How long the job was queued; None until it has started."""
        return _between(self.created_at, self.started_at)

    @property
    def run_duration(self) -> timedelta | None:
        """How long the job ran; None until it has ended, or when it never started."""
        return _between(self.started_at, self.completed_at)

    @property
    def data(self) -> tuple[Any, ...]:
        """The plain JSON value of each output; an output of several parts gives a tuple of them."""
        return tuple(
            tuple(part.data for part in output) if isinstance(output, tuple) else output.data
            for output in self.outputs
        )

    @property
    def files(self) -> tuple[File, ...]:
        """Every file in the outputs, nested ones too, in their order."""
        return files_of(self.outputs, self.id)

    def raise_for_status(self) -> Self:
        """Return this job, unless it failed or was cancelled.

        Raises:
            JobFailedError: ``status`` is ``error``.
            JobCancelledError: ``status`` is ``cancelled``.
        """
        if self.status is JobStatus.ERROR:
            raise JobFailedError(self)
        if self.status is JobStatus.CANCELLED:
            raise JobCancelledError(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The API's own document, ready for JSON.

        Fields at their defaults are left out, unknown keys are included, times are ISO 8601 in
        UTC. An input of which only the name and the data are known is written as its data.
        """
        return unstructure(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` or the API gives.

        Raises:
            InvalidArgumentError: It is no dict, or its id or status cannot be read.
        """
        return _from_dict(cls, document)


def _between(start: datetime | None, end: datetime | None) -> timedelta | None:
    return None if start is None or end is None else end - start


def _from_dict(cls: type[_Value], document: object) -> _Value:
    if not isinstance(document, Mapping):
        kind = type(document).__name__
        raise InvalidArgumentError(f"document must be the dict of a {cls.__name__}, not {kind}")
    try:
        return structure(copy_json(document), cls)
    except FieldError as error:
        reason = f"document must be that of a {cls.__name__}: {error}"
    raise InvalidArgumentError(reason)
