"""Scripted jobs: what a test asked for, and the document that shows it at one moment."""

import uuid
from collections.abc import Callable
from functools import lru_cache
from itertools import cycle, islice
from math import floor
from typing import Literal, TypeAlias

import attrs

from sieve_async.testing.documents import (
    Texts,
    inputs_text,
    outputs_texts,
    quote,
    raw_texts,
    write,
    write_array,
    write_object,
)
from sieve_async.testing.lives import ByOrHand, Life, Look, check_spans, check_word

JobEnd: TypeAlias = Literal["finished", "error", "cancelled"]
RestartType: TypeAlias = Literal["preemption", "OOM", "error"]
Stamp: TypeAlias = Callable[[float | None], str | None]

JOB_ENDS = ("finished", "error", "cancelled")
ORGANIZATION_ID = "5f1e7e57-0000-4000-8000-000000000000"
RESTARTS: dict[RestartType, str] = {
    "preemption": "The machine was taken away.",
    "OOM": "The worker ran out of memory.",
    "error": "The worker stopped answering.",
}
# Real errors are tracebacks of many lines, so programs under test should meet one.
TRACEBACK = """Traceback (most recent call last):
  File "/src/worker.py", line 118, in run
    for output in function(**inputs):
  File "/src/main.py", line 27, in demo
    raise ValueError("scripted to fail")
ValueError: scripted to fail
"""


@attrs.define(kw_only=True, eq=False, on_setattr=attrs.setters.NO_OP)
class JobScript:
    """All of a job that time does not change; by hand, it is written as the job goes on."""

    id: str
    queued: float
    processing: float
    ends: JobEnd | None
    outputs: tuple[str, ...] = attrs.field(converter=outputs_texts)
    error: str
    inputs: str = attrs.field(converter=inputs_text)
    restarts: int
    streams: bool
    by: ByOrHand
    function: str
    fields: Texts = attrs.field(converter=raw_texts)
    life: Life = attrs.field(init=False)
    run_ids: tuple[str, ...] = attrs.field(init=False)
    restart_types: tuple[RestartType, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        check_word("status", self.ends, (*JOB_ENDS, None))
        spans = {"queued": self.queued, "processing": self.processing}
        check_spans(self.by, words=("time", "polls", "manual"), spans=spans)
        split_function(self.function)
        if self.restarts < 0:
            message = f"restarts must be zero or more, not {self.restarts!r}"
            raise ValueError(message)
        if self.by == "manual":
            self._expect_nothing()

    @life.default
    def _lay_out(self) -> Life:
        if self.by == "manual":
            return Life.of([("queued", 0.0)], None)
        runs = [("processing", self.processing)] * (self.restarts + 1)
        if self.ends == "cancelled" and self.processing == 0:
            runs = []  # cancelled while it was queued: it never started
        return Life.of([("queued", self.queued), *runs], self.ends)

    @run_ids.default
    def _name_runs(self) -> tuple[str, ...]:
        return tuple([new_run_id(self.id) for _ in range(self.restarts + 1)])

    @restart_types.default
    def _choose_restart_types(self) -> tuple[RestartType, ...]:
        return tuple(islice(cycle(RESTARTS), max(0, self.restarts)))

    def write(self, look: Look, stamp: Stamp, *, shown: int, offset: int) -> bytes:
        """Write the job as it looks, with the outputs from ``offset`` to ``shown``."""
        runs = [
            begun
            for status, begun in zip(look.statuses, look.begun, strict=True)
            if status == "processing"
        ]
        members = {
            "id": quote(self.id),
            "function_id": quote(function_id(self.function)),
            "organization_id": quote(ORGANIZATION_ID),
            "function": _function_text(self.function),
            "status": quote(look.status),
            "created_at": quote(stamp(look.begun[0])),
            "started_at": quote(stamp(look.first("processing"))),
            "completed_at": quote(stamp(look.first(*JOB_ENDS))),
            "inputs": self.inputs,
            "outputs": write_array(self.outputs[offset:shown]) if shown else "null",
            "error": quote(self._error_at(look)),
            "visibility": '"public"',
            "run_id": quote(self.run_ids[max(0, len(runs) - 1)]),
            "children": "null",
            "restarts": self._restarts_text(runs, stamp) if runs[1:] else "null",
        }
        return write_object(members | self.fields)

    def shown_at(self, status: str, depth: float) -> int:
        """Count the outputs that show at some depth of a stage."""
        if status in JOB_ENDS:
            return len(self.outputs) if self.streams or self.ends == "finished" else 0
        if status == "queued" or not self.streams:
            return 0
        if depth >= self.processing:
            return len(self.outputs)
        # Rounded first: three outputs in 0.3 s must be two after 0.2 s.
        return floor(round(len(self.outputs) * depth / self.processing, 6))

    def _error_at(self, look: Look) -> str:
        if look.status not in JOB_ENDS:
            return ""
        return self.error or (TRACEBACK if self.ends == "error" else "")

    def _restarts_text(self, runs: list[float], stamp: Stamp) -> str:
        """List the restarts: each run that began after the first one ended the one before."""
        return write(
            [
                {
                    "timestamp": stamp(begun),
                    "reason": RESTARTS[kind],
                    "type": kind,
                    "run_id": run_id,
                }
                for begun, kind, run_id in zip(
                    runs[1:], self.restart_types, self.run_ids, strict=False
                )
            ]
        )

    def _expect_nothing(self) -> None:
        """Refuse what a life that is told by hand cannot know beforehand."""
        for name in ("queued", "processing", "restarts", "outputs", "error"):
            if getattr(self, name):
                message = f"{name} is not for a life by hand: tell it with sieve.job()"
                raise ValueError(message)
        self.ends = None
        self.streams = True


def new_run_id(job_id: str) -> str:
    """Name one run of a job."""
    return f"{job_id}-{uuid.uuid4()}"


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


@lru_cache(maxsize=1024)
def _function_text(function: str) -> str:
    owner_name, name = split_function(function)
    return write({"name": name, "owner_name": owner_name})
