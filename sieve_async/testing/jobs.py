"""Scripted jobs: their documents, and the handle that moves one by hand."""

import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from math import floor, inf
from typing import Any, Literal, TypeAlias

import attrs

from sieve_async.testing.answers import (
    ORGANIZATION_ID,
    Document,
    check_at_least,
    check_choice,
    encode,
    input_documents,
    output_documents,
    raw_fields,
)
from sieve_async.testing.clock import (
    By,
    Clock,
    Progress,
    ServerThread,
    Timeline,
    check_spans,
    run_in_server_thread,
)

JobEnd: TypeAlias = Literal["finished", "error", "cancelled"]
RestartType: TypeAlias = Literal["preemption", "OOM", "error"]
Stamp: TypeAlias = Callable[[float | None], str | None]

TERMINAL = ("finished", "error", "cancelled")
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
# Positions are rounded to microseconds, so what shows may differ from its moment by this much.
ROUNDING = 1e-6
# Of the logarithm of a run's length: two thirds are between 0.6 and 1.6 times the median.
SPREAD = 0.5


@attrs.define(kw_only=True, eq=False, on_setattr=attrs.setters.NO_OP)
class JobScript:
    """What time does not change of a job; by hand, it is written as the job continues."""

    id: str
    queued: float = 0.0
    processing: float = 0.0
    status: JobEnd | None = "finished"
    outputs: tuple[Any, ...] = attrs.field(converter=output_documents, default=())
    error: str = ""
    inputs: Document = attrs.field(converter=input_documents, default=None)
    restarts: int = 0
    streams: bool = False
    by: By = "time"
    function: str
    version_id: str
    fields: Document = attrs.field(converter=raw_fields, default=None)
    run_ids: tuple[str, ...] = attrs.field(init=False)
    restart_types: tuple[RestartType, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        check_choice("status", self.status, (*TERMINAL, None))
        numbers = {"queued": self.queued, "processing": self.processing, "restarts": self.restarts}
        check_spans(self.by, ("time", "polls", "manual"), numbers)
        if self.by == "manual":
            for name in ("queued", "processing", "restarts", "outputs", "error"):
                if getattr(self, name):
                    message = f'{name} is not for by="manual": use the methods of sieve.job()'
                    raise ValueError(message)
            self.status, self.streams = None, True
        self.run_ids = tuple([_new_run_id(self.id) for _ in range(self.restarts + 1)])
        self.restart_types = tuple(islice(cycle(RESTARTS), self.restarts))

    def timeline(self) -> Timeline:
        """Lay out the job's stages."""
        if self.by == "manual":
            return Timeline.of([("queued", 0.0)], None)
        runs = [("processing", self.processing)] * (self.restarts + 1)
        if self.status == "cancelled" and self.processing == 0:
            runs = []  # cancelled while it was queued: it never started
        return Timeline.of([("queued", self.queued), *runs], self.status)

    def write(self, seen: Timeline, stamp: Stamp, *, shown: int, offset: int) -> bytes:
        """Write the job's document, with the outputs from ``offset`` to ``shown``."""
        runs = seen.all("processing")
        owner_name, _, name = self.function.partition("/")
        members = {
            "id": self.id,
            "function_id": self.version_id[:7],
            "organization_id": ORGANIZATION_ID,
            "function": {"name": name, "owner_name": owner_name},
            "status": seen.statuses[-1],
            "created_at": stamp(seen.starts[0]),
            "started_at": stamp(seen.first("processing")),
            "completed_at": stamp(seen.first(*TERMINAL)),
            "inputs": self.inputs,
            "outputs": self.outputs[offset:shown],
            "error": self.error_at(seen.statuses[-1]),
            "visibility": "public",
            "run_id": self.run_ids[max(0, len(runs) - 1)],
            "children": None,
            "restarts": self._restarts(runs, stamp) or None,
        }
        return encode(members | self.fields)

    def shown_at(self, status: str, depth: float) -> int:
        """Count the outputs that show at some depth of a stage."""
        if status in TERMINAL:
            return len(self.outputs) if self.streams or self.status == "finished" else 0
        if status == "queued" or not self.streams:
            return 0
        if depth >= self.processing:
            return len(self.outputs)
        # Rounded first: three outputs in 0.3 s must be two after 0.2 s.
        return floor(round(len(self.outputs) * depth / self.processing, 6))

    def error_at(self, status: str) -> str:
        """Return the error text that shows in a stage."""
        if status not in TERMINAL:
            return ""
        return self.error or (TRACEBACK if self.status == "error" else "")

    def _restarts(self, runs: list[float], stamp: Stamp) -> list[Document]:
        """Make the restarts: each run after the first began when the one before it died."""
        return [
            {"timestamp": stamp(at), "reason": RESTARTS[kind], "type": kind, "run_id": run_id}
            for at, kind, run_id in zip(runs[1:], self.restart_types, self.run_ids, strict=False)
        ]


@attrs.define(eq=False)
class FakeJob:
    """One job of the server; its body is kept until what it shows changes."""

    script: JobScript
    progress: Progress
    number: int  # how many jobs were added before it
    listed: bool
    is_removed: bool = attrs.field(default=False, init=False)
    indexed_status: str = attrs.field(default="", init=False)  # by which lists have it now
    _shown: tuple[int, int, int] | None = attrs.field(default=None, init=False)
    _body: bytes = attrs.field(default=b"", init=False)

    def body(self, now: float, stamp: Stamp, *, offset: int = 0) -> bytes:
        """Write the job as it is, without its first ``offset`` outputs."""
        stage, shown = self._place(now)
        shows = (stage, shown, min(offset, shown))
        if shows != self._shown:
            seen = self.progress.snapshot(now)
            self._body = self.script.write(seen, stamp, shown=shown, offset=offset)
            self._shown = shows
        return self._body

    def outputs_at(self, now: float) -> tuple[Any, ...]:
        """Return the outputs that show now."""
        return self.script.outputs[: self._place(now)[1]]

    def is_terminal(self, now: float) -> bool:
        """Whether its scripted timeline is over."""
        return self.progress.status(now) in TERMINAL

    def ends_at(self) -> float:
        """Return when the clock will end it; infinity when the clock alone will not."""
        statuses = self.progress.timeline.statuses
        return self.progress.begins(len(statuses) - 1) if statuses[-1] in TERMINAL else inf

    def status_at(self, now: float) -> str:
        """Return the status that its document shows."""
        fields = self.script.fields
        return str(fields["status"]) if "status" in fields else self.progress.status(now)

    def changes_at(self, now: float) -> float:
        """Return when the clock will bring its next stage; infinity when it will not."""
        return self.progress.begins(self.progress.place(now)[0] + 1)

    def shows_more_at(self, now: float) -> float:
        """Return when the clock will bring its next stage or output; infinity when it will not."""
        script, (stage, shown) = self.script, self._place(now)
        moment = self.changes_at(now)
        is_streaming = self.progress.by == "time" and script.streams and stage > 0
        if is_streaming and shown < len(script.outputs):
            part = (shown + 1) / len(script.outputs)
            output_at = self.progress.begins(stage) + part * script.processing
            if self._place(output_at)[1] <= shown:
                output_at += ROUNDING
            moment = min(moment, output_at)
        return moment

    def restart(self, kind: RestartType, now: float) -> None:
        """End this run, and begin another one without outputs."""
        self.script.run_ids += (_new_run_id(self.script.id),)
        self.script.restart_types += (kind,)
        self.script.outputs = ()
        self.progress.record("processing", now)

    def end(self, status: JobEnd, now: float, *, error: str = "") -> None:
        """End the job now, with the outputs that show now."""
        self.script.outputs = self.outputs_at(now)
        self.script.status = status
        self.script.error = error
        self.progress.record(status, now)

    def _place(self, now: float) -> tuple[int, int]:
        """Return the present stage, and the number of outputs that show."""
        stage, depth = self.progress.place(now)
        return stage, self.script.shown_at(self.progress.timeline.statuses[stage], depth)


@attrs.define(eq=False, repr=False)
class JobHandle:
    """A job of the server; when it was added with ``by="manual"``, the methods move it.

    A move happens now; held requests are answered when it ends the job. The handle belongs to one
    job: when that is removed, and another one added under its id, the handle does not move it.
    Methods raise RuntimeError for a job that is in the wrong status, or not moved by hand, and
    ValueError for a wrong argument.

    Example:
        >>> job = sieve.job(sieve.add_job(by="manual"))
        >>> job.start()
        >>> job.yield_output("first")
        >>> job.finish()
    """

    _clock: Clock
    _job: FakeJob
    _thread: ServerThread
    _moved: Callable[[FakeJob], None]

    @property
    def id(self) -> str:
        """The id of the job."""
        return self._job.script.id

    @property
    @run_in_server_thread
    def status(self) -> str:
        """The status that a lookup would show."""
        return self._job.status_at(self._clock.now())

    @property
    def final_status(self) -> JobEnd | None:
        """The scripted terminal status; by hand, the one that was recorded."""
        return self._job.script.status

    @property
    def restarts(self) -> int:
        """The number of scripted restarts; by hand, of those that were recorded."""
        return len(self._job.script.restart_types)

    @run_in_server_thread
    def start(self) -> None:
        """Begin processing."""
        with self._moving("start", "queued") as now:
            self._job.progress.record("processing", now)

    @run_in_server_thread
    def yield_output(self, value: object) -> None:
        """Show one more output, given as for ``add_job``."""
        with self._moving("yield an output", "processing"):
            self._job.script.outputs += output_documents([value])

    @run_in_server_thread
    def restart(self, kind: RestartType = "preemption") -> None:
        """End this run, and begin another one without outputs."""
        check_choice("kind", kind, tuple(RESTARTS))
        with self._moving("restart", "processing") as now:
            self._job.restart(kind, now)

    @run_in_server_thread
    def finish(self) -> None:
        """Finish the job; one that is queued starts first."""
        self._end("finish", "finished")

    @run_in_server_thread
    def fail(self, error: str = "") -> None:
        """Fail, with an error text or a traceback; a job that is queued starts first."""
        self._end("fail", "error", error=error)

    @run_in_server_thread
    def cancel(self) -> None:
        """Cancel the job; one that is queued never starts."""
        self._end("be cancelled", "cancelled")

    def __repr__(self) -> str:
        return f"<job {self.id!r}, {self.status}>"

    def _end(self, action: str, status: JobEnd, *, error: str = "") -> None:
        with self._moving(action, "queued", "processing") as now:
            if status != "cancelled" and self._job.progress.status(now) == "queued":
                self._job.progress.record("processing", now)
            self._job.end(status, now, error=error)

    @contextmanager
    def _moving(self, action: str, *allowed: str) -> Iterator[float]:
        """Check that the job can be moved, and report that it has moved."""
        progress = self._job.progress
        status = progress.timeline.statuses[-1]
        reason = ""
        if self._job.is_removed:
            reason = f"was removed and cannot {action}"
        elif progress.by != "manual":
            reason = f'is moved by {progress.by}; only by="manual" can {action} by hand'
        elif status not in allowed:
            reason = f"is {status} and cannot {action}"
        if reason:
            raise RuntimeError(f"job {self.id!r} {reason}")
        yield self._clock.now()
        self._moved(self._job)


def random_jobs(
    dice: random.Random,
    prefix: str,
    count: int,
    queued: float,
    processing: float,
    rates: tuple[float, float, float],
    outputs: int,
) -> Iterator[dict[str, Any]]:
    """Draw the arguments of jobs, with exact shares of errors, cancels and restarts."""
    check_at_least(0, count=count)
    if not (all(0 <= rate <= 1 for rate in rates) and sum(rates[:2]) <= 1):
        raise ValueError(f"rates must be from 0 to 1, errors and cancels together too, not {rates}")
    errors, cancels, restarts = (round(count * rate) for rate in rates)
    statuses = ["error"] * errors + ["cancelled"] * cancels
    # Cut, since two halves may both have been rounded up.
    statuses = (statuses + ["finished"] * (count - errors - cancels))[:count]
    dice.shuffle(statuses)
    restarting = set(dice.sample(range(count), restarts))
    width = max(2, len(str(count - 1)))
    for number, status in enumerate(statuses):
        job_id = f"{prefix}-{number:0{width}}"
        yield {
            "job_id": job_id,
            "queued": dice.uniform(0, queued),
            "processing": processing * dice.lognormvariate(0, SPREAD),
            "status": status,
            "restarts": int(number in restarting),
            "outputs": [{"url": f"https://files.example/{job_id}-{n}.mp4"} for n in range(outputs)],
        }


def _new_run_id(job_id: str) -> str:
    return f"{job_id}-{uuid.uuid4()}"
