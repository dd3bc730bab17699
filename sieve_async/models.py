"""What the API talks about: immutable values, free of JSON and of HTTP.

The fields are the API's own, all of them; the documents are *Get Job* and *Get Function Version*
of Sieve's API reference. A field that an answer lacks has its default, and keys that we do not know
are kept in ``extra``.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self, TypeAlias

import attrs

from sieve_async.errors import BuildFailedError, JobCancelledError, JobFailedError
from sieve_async.notebook import ShownJob, ShownVersion


class _OpenWord(StrEnum):
    """A string enum that keeps an unknown word as it came: new words need no new release."""

    @property
    def is_known(self) -> bool:
        """Whether this word is one that the API documented when this version was made."""
        return self.value in type(self)._value2member_map_

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not value:
            return None
        word = str.__new__(cls, value)
        word._name_ = value
        word._value_ = value
        return word

    def __reduce_ex__(self, protocol: object) -> tuple[type[Self], tuple[str]]:
        # By value: some 3.11 releases pickle members by name, which unknown words do not have.
        return self.__class__, (self.value,)


class JobStatus(_OpenWord):
    """How far a job is; an unknown word is kept as it came and is not terminal."""

    QUEUED = "queued"
    PROCESSING = "processing"
    FINISHED = "finished"
    ERROR = "error"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended, in whichever way."""
        return self in _ENDS_OF_JOBS


class BuildStatus(_OpenWord):
    """How far a build is; an unknown word is kept as it came and is not terminal."""

    QUEUED = "queued"
    BUILDING = "building"
    PUSHING = "pushing"
    DEPLOYING = "deploying"
    READY = "ready"
    ERROR = "error"

    @property
    def is_terminal(self) -> bool:
        """Whether the build has ended, well or not."""
        return self in _ENDS_OF_BUILDS


_ENDS_OF_JOBS = frozenset({JobStatus.FINISHED, JobStatus.ERROR, JobStatus.CANCELLED})
_ENDS_OF_BUILDS = frozenset({BuildStatus.READY, BuildStatus.ERROR})


@attrs.frozen
class InputOutput:
    """One input or output of a job or version.

    ``data`` is any JSON value. A version's input may hold a default that is a base64 pickle: it is
    an opaque string here and must never be unpickled.
    """

    type: str | None = None
    name: str | None = None
    data: Any = None
    description: str | None = None
    schema: Mapping[str, Any] | None = None
    run_id: str | None = None
    is_optional: bool | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)


Output: TypeAlias = InputOutput | tuple[InputOutput, ...]


@attrs.frozen
class Restart:
    """One restart of a job; ``type`` is preemption, OOM or error."""

    timestamp: datetime | None = None
    reason: str | None = None
    type: str | None = None
    run_id: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class WorkerCounts:
    """How many workers of a version are in which state."""

    starting: int | None = None
    setup: int | None = None
    active: int | None = None
    idle: int | None = None
    awaiting_resources: int | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class EnvironmentVariable:
    """An environment variable that a version takes."""

    name: str | None = None
    description: str | None = None
    default: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Webhook:
    """Where the API reports events of one type, such as ``job.complete``."""

    type: str | None = None
    url: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class FunctionVersion(ShownVersion):
    """One version of a function and the state of its build.

    ``environment_variables`` is not described by the API: what is not a list of objects is kept
    under that name in ``extra``.
    """

    id: str
    build_status: BuildStatus
    queued_at: datetime | None = None
    built_at: datetime | None = None
    ready_at: datetime | None = None
    compute_type: str | None = None
    python_packages: tuple[str, ...] = ()
    system_packages: tuple[str, ...] = ()
    cuda_version: str | None = None
    gpu: bool | None = None
    split: int | None = None
    minimum_replicas: int = 0
    maximum_replicas: int | None = 0
    inputs: tuple[InputOutput, ...] = ()
    outputs: tuple[InputOutput, ...] = ()
    current_workers: WorkerCounts | None = None
    environment_variables: tuple[EnvironmentVariable, ...] = ()
    stream_output: bool | None = False
    function_dependencies: tuple[str, ...] = ()
    extra: Mapping[str, Any] = attrs.field(factory=dict)

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


@attrs.frozen
class Function:
    """The function of a job; newer answers give only ``name`` and ``owner_name``.

    Jobs whose answers spell their function in the same way mostly share one object.
    """

    name: str | None = None
    owner_name: str | None = None
    visibility: str | None = None
    title: str | None = None
    code_url: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    cover_image_url: str | None = None
    examples: tuple[str, ...] = ()
    readme: str | None = None
    latest_version: FunctionVersion | None = None
    featured_key: int | None = None
    function_type: str | None = None
    webhooks: tuple[Webhook, ...] = ()
    restart_on_error: bool | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)


def _none_if_empty(error: str | None) -> str | None:
    """The API says ``""`` as well as null when there is no error."""
    return error or None


@attrs.frozen
class Job(ShownJob):
    """One run of a function.

    Times are aware and in UTC. ``error`` is None when there is none. ``function_id`` may be only
    the first seven characters. ``run_id`` changes when the job restarts. An item of ``outputs`` is
    one :class:`InputOutput` or a tuple of them. What ``children`` hold is not documented.
    """

    id: str
    status: JobStatus
    function_id: str | None = None
    organization_id: str | None = None
    function: Function | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    inputs: Mapping[str, InputOutput] = attrs.field(factory=dict)
    outputs: tuple[Output, ...] = ()
    error: str | None = attrs.field(default=None, converter=_none_if_empty)
    visibility: str | None = None
    run_id: str | None = None
    children: Mapping[str, Any] = attrs.field(factory=dict)
    restarts: tuple[Restart, ...] = ()
    extra: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether the job ended well."""
        return self.status is JobStatus.FINISHED

    @property
    def queue_duration(self) -> timedelta | None:
        """How long the job was queued; None until it has started."""
        return _between(self.created_at, self.started_at)

    @property
    def run_duration(self) -> timedelta | None:
        """How long the job ran; None until it has ended, or when it never started."""
        return _between(self.started_at, self.completed_at)

    def files(self) -> list[Mapping[str, Any]]:
        """Every ``{"url": ...}`` object in the outputs, nested ones too, in their order.

        The URLs may be signed and expire; they lie on other hosts, which must not get the API key.
        """
        return [
            found
            for item in self.outputs
            for output in (item if isinstance(item, tuple) else (item,))
            for found in _files_in(output.data)
        ]

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


def _between(start: datetime | None, end: datetime | None) -> timedelta | None:
    return None if start is None or end is None else end - start


def _files_in(data: Any) -> Iterator[Mapping[str, Any]]:
    """Walk with a stack of our own: what a job puts out may be nested as deep as JSON may be."""
    waiting: list[Any] = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            if isinstance(value.get("url"), str):
                yield value
            waiting.extend(reversed(list(value.values())))
        elif isinstance(value, Sequence) and not isinstance(value, str):
            waiting.extend(reversed(value))
