"""The functions of the fake server: their versions, builds, and the pushes of jobs."""

import json
import re
import traceback
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, TypedDict

import attrs

from sieve_async.testing.answers import (
    Document,
    Refused,
    check_choice,
    encode,
    input_output,
    output_documents,
    raw_fields,
    split_function,
    write,
)
from sieve_async.testing.clock import By, ByClock, Clock, Progress, Timeline, check_spans
from sieve_async.testing.jobs import JobEnd, JobScript, Stamp

BuildEnd: TypeAlias = Literal["ready", "error"]
Outputs: TypeAlias = Iterable[object] | Callable[[Any], Iterable[object]]

WORKERS = ("starting", "setup", "active", "idle", "awaiting_resources")
BUILDING = ("queued", "building", "pushing", "deploying")
ANY_FUNCTION = "*"
WEBHOOK_TYPES = (
    "job.start",
    "job.complete",
    "job.complete.no_output",
    "job.new_output",
    "job_start",
    "job_complete",
)
INVALID_FUNCTION = "Invalid function specified."
# The members of a push: their types, and the name of those in errors.
_MEMBERS: dict[str, tuple[tuple[type, ...], str]] = {
    "function": ((str,), "string"),
    "id": ((str,), "string"),
    "inputs": ((dict, list), "dictionary"),
    "webhooks": ((list,), "list"),
    "env": ((dict,), "dictionary"),
}
_FUNCTION = re.compile(r"([^/:\s]+/[^/:\s]+)(?::([^/:\s]+))?")


