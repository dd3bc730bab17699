"""Scripted jobs: what a test asked for, and the document that shows it at one moment."""

import uuid
from collections.abc import Callable
from functools import lru_cache
from math import floor
from typing import Any, Literal, TypeAlias

import attrs

from sieve_async.testing.documents import (
    Document,
    inputs_document,
    outputs_documents,
    raw_fields,
)
from sieve_async.testing.lives import By, Life, Look, check_spans, check_word

JobEnd: TypeAlias = Literal["finished", "error", "cancelled"]
Stamp: TypeAlias = Callable[[float | None], str | None]

JOB_ENDS = ("finished", "error", "cancelled")
ORGANIZATION_ID = "5f1e7e57-0000-4000-8000-000000000000"
RESTARTS = (
    ("preemption", "The machine was taken away."),
    ("OOM", "The worker ran out of memory."),
    ("error", "The worker stopped answering."),
)
# Real errors are tracebacks of many lines, so programs under test should meet one.
TRACEBACK = """Traceback (most recent call last):
  File "/src/worker.py", line 118, in run
    for output in function(**inputs):
  File "/src/main.py", line 27, in demo
    raise ValueError("scripted to fail")
ValueError: scripted to fail
"""


@attrs.frozen(kw_only=True, eq=False)
class JobScript:
    """All of a job that time does not change."""

    id: str
    queued: float
    processing: float
    ends: JobEnd | None
    outputs: tuple[Document | list[Document], ...] = attrs.field(converter=outputs_documents)
    error: str
    inputs: Document = attrs.field(converter=inputs_document)
    restarts: int
    streams: bool
    by: By
    function: str
    fields: Document = attrs.field(converter=raw_fields)
    life: Life = attrs.field(init=False)
    run_ids: tuple[str, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        check_word("ends", self.ends, (*JOB_ENDS, None))
        check_spans(self.by, queued=self.queued, processing=self.processing)
        split_function(self.function)
        if self.restarts < 0:
            message = f"restarts must be zero or more, not {self.restarts!r}"
            raise ValueError(message)

    @life.default
    def _lay_out(self) -> Life:
        runs = [("processing", self.processing)] * (self.restarts + 1)
        if self.ends == "cancelled" and self.processing == 0:
            runs = []  # cancelled while it was queued: it never started
        return Life.of([("queued", self.queued), *runs], self.ends)

    @run_ids.default
    def _name_runs(self) -> tuple[str, ...]:
        return tuple(f"{self.id}-{uuid.uuid4()}" for _ in range(self.restarts + 1))

    def document(self, look: Look, stamp: Stamp, *, offset: int) -> Document:
        """Write the job as it looks, without its first ``offset`` outputs."""
        owner_name, name = split_function(self.function)
        runs = [
            begun
            for status, begun in zip(look.statuses, look.begun, strict=True)
            if status == "processing"
        ]
        outputs = self._outputs_at(look)
        return {
            "id": self.id,
            "function_id": function_id(self.function),
            "organization_id": ORGANIZATION_ID,
            "function": {"name": name, "owner_name": owner_name},
            "status": look.status,
            "created_at": stamp(look.begun[0]),
            "started_at": stamp(look.first("processing")),
            "completed_at": stamp(look.first(*JOB_ENDS)),
            "inputs": self.inputs,
            "outputs": outputs[offset:] if outputs else None,
            "error": self._error_at(look),
            "visibility": "public",
            "run_id": self.run_ids[max(0, len(runs) - 1)],
            "children": None,
            "restarts": self._restarts_at(runs, stamp) or None,
        } | self.fields

    def _outputs_at(self, look: Look) -> tuple[Document | list[Document], ...]:
        if look.status in JOB_ENDS:
            return self.outputs if self.streams or self.ends == "finished" else ()
        if not self.streams or look.status == "queued":
            return ()
        if look.depth >= self.processing:
            return self.outputs
        # Rounded first: three outputs in 0.3 s must be two after 0.2 s.
        shown = floor(round(len(self.outputs) * look.depth / self.processing, 6))
        return self.outputs[:shown]

    def _error_at(self, look: Look) -> str:
        if look.status not in JOB_ENDS:
            return ""
        return self.error or (TRACEBACK if self.ends == "error" else "")

    def _restarts_at(self, runs: list[float], stamp: Stamp) -> list[dict[str, Any]]:
        """List the restarts: each run that began after the first one ended the one before."""
        return [
            {
                "timestamp": stamp(begun),
                "reason": RESTARTS[number % len(RESTARTS)][1],
                "type": RESTARTS[number % len(RESTARTS)][0],
                "run_id": self.run_ids[number],
            }
            for number, begun in enumerate(runs[1:])
        ]


def split_function(function: str) -> tuple[str, str]:
    """Split ``owner/name``.

    Raises:
        ValueError: It is not of that form.
    """
    owner_name, slash, name = function.partition("/")
    if not (owner_name and slash and name) or "/" in name:
        message = f"function must be 'owner/name', not {function!r}"
        raise ValueError(message)
    return owner_name, name


@lru_cache(maxsize=1024)
def function_id(function: str) -> str:
    """Name a function by the first seven characters of its id, as Sieve's answers do."""
    return uuid.uuid5(uuid.NAMESPACE_URL, function).hex[:7]
