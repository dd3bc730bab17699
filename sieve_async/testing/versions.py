"""Scripted versions of a function: what a test asked for, and how its build looks."""

from typing import Literal, TypeAlias

import attrs

from sieve_async.testing.documents import Document, raw_fields
from sieve_async.testing.jobs import Stamp, split_function
from sieve_async.testing.lives import By, Life, Look, check_spans, check_word

BuildEnd: TypeAlias = Literal["ready", "error"]

WORKERS = ("starting", "setup", "active", "idle", "awaiting_resources")


@attrs.frozen(kw_only=True, eq=False)
class VersionScript:
    """All of a version that time does not change."""

    id: str
    function: str
    queued: float
    building: float
    pushing: float
    deploying: float
    ends: BuildEnd | None
    by: By
    fields: Document = attrs.field(converter=raw_fields)
    life: Life = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        check_word("status", self.ends, ("ready", "error", None))
        check_spans(self.by, words=("time", "polls"), spans=self._spans())
        split_function(self.function)

    @life.default
    def _lay_out(self) -> Life:
        spans = list(self._spans().items())
        if self.ends == "error":
            # A failed build never reached the stages that take no time.
            spans = [(status, span) for status, span in spans if span]
        return Life.of(spans, self.ends)

    def _spans(self) -> dict[str, float]:
        return {
            "queued": self.queued,
            "building": self.building,
            "pushing": self.pushing,
            "deploying": self.deploying,
        }

    def document(self, look: Look, stamp: Stamp) -> Document:
        """Write the version as it looks."""
        return {
            "id": self.id,
            "build_status": look.status,
            "queued_at": stamp(look.begun[0]),
            "built_at": stamp(look.first("pushing", "deploying", "ready")),
            "ready_at": stamp(look.first("ready")),
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
