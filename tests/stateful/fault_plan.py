"""Faults of the fake server over time, and the time since which there are none."""

from collections.abc import Mapping
from typing import Any

import attrs

from sieve_async.testing import FakeSieve, Fault
from stateful.model import JobModel

JOBS, LISTS, AWAITS, VERSIONS = "/v2/jobs/*", "/v2/jobs", "/v2/jobs/*/await", "/v2/functions/*"
OUTAGE = "outage"
TARGETS: tuple[str | None, ...] = (None, JOBS, JOBS, LISTS, AWAITS, VERSIONS)

# Seconds for which a fault may still have an effect: an attempt that it broke, and the retry.
_AFTER_EFFECT = 35.0

KINDS: Mapping[str, Mapping[str, Any]] = {
    **{
        f"{status}": {"status": status}
        for status in (206, 400, 401, 403, 404, 408, 422, 429, 500, 501, 502, 503)
    },
    "redirect": {"status": 307, "headers": {"Location": "http://127.0.0.1:9/elsewhere"}},
    **{
        f"{status}, retry after {seconds} s": {
            "status": status,
            "retry_after": seconds,
            "as_date": status == 503,
        }
        for status, seconds in ((429, 1), (503, 20), (429, 300), (408, 5), (503, 700))
    },
    **{f"dropped {drop}": {"drop": drop} for drop in ("before", "headers", "body")},
    "truncated": {"truncate": True},
    **{
        f"not a job: {body!r}": {"body": body} for body in ("", "<html>", "null", "[]", "{}", "NaN")
    },
    **{f"delayed by {seconds} s": {"delay": seconds} for seconds in (0.3, 8, 45)},
    **{f"slow body of {seconds} s": {"slow_body": seconds} for seconds in (0.3, 8, 45)},
    "no status": {"fields": {"status": None, "build_status": None}},
    "status of a wrong type": {"fields": {"status": 5, "build_status": ["ready"]}},
    "unknown status": {"fields": {"status": "started", "build_status": "frozen"}},
    "run of a wrong type": {"fields": {"run_id": 7}},
    "time of a wrong type": {"fields": {"created_at": "soon", "queued_at": "soon"}},
    "stale: queued": {"fields": {"status": "queued", "build_status": "queued", "outputs": []}},
    "stale: running": {"fields": {"status": "processing", "outputs": []}},
}


@attrs.define
class ActiveFault:
    """One fault of the plan."""

    kind: str
    fault: Fault | None  # None for an outage
    after_effect: float  # seconds after its end
    is_over: bool = False


class FaultPlan:
    """All faults of one server."""

    def __init__(self, sieve: FakeSieve) -> None:
        self.faults: list[ActiveFault] = []
        self.healthy_since = 0.0
        self.unhealthy: list[tuple[float, float]] = []  # start and end; the last may be open
        self._sieve = sieve

    @property
    def active(self) -> list[ActiveFault]:
        """The faults that have not ended."""
        return [fault for fault in self.faults if not fault.is_over]

    def is_healthy(self, now: float) -> bool:
        """Whether no fault has an effect now."""
        return not self.active and now >= self.healthy_since

    def add(
        self, kind: str, target: str | None, now: float, *, times: int | None, share: float
    ) -> None:
        """Add a fault for requests to a path."""
        self._add(kind, KINDS[kind], now, path=target, times=times, probability=share)

    def answer_with_another_id(
        self, job: JobModel, shown: str, now: float, times: int | None
    ) -> None:
        """Put another id into the responses about a job."""
        self._add("another id", {"fields": {"id": shown}}, now, job=job.id, times=times)

    def answer_with_earlier_run(self, job: JobModel, now: float, times: int | None) -> None:
        """Answer like a replica that lags behind the last restart."""
        if len(job.runs) > 1:
            fields = {
                "status": "processing",
                "run_id": job.runs[-2].id,
                "outputs": [],
                "restarts": [{}] * (len(job.runs) - 2),
            }
            self._add("earlier run", {"fields": fields}, now, job=job.id, times=times)

    def begin_outage(self, now: float) -> None:
        """Record that the server refuses connections."""
        self.faults.append(ActiveFault(OUTAGE, None, _AFTER_EFFECT))
        self._begin(now)

    def end(self, fault: ActiveFault, now: float) -> None:
        """End a fault; the caller starts the server again after an outage."""
        if fault.fault is not None:
            fault.fault.remove()
        fault.is_over = True
        self.healthy_since = max(self.healthy_since, now + fault.after_effect)

    def update(self, now: float) -> None:
        """Record faults that are used up, and the time; to be called after each step."""
        for active in self.active:
            fault = active.fault
            active.is_over = fault is not None and fault.is_used_up
            self.healthy_since = max(self.healthy_since, now + active.after_effect)
        if self.unhealthy and self.is_healthy(now):
            since, until = self.unhealthy[-1]
            self.unhealthy[-1] = since, min(until, now)

    def _add(self, kind: str, settings: Mapping[str, Any], now: float, **target: Any) -> None:
        retry_after = min(settings.get("retry_after", 0), 3600)
        delay = settings.get("delay", 0) + settings.get("slow_body", 0)
        fault = self._sieve.fault(**settings, **target)
        self.faults.append(ActiveFault(kind, fault, _AFTER_EFFECT + delay + 1.6 * retry_after))
        self._begin(now)

    def _begin(self, now: float) -> None:
        if not self.unhealthy or self.unhealthy[-1][1] < float("inf"):
            self.unhealthy.append((now, float("inf")))
