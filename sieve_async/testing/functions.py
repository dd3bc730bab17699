"""The functions of the fake server: their versions, builds, and scripts for pushed jobs."""

import traceback
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import attrs

from sieve_async.testing.clock import Clock
from sieve_async.testing.documents import (
    Document,
    check_choice,
    encode,
    input_output,
    raw_fields,
    split_function,
)
from sieve_async.testing.jobs import JobEnd, JobScript, Stamp
from sieve_async.testing.timeline import By, ByClock, Progress, Snapshot, Timeline, check_spans

BuildEnd: TypeAlias = Literal["ready", "error"]
Outputs: TypeAlias = Iterable[object] | Callable[[Any], Iterable[object]]

WORKERS = ("starting", "setup", "active", "idle", "awaiting_resources")
ANY_FUNCTION = "*"


@attrs.frozen(kw_only=True, eq=False)
class VersionScript:
    """What time does not change of a version."""

    id: str
    function: str
    queued: float = 0.0
    building: float = 0.0
    pushing: float = 0.0
    deploying: float = 0.0
    status: BuildEnd | None = "ready"
    by: ByClock = "time"
    fields: Document = attrs.field(converter=raw_fields, factory=dict)

    def __attrs_post_init__(self) -> None:
        check_choice("status", self.status, ("ready", "error", None))
        check_spans(self.by, ("time", "polls"), self._spans())
        split_function(self.function)

    def timeline(self) -> Timeline:
        """Lay out the stages of the build."""
        spans = list(self._spans().items())
        if self.status == "error":
            # A failed build never reached the stages that take no time.
            spans = [(status, span) for status, span in spans if span]
        return Timeline.of(spans, self.status)

    def document(self, seen: Snapshot, stamp: Stamp) -> Document:
        """Return the version's document."""
        return {
            "id": self.id,
            "build_status": seen.status,
            "queued_at": stamp(seen.begun[0]),
            "built_at": stamp(seen.first("pushing", "deploying", "ready")),
            "ready_at": stamp(seen.first("ready")),
            "compute_type": "",
            "python_packages": [],
            "system_packages": [],
            "cuda_version": None,
            "gpu": False,
            "split": 1,
            "minimum_replicas": 0,
            "maximum_replicas": 0,
            "inputs": [],
            "outputs": [],
            "current_workers": dict.fromkeys(WORKERS, 0),
            "environment_variables": [],
            "stream_output": False,
            "function_dependencies": [],
        } | self.fields

    def _spans(self) -> dict[str, float]:
        names = ("queued", "building", "pushing", "deploying")
        return {name: getattr(self, name) for name in names}


@attrs.frozen(kw_only=True)
class FunctionScript:
    """How the jobs go on that are pushed to a function."""

    queued: float = 0.0
    processing: float = 0.0
    status: JobEnd | None = "finished"
    outputs: Outputs = ()
    error: str = ""
    restarts: int = 0
    streams: bool = False
    by: By = "time"
    fields: Mapping[str, object] | None = None

    def job(self, function: str, version_id: str, inputs: Any) -> JobScript:
        """Make a job; outputs that cannot be made are its failure, with the traceback."""
        outputs, status, error = self.outputs, self.status, self.error
        if callable(outputs):
            try:
                outputs = tuple(outputs(inputs))
            except Exception:  # noqa: BLE001 - a function of the server fails as a job does
                outputs, status, error = (), "error", traceback.format_exc()
        named = inputs if isinstance(inputs, dict) else dict(enumerate(inputs))
        return JobScript(
            id=str(uuid.uuid4()),
            queued=self.queued,
            processing=self.processing,
            status=status,
            outputs=outputs,
            error=error,
            inputs={f"{n}": input_output(value, name=f"{n}") for n, value in named.items()},
            restarts=self.restarts,
            streams=self.streams,
            by=self.by,
            function=function,
            version_id=version_id,
            fields=self.fields,
        )