@attrs.frozen(kw_only=True, eq=False)
class VersionScript:
    """What time does not change of a version."""

    id: str
    function: str
    spans: Mapping[str, float]
    status: BuildEnd | None = "ready"
    by: ByClock = "time"
    fields: Document = attrs.field(converter=raw_fields, factory=dict)

    def __attrs_post_init__(self) -> None:
        check_choice("status", self.status, ("ready", "error", None))
        check_spans(self.by, ("time", "polls"), self.spans)
        split_function(self.function)

    def timeline(self) -> Timeline:
        """Lay out the stages of the build."""
        is_failed = self.status == "error"
        # A failed build never reached the stages that take no time.
        spans = [(name, span) for name, span in self.spans.items() if span or not is_failed]
        return Timeline.of(spans, self.status)

    def document(self, seen: Timeline, stamp: Stamp) -> Document:
        """Return the version's document."""
        return {
            "id": self.id,
            "build_status": seen.statuses[-1],
            "queued_at": stamp(seen.starts[0]),
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


class JobOptions(TypedDict, total=False):
    """What the jobs of a function have in common, as for ``add_job``."""

    queued: float
    processing: float
    status: JobEnd | None
    error: str
    restarts: int
    streams: bool
    by: By
    fields: Mapping[str, object] | None


@attrs.frozen
class FunctionScript:
    """How the jobs continue that are pushed to a function."""

    outputs: Outputs = ()
    options: JobOptions = attrs.field(factory=JobOptions)

    def job(self, function: str, version_id: str, inputs: Any) -> JobScript:
        """Make a job; outputs that cannot be made are its failure, with the traceback."""
        outputs, options = self.outputs, self.options.copy()
        if callable(outputs):
            try:
                outputs = output_documents(outputs(inputs))
            except (Exception, SystemExit):  # noqa: BLE001 - it fails as a job does
                outputs, options["status"], options["error"] = (), "error", traceback.format_exc()
        named = inputs if isinstance(inputs, dict) else dict(enumerate(inputs))
        return JobScript(
            id=str(uuid.uuid4()),
            outputs=outputs,
            inputs={f"{n}": input_output(value, name=f"{n}") for n, value in named.items()},
            function=function,
            version_id=version_id,
            **options,
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
        """Begin a build now; it becomes its function's latest version."""
        if script.id in self._versions:
            raise ValueError(f"there is a version {script.id!r} already")
        progress = Progress(script.timeline(), script.by, self.clock.now())
        self._versions[script.id] = script, progress
        self._history[script.function].append(script.id)

    def register(self, function: str) -> str:
        """Return a function's latest version, which is made for a new function."""
        if function not in self._history:
            version_id = str(uuid.uuid5(uuid.NAMESPACE_URL, function))
            spans = dict.fromkeys(BUILDING, 0)
            self.add_version(VersionScript(id=version_id, function=function, spans=spans))
        return self._history[function][-1]

    def script(self, function: str, script: FunctionScript) -> None:
        """Set the script of a function's jobs, or that of all functions without one."""
        check = FunctionScript((0,) if callable(script.outputs) else script.outputs, script.options)
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
        found = _meant(version_id, self._versions)
        return found and self._versions[found][0].function

    def resolve(self, function: str, slug: str) -> str | None:
        """Find the one version meant by an id, the beginning of an id, or ``latest``."""
        ids = self._history.get(function, [])
        return _meant(slug if slug != "latest" or not ids else ids[-1], ids)

    def poll_version(self, version_id: str) -> bytes:
        """Write one version; a build that goes by polls moves one step."""
        self._versions[version_id][1].poll(self.clock.now())
        return encode(self._version(version_id))

    def __contains__(self, function: str) -> bool:
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


@attrs.frozen(kw_only=True)
class Webhook:
    """An event that a push asks for, and where it is to be sent."""

    type: str
    url: str


@attrs.frozen(kw_only=True)
class Push:
    """A push that was accepted."""

    job_id: str
    function: str  # "owner/name"
    version_id: str
    inputs: Any = attrs.field(hash=False)
    webhooks: tuple[Webhook, ...] = ()
    env: Mapping[str, Any] = attrs.field(factory=dict, repr=False, hash=False)
    at: float  # on the server's clock


def _meant(version_id: str, ids: Collection[str]) -> str | None:
    """Find an id, or the only one with this beginning."""
    matching = [each for each in ids if each.startswith(version_id)]
    return version_id if version_id in ids else matching[0] if len(matching) == 1 else None


def parse_push(body: bytes) -> tuple[str | None, str, dict[str, Any]]:
    """Read the function and slug, or the id of a version only, and the other members of a body.

    Refuse it with 422 for its form, and with 400 for what names the function.
    """
    try:
        push = json.loads(body)
        write(push)  # a job that it starts shows it
    except (ValueError, RecursionError):  # also NaN, and what is nested too deeply
        raise _refused("json_invalid", [0], "JSON decode error") from None
    if not isinstance(push, dict):
        raise _refused("model_attributes_type", [], "Input should be an object")
    _check(push)
    function, version_id = push.get("function"), push.get("id")
    if (function is None) == (version_id is None):
        raise Refused(400, INVALID_FUNCTION)
    slug = version_id or ""
    if function is not None:
        matches = _FUNCTION.fullmatch(function)
        if not matches:
            raise Refused(400, INVALID_FUNCTION)
        function, slug = matches[1], matches[2] or "latest"
    webhooks = tuple(Webhook(type=w["type"], url=w["url"]) for w in push.get("webhooks") or ())
    members = {"inputs": push["inputs"], "webhooks": webhooks, "env": push.get("env") or {}}
    return function, slug, members


def _check(push: dict[str, Any]) -> None:
    """Refuse a body whose members are missing or of a wrong type, for the first of them."""
    for name, (types, kind) in _MEMBERS.items():
        value = push.get(name)
        if name == "inputs" and name not in push:
            raise _refused("missing", [name], "Field required")
        if not isinstance(value, types) and (value is not None or name == "inputs"):
            raise _refused(f"{kind}_type", [name], f"Input should be a valid {kind}")
    for number, webhook in enumerate(push.get("webhooks") or ()):
        of_type = webhook.get("type") if isinstance(webhook, dict) else None
        if of_type not in WEBHOOK_TYPES:
            message = f"Input should be one of {', '.join(WEBHOOK_TYPES)}"
            raise _refused("enum", ["webhooks", number, "type"], message)
        if not isinstance(webhook.get("url"), str):
            message = "Input should be a valid string"
            raise _refused("string_type", ["webhooks", number, "url"], message)


def _refused(kind: str, place: list[str | int], message: str) -> Refused:
    return Refused(422, [{"type": kind, "loc": ["body", *place], "msg": message}])