@attrs.define
class FunctionStore:
    """All functions of the server; a function that is named by a job has a ready version."""

    clock: Clock
    _versions: dict[str, tuple[VersionScript, Progress]] = attrs.field(factory=dict, init=False)
    # The ids of each function's versions, in the order of being added.
    _history: dict[str, list[str]] = attrs.field(factory=lambda: defaultdict(list), init=False)
    _scripts: dict[str, FunctionScript] = attrs.field(factory=dict, init=False)

    def add_version(self, script: VersionScript) -> None:
        """Begin a build now; it becomes its function's latest version.

        Raises:
            ValueError: There is a version with this id.
        """
        if script.id in self._versions:
            message = f"there is a version {script.id!r} already"
            raise ValueError(message)
        progress = Progress(script.timeline(), script.by, self.clock.now())
        self._versions[script.id] = script, progress
        self._history[script.function].append(script.id)

    def register(self, function: str) -> str:
        """Return a function's latest version, which is made for a new function.

        Raises:
            ValueError: The function is not ``owner/name``.
        """
        if function not in self._history:
            split_function(function)
            version_id = str(uuid.uuid5(uuid.NAMESPACE_URL, function))
            self.add_version(VersionScript(id=version_id, function=function))
        return self._history[function][-1]

    def script(self, function: str, script: FunctionScript) -> None:
        """Set the script of a function's jobs, or that of all functions without one.

        Raises:
            ValueError: The script cannot be played.
        """
        check = attrs.evolve(script, outputs=() if callable(script.outputs) else script.outputs)
        name = "sieve/demo" if function == ANY_FUNCTION else function
        check.job(name, "", {})
        if function != ANY_FUNCTION:
            self.register(function)
        self._scripts[function] = script

    def pushed_to(self, function: str, slug: str) -> tuple[str, FunctionScript] | None:
        """Find the version that a push means, and the script of its jobs."""
        script = self._scripts.get(function) or self._scripts.get(ANY_FUNCTION)
        if script:
            self.register(function)
        version_id = self.resolve(function, slug)
        return None if version_id is None else (version_id, script or FunctionScript())

    def function_of(self, version_id: str) -> str | None:
        """Name the function of the version with an id, or a beginning of one."""
        if version_id not in self._versions:
            matching = [each for each in self._versions if each.startswith(version_id)]
            version_id = matching[0] if len(matching) == 1 else ""
        found = self._versions.get(version_id)
        return found and found[0].function

    def resolve(self, function: str, slug: str) -> str | None:
        """Find the one version meant by an id, the beginning of an id, or ``latest``."""
        ids = self._history.get(function, [])
        if slug == "latest":
            return ids[-1] if ids else None
        matching = [each for each in ids if each.startswith(slug)]
        return slug if slug in ids else matching[0] if len(matching) == 1 else None

    def poll_version(self, version_id: str) -> bytes:
        """Write one version; a build that goes by polls moves one step."""
        self._versions[version_id][1].poll(self.clock.now())
        return encode(self._version(version_id))

    def knows(self, function: str) -> bool:
        """Whether the function was ever named."""
        return function in self._history

    def versions(self, function: str) -> Iterator[Document]:
        """Go through the versions of a function, newest first."""
        return map(self._version, reversed(self._history[function]))

    def document(self, function: str) -> Document:
        """Return the document of a function."""
        owner_name, name = split_function(function)
        return {
            "name": name,
            "owner_name": owner_name,
            "visibility": "public",
            "title": name,
            "code_url": None,
            "description": "",
            "tags": [],
            "cover_image_url": None,
            "examples": [],
            "readme": "",
            "latest_version": self._version(self._history[function][-1]),
            "function_type": "function",
            "webhooks": [],
            "restart_on_error": False,
        }

    def documents(self) -> Iterator[Document]:
        """Go through the functions in the order in which they were first named."""
        return map(self.document, self._history)

    def __len__(self) -> int:
        return len(self._versions)

    def _version(self, version_id: str) -> Document:
        script, progress = self._versions[version_id]
        return script.document(progress.snapshot(self.clock.now()), self.clock.stamp)
